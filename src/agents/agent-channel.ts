import type { AsyncChannel } from '../http';
import { MACHINE_WORD } from './agent-protocol';

const word = { type: 'string', pattern: MACHINE_WORD.source };
const megabytes = { type: 'number', minimum: 0 };

/** The AsyncAPI channel of the messages between agents and Berth. */
export const AGENT_CHANNEL: AsyncChannel = {
  name: 'agents',
  address: '/agents',
  protocol: 'socketio',
  title: 'Connection of an agent',
  description:
    'Authenticated with an agent token. Heartbeats are acknowledged through the callback, with `ok`, or `error` ' +
    'and `code`.',
  handshake: {
    type: 'object',
    required: ['token'],
    properties: { token: { type: 'string' }, os: word, arch: word, version: word },
  },
  sends: {
    welcome: {
      type: 'object',
      required: ['id', 'name', 'heartbeat_seconds'],
      properties: {
        id: { type: 'string', pattern: '^agent:' },
        name: { type: 'string' },
        heartbeat_seconds: { type: 'integer', minimum: 1, description: 'Interval between heartbeats.' },
      },
    },
    replaced: {
      type: 'null',
      description: 'No argument. The agent has opened another connection, and this one is closed.',
    },
  },
  takes: {
    heartbeat: {
      type: 'object',
      properties: {
        load: { type: 'array', maxItems: 8, items: { type: 'number', minimum: 0 } },
        memory_total_mb: megabytes,
        memory_used_mb: megabytes,
        uptime_seconds: { type: 'number', minimum: 0 },
      },
    },
  },
};
