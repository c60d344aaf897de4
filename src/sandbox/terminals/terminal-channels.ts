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

const OFFSET = { type: 'integer', minimum: 0, description: 'In the whole output, in bytes.' } as const;
const SIDE = { type: 'integer', minimum: 1, maximum: 1000 } as const;
const SIZE = { cols: SIDE, rows: SIDE } as const;
const SESSION = { type: 'string', format: 'uuid', description: "The terminal's, to come back to it." } as const;
const ATTACHED = {
  session: SESSION,
  offset: Object.assign({}, OFFSET, { description: 'Where the output begins that follows.' }),
  gap: { type: 'boolean', description: 'Whether output before it is lost.' },
  role: ROLE,
} as const;
/** The fields of a handshake beside the token, and beside the container if that is not in the path. */
const ASKED = {
  session: SESSION,
  cols: Object.assign({ default: 80 }, SIDE),
  rows: Object.assign({ default: 24 }, SIDE),
  after: Object.assign({}, OFFSET, { description: 'From where in the output; absent: all that is kept.' }),
  takeover: { type: 'boolean', description: 'To write at once, though another client does.' },
} as const;

/** What runs in a new terminal over Socket.IO: a `ProgramDto`. */
const PROGRAM = {
  type: 'object',
  required: ['command'],
  properties: {
    command: { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 1024 },
    cwd: { type: 'string', description: "An absolute path; the image's own directory if absent." },
    env: { type: 'object', additionalProperties: { type: 'string' } },
    user: { type: 'string', description: 'A name or an id, also "user:group"; the image\'s own if absent.' },
  },
  description: 'What a new terminal runs in place of the login shell; its exit code is that of `exit`.',
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
    title: 'A terminal, by bytes with offsets',
    description:
      'With the scope exec. `input`, `resize` and `takeover` are answered by the callback, if there is one, with `ok` or ' +
      'the error; output that is not acknowledged for too long ends the connection.',
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
          code: { type: ['integer', 'null'], description: "The shell's; null where nobody knows it." },
          reason: REASON,
          detail: { type: 'string', description: 'Why the container was stopped, where nobody asked.' },
        },
        ['code', 'reason'],
      ),
      refused: object({ error: { type: 'string' }, code: FAULT }),
    },
    takes: {
      input: { description: `What is typed: a text or bytes, at most ${String(MAX_INPUT_BYTES)}.` },
      resize: object(SIZE),
      ack: {
        type: 'integer',
        minimum: 1,
        description: 'Bytes of output that the client has dealt with; of more than it was sent the connection ends.',
      },
      takeover: { type: 'null', description: 'No argument: from now on this client writes.' },
    },
  },
  {
    name: 'terminal_websocket',
    address: '/ws/terminal/{id}',
    protocol: 'websocket',
    title: 'A terminal, by JSON in text frames',
    description:
      'With the scope exec; a browser gives its token as a subprotocol, `bearer.TOKEN` beside `berth.v1`. Any other frame ' +
      `that a client sends is input. Close codes: ${Object.entries(CLOSE)
        .map(([why, code]) => `${String(code)} ${why}`)
        .join(', ')}.`,
    handshake: object(ASKED, []),
    sends: {
      connected: typed('connected', ATTACHED),
      output: typed('output', { data: { type: 'string' } }),
      pong: typed('pong'),
      error: typed('error', { data: { type: 'string', description: 'A sentence.' } }),
    },
    takes: {
      input: typed('input', { data: { type: 'string' } }),
      resize: typed('resize', SIZE),
      ping: typed('ping'),
    },
  },
];
