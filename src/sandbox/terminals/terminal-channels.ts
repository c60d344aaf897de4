import type { AsyncChannel } from '../../http';
import type { TerminalExit, TerminalRole } from './attachment';
import { type Fault, MAX_INPUT_BYTES } from './terminal-connection';
import { CLOSE } from './terminal-websocket';

/** All members of a string union; a missing one does not compile. */
const wordsOf = <T extends string>(words: Readonly<Record<T, true>>): { type: 'string'; enum: string[] } => ({
  type: 'string',
  enum: Object.keys(words),
});

const ROLE = wordsOf<TerminalRole>({ writer: true, watcher: true });
/** A client of a terminal that goes on is not told an end: its connection breaks. */
const REASON = wordsOf<Exclude<TerminalExit['reason'], 'lost' | 'server_stopped'>>({
  exited: true,
  ended: true,
  detached: true,
  container_stopped: true,
  container_deleted: true,
  container_recreated: true,
});
const FAULT = wordsOf<Fault>({
  not_writer: true,
  input_full: true,
  input_too_large: true,
  invalid_ack: true,
  invalid_parameters: true,
});

const OFFSET = { type: 'integer', minimum: 0, description: 'Byte offset in the entire output.' } as const;
const SIDE = { type: 'integer', minimum: 1, maximum: 1000 } as const;
const SIZE = { cols: SIDE, rows: SIDE } as const;
const SESSION = { type: 'string', format: 'uuid', description: 'Terminal id, to attach again.' } as const;
const ATTACHED = {
  session: SESSION,
  offset: Object.assign({}, OFFSET, { description: 'Offset of the output that follows.' }),
  gap: { type: 'boolean', description: 'True if earlier output is no longer stored.' },
  role: ROLE,
} as const;
/** The fields of a handshake beside the token, and beside the container if that is not in the path. */
const ASKED = {
  session: SESSION,
  cols: Object.assign({ default: 80 }, SIDE),
  rows: Object.assign({ default: 24 }, SIDE),
  after: Object.assign({}, OFFSET, { description: 'Output offset to start from. Omitted: all stored output.' }),
  takeover: { type: 'boolean', description: 'Take over input from another client.' },
} as const;

/** What runs in a new terminal over Socket.IO: a `ProgramDto`. */
const PROGRAM = {
  type: 'object',
  required: ['command'],
  properties: {
    command: { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 1024 },
    cwd: { type: 'string', description: "Absolute path. Omitted: the image's working directory." },
    env: { type: 'object', additionalProperties: { type: 'string' } },
    user: { type: 'string', description: 'Name or id, or "user:group". Omitted: the image\'s user.' },
  },
  description: 'Program of a new terminal, instead of the login shell. `exit` reports its exit code.',
} as const;

const object = (
  properties: object,
  required: readonly string[] = Object.keys(properties),
): Readonly<Record<string, unknown>> => ({
  type: 'object',
  required,
  properties,
});
const typed = (type: string, properties: object = {}): Readonly<Record<string, unknown>> =>
  object(Object.assign({ type: { type: 'string', enum: [type] } }, properties));

/** The messages of both terminal endpoints, for the AsyncAPI document. */
export const TERMINAL_CHANNELS: readonly AsyncChannel[] = [
  {
    name: 'terminal',
    address: '/terminal',
    protocol: 'socketio',
    title: 'Terminal as bytes with offsets',
    description:
      'Requires the scope exec. `input`, `resize` and `takeover` are acknowledged through the callback, if any, ' +
      'with `ok` or an error. The connection is closed if output is not acknowledged in time.',
    handshake: object(
      Object.assign({ token: { type: 'string' }, container: { type: 'string' }, program: PROGRAM }, ASKED),
      ['token', 'container'],
    ),
    sends: {
      attached: object(ATTACHED),
      output: {
        type: 'array',
        items: [OFFSET, { description: 'The bytes.' }],
        minItems: 2,
        maxItems: 2,
        description: 'Two arguments: the offset of the first byte, and the bytes as a binary attachment.',
      },
      role: object({ role: ROLE }),
      exit: object(
        {
          code: { type: ['integer', 'null'], description: 'Exit code of the shell; null if unknown.' },
          reason: REASON,
          detail: { type: 'string', description: 'Why the container stopped, if the stop was not requested.' },
        },
        ['code', 'reason'],
      ),
      refused: object({ error: { type: 'string' }, code: FAULT }),
    },
    takes: {
      input: { description: `Input: text or bytes, at most ${String(MAX_INPUT_BYTES)} bytes.` },
      resize: object(SIZE),
      ack: {
        type: 'integer',
        minimum: 1,
        description: 'Number of output bytes processed. If it exceeds the number sent, the connection is closed.',
      },
      takeover: { type: 'null', description: 'No argument. This client takes over the input.' },
    },
  },
  {
    name: 'terminal_websocket',
    address: '/ws/terminal/{id}',
    protocol: 'websocket',
    title: 'Terminal as JSON in text frames',
    description:
      'Requires the scope exec. Browsers pass the token as a subprotocol: `bearer.TOKEN`, next to `berth.v1`. Any other ' +
      `frame from the client is input. Close codes: ${Object.entries(CLOSE)
        .map(([why, code]) => `${String(code)} ${why}`)
        .join(', ')}.`,
    handshake: object(ASKED, []),
    sends: {
      connected: typed('connected', ATTACHED),
      output: typed('output', { data: { type: 'string' } }),
      pong: typed('pong'),
      error: typed('error', { data: { type: 'string', description: 'Error message.' } }),
    },
    takes: {
      input: typed('input', { data: { type: 'string' } }),
      resize: typed('resize', SIZE),
      ping: typed('ping'),
    },
  },
];
