import type { AsyncChannel } from '../http';

/** The AsyncAPI channel of the messages to receivers, built from the schema in the OpenAPI document. */
export const WEBHOOK_CHANNEL: AsyncChannel = {
  name: 'webhooks',
  address: '/{path}',
  protocol: 'webhook',
  title: 'Events, sent to the URL of a webhook',
  description:
    'Each delivery is a POST with JSON and the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` ' +
    'of Standard Webhooks. It is repeated until the receiver responds with 2xx.',
  sends: { event: { $ref: '#/components/schemas/PayloadView' } },
};
