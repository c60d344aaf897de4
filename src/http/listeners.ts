import { Inject, Injectable } from '@nestjs/common';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type Config, CONFIG } from '../config';
import { DomainError, errorAnswer } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter } from '../scheduling';
import { addressKey, ClientAddress } from './client-address';
import { endWith, requestIdOf } from './protocol-errors';

/** How often all connections are checked. */
const LOOK_MS = 1_000;

/** Maximum time in which a client may read nothing although data waits for it. */
const STALLED_MS = 30_000;

/** Maximum bytes that may wait in this process for all clients together. */
const MAX_UNREAD = 256 * 1024 * 1024;

/** Node.js's internal handle below a socket, which its types do not declare. */
interface SocketHandle {
  /** Bytes passed to the kernel or waiting to be. */
  readonly bytesWritten: number;
  /** The part of `bytesWritten` that waits because the kernel's buffer is full. */
  readonly writeQueueSize: number;
}

interface Watched {
  /** Bytes that the kernel had accepted at the last check; null while no data waits. */
  taken: number | null;
  /** When the kernel was last seen to accept bytes, by the monotonic clock. */
  at: number;
}

/**
 * Bounds the cost of connections, for every protocol: connections per address, bytes that wait for slow clients, and
 * the time for which they may wait.
 */
@Injectable()
export class Connections {
  private readonly open = new Map<Socket, Watched>();
  private readonly places: KeyedLimiter;
  private readonly maxUnread: number = MAX_UNREAD;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    @Inject(CONFIG) { CONNECTION_LIMIT: limit }: Pick<Config, 'CONNECTION_LIMIT'>,
    private readonly clients: ClientAddress,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.places = new KeyedLimiter(limit === 0 ? Infinity : limit);
  }

  /** Counts and watches the server's connections until it closes. */
  watch(server: Server): void {
    // A connection that Node.js detached for an upgrade is emitted again after `putBack`.
    server.on('connection', (socket) => {
      if (!this.open.has(socket)) this.enter(socket);
    });
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
    server.once('close', () => clearInterval(this.timer));
  }

  /** Destroys all connections, also upgraded ones, which the HTTP server no longer tracks. */
  destroyAll(): void {
    for (const socket of this.open.keys()) socket.destroy();
  }

  private enter(socket: Socket): void {
    const { remoteAddress } = socket;
    this.open.set(socket, { taken: null, at: 0 });
    // A proxy's connections belong to many clients; the proxy has to limit each client's.
    const leave = this.clients.trusts(remoteAddress) ? () => undefined : this.places.take(addressKey(remoteAddress));
    socket.once('close', () => {
      this.open.delete(socket);
      leave?.();
    });
    if (leave) return;
    const fault = new DomainError('too_many_connections', { retryAfter: 1 });
    endWith(socket, errorAnswer(fault, requestIdOf({})));
  }

  /**
   * Destroys connections whose client has read nothing for {@link STALLED_MS} although data waits for it. If more
   * than {@link MAX_UNREAD} waits in all, destroys those with the most. A client counts as reading as long as the
   * kernel accepts bytes.
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
