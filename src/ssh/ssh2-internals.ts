import type { Socket } from 'node:net';
import type { Connection, ServerChannel } from 'ssh2';

/** The messages of SSH's connection protocol (RFC 4254), by the names of their handlers in ssh2. */
const CONNECTION_MESSAGES = [
  'GLOBAL_REQUEST',
  'REQUEST_SUCCESS',
  'REQUEST_FAILURE',
  'CHANNEL_OPEN',
  'CHANNEL_OPEN_CONFIRMATION',
  'CHANNEL_OPEN_FAILURE',
  'CHANNEL_WINDOW_ADJUST',
  'CHANNEL_DATA',
  'CHANNEL_EXTENDED_DATA',
  'CHANNEL_EOF',
  'CHANNEL_CLOSE',
  'CHANNEL_REQUEST',
  'CHANNEL_SUCCESS',
  'CHANNEL_FAILURE',
] as const;

type Handler = (...message: unknown[]) => void;

/** What this file uses of a connection that is private in ssh2 (1.17.0). `ssh2-internals.spec.ts` proves each part. */
interface Internals {
  readonly _sock: Socket;
  readonly _protocol: {
    /** The server's own first message of a key exchange, until the exchange is over. */
    readonly _kexinit?: unknown;
    readonly _handlers: Record<string, Handler | undefined>;
  };
}

/** What ssh2 (1.17.0) keeps of a write that waits for the client's window. */
interface Stalled {
  _chunk?: unknown;
  _chunkcb?: unknown;
  _chunkErr?: unknown;
  _chunkcbErr?: unknown;
}

/** ssh2 names a connection by its address and port alone. */
export function socketOf(connection: Connection): Socket {
  return internalsOf(connection)._sock;
}

/** Whether a key exchange has begun and is not over: ssh2 keeps all that is sent meanwhile, without a bound. */
export function exchangesKeys(connection: Connection): boolean {
  return internalsOf(connection)._protocol._kexinit !== undefined;
}

/**
 * Drops messages of the connection protocol that ssh2 would answer, or pass over, before the login.
 *
 * @param passes called at each such message; false drops it
 */
export function guardConnectionMessages(connection: Connection, passes: () => boolean): void {
  const { _handlers: handlers } = internalsOf(connection)._protocol;
  for (const name of CONNECTION_MESSAGES) {
    const handler = handlers[name];
    handlers[name] = (...message) => {
      if (passes()) handler?.(...message);
    };
  }
}

/** ssh2 forgets to forget what has waited for the window: it would send it again when the other output waits. */
export function forgetStalled(channel: ServerChannel): void {
  const stalled = channel as Stalled;
  Object.assign(stalled, { _chunk: undefined, _chunkcb: undefined, _chunkErr: undefined, _chunkcbErr: undefined });
}

function internalsOf(connection: Connection): Internals {
  return connection as unknown as Internals;
}
