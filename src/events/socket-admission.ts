import type { Socket } from 'socket.io';
import { z } from 'zod';
import type { OpenConnection, OpenConnections } from '../auth';
import { DomainError } from '../errors';

/** Refuses a connection; the client gets the message in its `connect_error`. */
export class ConnectionRefused extends Error {
  override readonly name = 'ConnectionRefused';
  /** Socket.IO sends this field to the client: an error as everywhere, and `retry_after` in seconds if it has one. */
  readonly data: Readonly<Record<string, unknown>>;

  constructor({ message, code, options: { fields, retryAfter } }: DomainError) {
    super(message);
    this.data = { error: message, code, ...fields, ...(retryAfter !== undefined && { retry_after: retryAfter }) };
  }
}

/** How the sockets of a namespace are admitted, and what ends them. */
interface Admission<S> {
  readonly open: OpenConnections;
  /** Rejects with a DomainError or ConnectionRefused to refuse a socket. */
  readonly admit: (socket: S) => Promise<void>;
  /** What a socket depends on that is connected; null if `admit` has registered it. */
  readonly connected: (socket: S) => OpenConnection | null;
  /** Called with server faults. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Admits the sockets of a namespace before they are connected. After a server fault, the connection is broken as well:
 * standard clients reconnect by themselves only in this case.
 */
export function admitSockets<S extends Pick<Socket, 'conn' | 'once'>>(
  server: {
    use(middleware: (socket: S, next: (refusal?: Error) => void) => void): unknown;
    on(event: 'connection', listener: (socket: S) => void): unknown;
  },
  { open, admit, connected, onFault }: Admission<S>,
): void {
  server.on('connection', (socket) => {
    const connection = connected(socket);
    if (connection) socket.once('disconnect', open.add(connection));
  });
  server.use((socket, next) => {
    admit(socket).then(
      () => next(),
      (error: unknown) => {
        if (error instanceof ConnectionRefused) next(error);
        else if (error instanceof DomainError && !error.isServerFault) next(new ConnectionRefused(error));
        else {
          onFault(error);
          socket.conn.close(true);
          next(new ConnectionRefused(new DomainError('internal_error')));
        }
      },
    );
  });
}

const withToken = z.object({ token: z.string() });

/**
 * @returns the token of a handshake's `auth`; null if there is none. It is never read from the URL, which ends up
 *   in logs
 */
export function tokenOf(auth: unknown): string | null {
  return withToken.safeParse(auth).data?.token ?? null;
}
