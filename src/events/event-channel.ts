import type { AsyncChannel } from '../http';
import { EVENT_SCHEMAS, RESYNC_SCHEMA } from './event-schemas';

/** The AsyncAPI channel of a user's events over Socket.IO, built from the schemas of the event map. */
export const EVENT_CHANNEL: AsyncChannel = {
  name: 'events',
  address: '/',
  protocol: 'socketio',
  title: 'Events of the user, in order and without gaps',
  description: 'Default namespace; requires the scope read. Events after `after` are replayed first.',
  handshake: {
    type: 'object',
    required: ['token'],
    properties: {
      token: { type: 'string' },
      after: { type: 'integer', minimum: 0, description: 'Last `seq` received. Omitted: only new events.' },
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
