import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { type IncomingMessage, Server as HttpServer, type ServerOptions, type ServerResponse } from 'node:http';
import { Server as TcpServer, type ServerOpts, type Socket } from 'node:net';
import { type Config, CONFIG } from '../config';
import { DomainError, errorAnswer } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter } from '../scheduling';
import { addressKey, ClientAddress } from './client-address';
import { endWith, requestIdOf } from './protocol-errors';
import { hasBody } from './request-head';

/** Time limit for the head of a request, however slowly it arrives. */
export const HEAD_MS = 30_000;

/** How often Node.js checks {@link HEAD_MS} and {@link HttpBounds.requestMs}. */
const TIME_LIMIT_CHECK_MS = 2_000;

/** Requests of a connection that may be unanswered at a time. Usual clients send one, and wait for its answer. */
const MAX_UNANSWERED = 8;

/** Refusals in a row, after which the answer to the next request of the connection closes it. */
const MAX_REFUSALS = 8;

/** How often all connections are checked. */
const LOOK_MS = 1_000;

/** Maximum bytes that may wait in this process for all clients together. */
const MAX_UNREAD = 256 * 1024 * 1024;

/** The bounds in which HTTP listeners differ, in milliseconds. */
interface HttpBounds {
  /** Time limit for a request's head and body together; 0 if a body may take as long as its bytes flow. */
  readonly requestMs: number;
  /** How long a connection may wait for its next request. */
  readonly keepAliveMs: number;
  /** How long a connection may stay without a byte in either direction; 0: no limit of its own. */
  readonly idleMs: number;
}

/** A request as Node.js announces it. */
interface Announced {
  readonly event: 'request' | 'checkContinue' | 'checkExpectation';
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * An HTTP server that accepts no connection until {@link Listeners} watches it, and that handles the requests of a
 * connection one after the other: each begins in a turn of the event loop of its own, once the answer before it has
 * been sent. Node.js would begin all requests that one read brings, and keep their answers for as long as the client
 * does not read. A connection with more than {@link MAX_UNANSWERED} requests is closed, and so is one that asks for
 * another protocol while a request is unanswered.
 */
export class HttpListener extends HttpServer {
  private readonly queues = new WeakMap<Socket, RequestQueue>();
  /** Set by {@link Listeners.watch}. */
  enter: (socket: Socket) => void = (socket) => socket.destroy();

  constructor({ requestMs, keepAliveMs, idleMs }: HttpBounds) {
    super({
      headersTimeout: HEAD_MS,
      requestTimeout: requestMs,
      connectionsCheckingInterval: TIME_LIMIT_CHECK_MS,
      keepAliveTimeout: keepAliveMs,
      // `headFault` answers a missing `Host`: Node.js would send an empty body.
      requireHostHeader: false,
      // Missing in the types, and in Node.js 20. Newer versions read the body of an upgrade, and pass on a stream that
      // cannot be given back to the server, so an offer with a body is declined.
      shouldUpgradeCallback: (request: IncomingMessage) => !hasBody(request),
    } as ServerOptions);
    // By default, Node.js drops fields past 1,000, and a repeated one among them. Their total length is bounded.
    this.maxHeadersCount = 0;
    if (idleMs > 0) this.setTimeout(idleMs);
    this.on('connection', (socket) => this.enter(socket));
  }

  /** Node.js announces each request by an event; listeners get it in its turn. */
  override emit(event: string, ...args: unknown[]): boolean {
    if (event === 'request' || event === 'checkContinue' || event === 'checkExpectation') {
      const [request, response] = args as [IncomingMessage, ServerResponse];
      this.queueOf(request.socket).add({ event, request, response });
      return true;
    }
    if (event === 'upgrade' || event === 'connect') {
      const [{ socket }] = args as [IncomingMessage];
      if (this.queues.get(socket)?.isBusy) {
        socket.destroy();
        return true;
      }
    }
    return super.emit(event, ...args);
  }

  private queueOf(socket: Socket): RequestQueue {
    let queue = this.queues.get(socket);
    if (!queue) {
      queue = new RequestQueue(socket, ({ event, request, response }) => super.emit(event, request, response));
      this.queues.set(socket, queue);
    }
    return queue;
  }
}

/** The requests of one connection. */
class RequestQueue {
  private current: ServerResponse | null = null;
  private readonly waiting: Announced[] = [];
  private refusals = 0;

  constructor(
    private readonly socket: Socket,
    private readonly handle: (request: Announced) => void,
  ) {}

  get isBusy(): boolean {
    return this.current !== null;
  }

  add(announced: Announced): void {
    const { socket, current } = this;
    if (socket.destroyed) return;
    // A listener to one of the events announces the same request by another.
    if (current === announced.response) this.handle(announced);
    else if (current === null) {
      this.current = announced.response;
      this.begin(announced);
    } else if (this.waiting.push(announced) >= MAX_UNANSWERED) {
      this.waiting.length = 0;
      socket.destroy();
    }
  }

  private begin(announced: Announced): void {
    const { response } = announced;
    // Node.js then closes the connection with the answer, and tells the client so.
    if (this.refusals >= MAX_REFUSALS || hasDeclinedOffer(announced.request)) response.shouldKeepAlive = false;
    response.once('close', () => this.next(response));
    this.handle(announced);
  }

  private next({ statusCode }: ServerResponse): void {
    this.refusals = statusCode >= 400 && statusCode < 500 ? this.refusals + 1 : 0;
    const announced = this.waiting.shift();
    // Set at once, so that a request that arrives in between waits behind this one.
    this.current = announced?.response ?? null;
    if (announced) setImmediate(() => !this.socket.destroyed && !this.socket.writableEnded && this.begin(announced));
  }
}

/** True if Node.js declined an offer to upgrade itself: it drops what it has read behind such a request. */
function hasDeclinedOffer({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined;
}

/** Node.js's internal handle below a socket, which its types do not declare. */
interface SocketHandle {
  /** Bytes passed to the kernel or waiting to be. */
  readonly bytesWritten: number;
  /** The part of `bytesWritten` that waits because the kernel's buffer is full. */
  readonly writeQueueSize: number;
}

interface Watched {
  readonly server: TcpServer;
  readonly stalledMs: number;
  /** Bytes that the kernel had accepted at the last check; null while no data waits. */
  taken: number | null;
  /** When the kernel was last seen to accept bytes, by the monotonic clock. */
  at: number;
}

/** How a listener treats its connections. */
interface Treatment {
  /** Maximum milliseconds in which a client may read nothing although data waits for it. */
  readonly stalledMs: number;
  /** Refuses a connection beyond `CONNECTION_LIMIT`, and closes it. */
  readonly refuse: (socket: Socket) => void;
}

/**
 * All listeners of this process; no other code creates a server. They bound the cost of connections, for every
 * protocol: connections per address, bytes that wait for slow clients, and the time for which they may wait.
 */
@Injectable()
export class Listeners implements OnApplicationShutdown {
  private readonly listeners = new Map<string, TcpServer>();
  private readonly open = new Map<Socket, Watched>();
  private readonly limit: number;
  private readonly maxUnread: number = MAX_UNREAD;
  private readonly timer: NodeJS.Timeout;

  constructor(
    @Inject(CONFIG) { CONNECTION_LIMIT: limit }: Pick<Config, 'CONNECTION_LIMIT'>,
    private readonly clients: ClientAddress,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.limit = limit === 0 ? Infinity : limit;
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** The listeners by their names, whether they listen or not. */
  get all(): ReadonlyMap<string, TcpServer> {
    return this.listeners;
  }

  /**
   * Creates an HTTP server.
   *
   * @param stalledMs maximum time in which a client may read nothing although data waits for it
   */
  http(name: string, { stalledMs, ...bounds }: HttpBounds & { readonly stalledMs: number }): HttpListener {
    const server = new HttpListener(bounds);
    this.watch(name, server, stalledMs);
    return server;
  }

  /**
   * Creates a TCP server.
   *
   * @param begin called with each connection that is not refused
   */
  tcp(
    name: string,
    { options, ...treatment }: Treatment & { options: ServerOpts },
    begin: (socket: Socket) => void,
  ): TcpServer {
    const server = new TcpServer(options);
    const enter = this.entrance(name, server, treatment);
    server.on('connection', (socket) => enter(socket) && begin(socket));
    return server;
  }

  /** Counts and watches the connections of an HTTP server, which accepts none before. @param stalledMs as for `http` */
  watch(name: string, server: HttpListener, stalledMs: number): void {
    const enter = this.entrance(name, server, { stalledMs, refuse });
    // A connection that Node.js detached for an upgrade is announced again when it is put back.
    server.enter = (socket) => void (this.open.has(socket) || enter(socket));
  }

  /** Destroys all connections of a listener, also upgraded ones, which Node.js's HTTP server no longer tracks. */
  destroyAll(server: TcpServer): void {
    for (const [socket, watched] of this.open) if (watched.server === server) socket.destroy();
  }

  /** @returns a function that counts and watches a new connection; it returns false if it refused the connection */
  private entrance(name: string, server: TcpServer, { stalledMs, refuse }: Treatment): (socket: Socket) => boolean {
    this.listeners.set(name, server);
    const connections = new KeyedLimiter(this.limit);
    return (socket) => {
      const { remoteAddress } = socket;
      this.open.set(socket, { server, stalledMs, taken: null, at: 0 });
      // A proxy's connections belong to many clients; the proxy has to limit each client's.
      const leave = this.clients.trusts(remoteAddress) ? () => undefined : connections.take(addressKey(remoteAddress));
      socket.once('close', () => {
        this.open.delete(socket);
        leave?.();
      });
      if (!leave) refuse(socket);
      return leave !== null;
    };
  }

  /**
   * Destroys connections whose client has read nothing for its listener's time although data waits for it. If more
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
      if (now - watched.at >= watched.stalledMs) this.cut(socket, 'a connection was cut: its client does not read');
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

function refuse(socket: Socket): void {
  endWith(socket, errorAnswer(new DomainError('too_many_connections', { retryAfter: 1 }), requestIdOf({})));
}

function takenOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: SocketHandle | null };
  return handle ? handle.bytesWritten - handle.writeQueueSize : 0;
}
