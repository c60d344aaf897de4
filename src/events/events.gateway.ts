import { Logger } from '@nestjs/common';
import { OnGatewayConnection, OnGatewayInit, WebSocketGateway } from '@nestjs/websockets';
import type { DefaultEventsMap, Server, Socket } from 'socket.io';
import { z } from 'zod';
import { holdsScope, OpenConnections, Principal } from '../auth';
import { DomainError } from '../errors';
import { SocketLimits } from '../rate-limits';
import { EventFeed } from './feed';
import { EventLog } from './log';
import type { BerthEvent } from './map';
import { admitSockets, tokenOf } from './socket-admission';
import { VisibleEvents } from './visible-events';

const withAfter = z.object({ after: z.int().min(0).optional() });

/**
 * @returns the last `seq` that the client has seen, if given
 * @throws DomainError `invalid_parameters` if it is not a whole number from 0 on
 */
export function afterOf(auth: unknown): number | undefined {
  const parsed = withAfter.safeParse(auth);
  if (!parsed.success) throw new DomainError('invalid_parameters');
  return parsed.data.after;
}

/**
 * Maximum packets that may wait for a client that does not read, beside as many that its transport holds already. An
 * event is about half a kilobyte, so this is at most about a megabyte per socket.
 */
export const MAX_WAITING = 1_000;

/**
 * Sends to one client, and drops a client that does not read. It can reconnect and get a replay of the events it
 * missed.
 */
class SocketOutbox {
  constructor(private readonly socket: Socket) {}

  send(name: string, payload: object): void {
    if (this.waiting >= MAX_WAITING) {
      // Closes without waiting for the buffer to drain, which it never does. The client sees a broken connection, and
      // so reconnects.
      this.socket.conn.close(true);
      return;
    }
    this.socket.emit(name, payload);
  }

  /** Resolves once the transport has taken all packets, or the connection is gone. */
  async ready(): Promise<void> {
    const { conn } = this.socket;
    while (this.waiting > 0 && conn.readyState === 'open') {
      await new Promise<void>((resolve) => {
        const done = () => {
          conn.off('drain', done).off('close', done);
          resolve();
        };
        conn.on('drain', done).on('close', done);
      });
    }
  }

  private get waiting(): number {
    // Private only in the types; Engine.IO has no public way to see what waits.
    return (this.socket.conn as unknown as { readonly writeBuffer: readonly unknown[] }).writeBuffer.length;
  }
}

/**
 * Enough for all browser tabs and scripts of one person. Without a limit, one token could take all of a server's
 * memory.
 */
const MAX_SOCKETS_PER_USER = 50;

interface SocketData {
  principal: Principal;
  /** The last `seq` that the client has or does not need. */
  after: number;
  isVisible: (event: BerthEvent) => boolean;
}

type ClientSocket = Socket<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, SocketData>;
type ClientServer = Server<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, SocketData>;

const roomOf = (userId: string): string => `user:${userId}`;

/** A user's events over Socket.IO: each connection gets its own user's events, in order and without gaps. */
@WebSocketGateway()
export class EventsGateway implements OnGatewayInit<ClientServer>, OnGatewayConnection<ClientSocket> {
  private readonly logger = new Logger(EventsGateway.name);
  private server: ClientServer | undefined;

  constructor(
    private readonly limits: SocketLimits,
    private readonly open: OpenConnections,
    private readonly log: EventLog,
    private readonly feed: EventFeed,
    private readonly visible: VisibleEvents,
  ) {}

  /** Number of sockets that follow events through this process. */
  get socketCount(): number {
    return this.server?.of('/').sockets.size ?? 0;
  }

  afterInit(server: ClientServer): void {
    this.server = server;
    admitSockets<ClientSocket>(server, {
      open: this.open,
      admit: (socket) => this.admit(socket),
      connected: (socket) => ({
        token: socket.data.principal,
        // A standard client does not reconnect after "disconnected by the server".
        end: () => void setImmediate(() => socket.disconnect(true)),
      }),
      onFault: (error) => this.noteFault(error),
    });
  }

  handleConnection(socket: ClientSocket): void {
    const { principal, after, isVisible } = socket.data;
    // Without a listener, Socket.IO prints packets that it cannot decode.
    socket.on('error', () => undefined);
    const outbox = new SocketOutbox(socket);
    const subscribing = this.feed.subscribe({
      userId: principal.userId,
      after,
      onEvent: (event) => {
        if (isVisible(event)) outbox.send(event.type, event);
      },
      onResyncRequired: (seq) => outbox.send('resync_required', { type: 'resync_required', event_seq: seq }),
      ready: () => outbox.ready(),
    });
    subscribing.catch((error: unknown) => {
      this.noteFault(error);
      socket.conn.close(true);
    });
    socket.once('disconnect', () => {
      subscribing.then(
        (subscription) => subscription.close(),
        () => undefined,
      );
    });
  }

  /** Authenticates a socket before it is connected. @throws DomainError */
  private async admit(socket: ClientSocket): Promise<void> {
    const auth: unknown = socket.handshake.auth;
    const token = tokenOf(auth);
    const principal = token === null ? null : await this.limits.verify(socket.request, token);
    if (!principal) throw new DomainError('unauthorized');
    if (!holdsScope(principal, 'read')) throw new DomainError('insufficient_permissions');
    // Read before the socket is connected: every event after the client learns that it is connected must reach it.
    const after = afterOf(auth) ?? (await this.log.lastSeq(principal.userId));
    const room = roomOf(principal.userId);
    if ((socket.nsp.adapter.rooms.get(room)?.size ?? 0) >= MAX_SOCKETS_PER_USER) {
      throw new DomainError('too_many_connections');
    }
    // Joins before the socket is connected, so that pending connections count too; Socket.IO leaves the room after a
    // refusal.
    await socket.join(room);
    socket.data = { principal, after, isVisible: await this.visible.of(principal) };
  }

  private noteFault(error: unknown): void {
    this.logger.error({ msg: 'a socket could not be served', err: error });
  }
}
