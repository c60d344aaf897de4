import type { AsyncChannel } from '../http';
import { EVENT_SCHEMAS, RESYNC_SCHEMA } from './event-schemas';

/** The AsyncAPI channel of a user's events over Socket.IO, built from the schemas of the event map. */
export const EVENT_CHANNEL: AsyncChannel = {
  name: 'events',
  address: '/',
  protocol: 'socketio',
  title: "A user's events, in order and without gap",
  description: 'The default namespace, with the scope read. What came after `after` is replayed first.',
  handshake: {
    type: 'object',
    required: ['token'],
    properties: {
      token: { type: 'string' },
      after: { type: 'integer', minimum: 0, description: 'The last `seq` that the client has; absent: from now on.' },
    },
  },
  sends: Object.assign(
    Object.fromEntries(
      Object.entries(EVENT_SCHEMAS).map(([type, { title }]) => [
        type,
        { $ref: `#/components/schemas/${String(title)}` },
      ]),
    ),
    { resync_required: { $ref: `#/components/schemas/${String(RESYNC_SCHEMA['title'])}` } },
  ),
};
