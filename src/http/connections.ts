import { Inject, Injectable } from '@nestjs/common';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type Config, CONFIG } from '../config';
import { DomainError, errorAnswer } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { addressKey, ClientAddress } from './client-address';
import { endWith, requestIdOf } from './protocol-errors';

/** How often all connections are looked at. */
const LOOK_MS = 1_000;

/** How long a client may take nothing of what waits for it. */
const STALLED_MS = 30_000;

/** Maximum bytes that may wait in this process for all clients together. */
const MAX_UNREAD = 256 * 1024 * 1024;

/** What Node.js has below a socket; not among its types. */
interface SocketHandle {
  /** Bytes that were given to the kernel, or wait to be. */
  readonly bytesWritten: number;
  /** Those of them that wait, as the kernel's buffer is full. */
  readonly writeQueueSize: number;
}

interface Watched {
  /** How many bytes the kernel had taken at the last look; null while nothing waited. */
  taken: number | null;
  /** When it was seen to take some last, by the monotonic clock. */
  at: number;
}

/**
 * Bounds what connections can cost, whatever is spoken on them: how many an address has, how many bytes wait for
 * clients that do not read, and for how long.
 */
@Injectable()
export class Connections {
  private readonly open = new Map<Socket, Watched>();
  private readonly ofAddress = new Map<string, number>();
  private readonly maxUnread: number = MAX_UNREAD;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    @Inject(CONFIG) private readonly config: Pick<Config, 'CONNECTION_LIMIT'>,
    private readonly clients: ClientAddress,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Counts and watches the server's connections until it closes. */
  watch(server: Server): void {
    // A connection that Node.js let go of comes back as a new one.
    server.on('connection', (socket) => {
      if (!this.open.has(socket)) this.enter(socket);
    });
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
    server.once('close', () => clearInterval(this.timer));
  }

  /** Ends all connections at once, also those that the HTTP server does not know any more. */
  destroyAll(): void {
    for (const socket of this.open.keys()) socket.destroy();
  }

  private enter(socket: Socket): void {
    const { remoteAddress } = socket;
    this.open.set(socket, { taken: null, at: 0 });
    // A proxy's connections are those of many clients; how many each may have is the proxy's to say.
    const key = this.clients.trusts(remoteAddress) ? null : addressKey(remoteAddress);
    const count = key === null ? 0 : (this.ofAddress.get(key) ?? 0) + 1;
    if (key !== null) this.ofAddress.set(key, count);
    socket.once('close', () => {
      this.open.delete(socket);
      if (key === null) return;
      const left = (this.ofAddress.get(key) ?? 1) - 1;
      if (left > 0) this.ofAddress.set(key, left);
      else this.ofAddress.delete(key);
    });
    const { CONNECTION_LIMIT: limit } = this.config;
    if (limit === 0 || count <= limit) return;
    const fault = new DomainError('too_many_connections', { retryAfter: 1 });
    endWith(socket, errorAnswer(fault, requestIdOf({})));
  }

  /**
   * Destroys connections whose client has taken nothing for {@link STALLED_MS} of what waits for it; and where more
   * than {@link MAX_UNREAD} waits in all, those for which most does. As long as the kernel takes bytes, so does the
   * client.
   */
  look(now = performance.now()): void {
    const waiting: { socket: Socket; bytes: number }[] = [];
    for (const [socket, watched] of this.open) {
      const bytes = socket.writableLength;
      if (bytes === 0) {
        watched.taken = null;
        continue;
      }
      const taken = takenOf(socket);
      if (taken !== watched.taken) Object.assign(watched, { taken, at: now });
      if (now - watched.at >= STALLED_MS) this.cut(socket, 'a connection was cut: its client does not read');
      else waiting.push({ socket, bytes });
    }
    let unread = waiting.reduce((sum, { bytes }) => sum + bytes, 0);
    if (unread <= this.maxUnread) return;
    for (const { socket, bytes } of waiting.sort((a, b) => b.bytes - a.bytes)) {
      if (unread <= this.maxUnread) return;
      unread -= bytes;
      this.cut(socket, 'a connection was cut: too much waits for clients that do not read');
    }
  }

  private cut(socket: Socket, message: string): void {
    this.logger.warn({ address: socket.remoteAddress, unread_bytes: socket.writableLength }, message);
    socket.destroy();
  }
}

function takenOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: SocketHandle | null };
  return handle ? handle.bytesWritten - handle.writeQueueSize : 0;
}
