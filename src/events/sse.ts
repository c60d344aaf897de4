import { Inject, Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerResponse } from 'node:http';
import type { Principal } from '../auth';
import { DomainError, invalidParameters } from '../errors';
import { accessLog } from '../http';
import { LOGGER, type Logger as RequestLogger } from '../logging';
import { MAX_SOCKETS_PER_USER, MAX_WAITING } from './events.gateway';
import { EventFeed } from './feed';
import { EventLog } from './log';
import type { BerthEvent } from './map';
import { TokenWatch } from './token-watch';

/** Often enough that no proxy on the way takes the stream for dead. */
const HEARTBEAT_MS = 15_000;

/** How long a client is to wait before it comes back. */
const RETRY_MS = 2_000;

/** How long the last bytes may take to a client that reads slowly before its connection is cut. */
const GOODBYE_MS = 1_000;

/** Those that every answer has: of the request's id, of security, of CORS. */
type EventStreamHeaders = Readonly<Record<string, number | string | string[] | undefined>>;

/** Server-Sent Events to one client over one HTTP response; gives up on a client that does not read. */
export class EventStream {
  /** Writes that the kernel has not taken yet. */
  private waiting = 0;
  private onDrained: () => void = () => undefined;

  constructor(private readonly response: ServerResponse) {
    this.onClose(() => this.onDrained());
  }

  /** Whether the connection is gone. Nothing more is sent, and whoever comes now to {@link onClose} is not called. */
  get isOver(): boolean {
    return this.response.destroyed;
  }

  onClose(listener: () => void): void {
    this.response.once('close', listener);
  }

  /**
   * Sends the head. The client gets the id of its position at once, if there is one, so that it can resume from there
   * even if the connection breaks before the first event.
   */
  open({ headers, after }: { headers: EventStreamHeaders; after?: number }): void {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.response.setHeader(name, value);
    this.response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Or nginx keeps events back until its buffer is full.
      'x-accel-buffering': 'no',
      // Over with the stream, so that a server that ends has no idle connection to wait for.
      connection: 'close',
    });
    this.write(`retry: ${String(RETRY_MS)}\n${idLine(after)}\n`);
    const heartbeat = setInterval(() => {
      if (this.waiting === 0) this.write(':\n\n');
    }, HEARTBEAT_MS).unref();
    this.onClose(() => clearInterval(heartbeat));
  }

  send(event: BerthEvent): void {
    this.sendAs({ type: event.type, id: event.seq, payload: event });
  }

  /** Events up to `eventSeq` are no longer kept; the client continues after it. */
  sendResyncRequired(eventSeq: number): void {
    const payload = { type: 'resync_required', event_seq: eventSeq };
    this.sendAs({ type: payload.type, id: eventSeq, payload });
  }

  /** Resolves once all that was sent is on its way, or the connection is gone. */
  async ready(): Promise<void> {
    while (this.waiting > 0 && !this.isOver) await new Promise<void>((resolve) => (this.onDrained = resolve));
  }

  /** Lets what was sent arrive, then ends the connection. Does nothing before the head is sent. */
  end(): void {
    if (!this.response.headersSent || this.isOver) return;
    this.response.end();
    const timer = setTimeout(() => this.cut(), GOODBYE_MS);
    this.onClose(() => clearTimeout(timer));
  }

  /** Ends the connection as it is. The client can come back and has what it missed replayed. */
  cut(): void {
    this.response.destroy();
  }

  /** Sends anything else. Whoever sends much waits for {@link ready} in between, or the connection is cut. */
  sendAs({ type, id, payload }: { type: string; id?: number; payload: object }): void {
    if (this.waiting >= MAX_WAITING) this.cut();
    else this.write(`${idLine(id)}event: ${type}\ndata: ${JSON.stringify(payload)}\n\n`);
  }

  private write(text: string): void {
    if (this.isOver || this.response.writableEnded) return;
    this.waiting += 1;
    this.response.write(text, () => {
      this.waiting -= 1;
      if (this.waiting === 0) this.onDrained();
    });
  }
}

function idLine(id: number | undefined): string {
  return id === undefined ? '' : `id: ${String(id)}\n`;
}

/** The open streams, of which a user may have {@link MAX_SOCKETS_PER_USER} in this process. */
export class OpenStreams {
  private readonly ofUsers = new Map<string, Set<EventStream>>();

  /** To be called first of all, or many that are made at once would all be let in. @throws `too_many_connections` */
  enter(userId: string, stream: EventStream): void {
    const streams = this.ofUsers.get(userId) ?? new Set();
    if (streams.size >= MAX_SOCKETS_PER_USER) throw new DomainError('too_many_connections');
    this.ofUsers.set(userId, streams.add(stream));
    stream.onClose(() => {
      streams.delete(stream);
      if (streams.size === 0 && this.ofUsers.get(userId) === streams) this.ofUsers.delete(userId);
    });
  }

  /** Ends them all. */
  end(): void {
    for (const streams of this.ofUsers.values()) for (const stream of streams) stream.end();
  }
}

/** Who follows, from where, and the request that asks for it. */
interface Following {
  readonly caller: Principal;
  /** The last `seq` that the client has; from now on if absent. */
  readonly after?: number | undefined;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Users' events as Server-Sent Events: each stream is sent its own user's events, in order and without gap. */
@Injectable()
export class EventStreams implements OnModuleDestroy {
  private readonly logger = new Logger(EventStreams.name);
  private readonly streams = new OpenStreams();
  private readonly logRequest: ReturnType<typeof accessLog>;
  private closing = false;

  constructor(
    private readonly log: EventLog,
    private readonly feed: EventFeed,
    private readonly watch: TokenWatch,
    @Inject(LOGGER) logger: RequestLogger,
  ) {
    this.logRequest = accessLog(logger);
  }

  /** At the very beginning of the end: clients come back, here or elsewhere, and what happens meanwhile is replayed. */
  onModuleDestroy(): void {
    this.closing = true;
    this.streams.end();
  }

  /**
   * Answers with a stream that lasts until the client goes or does not read, the token ends, or the server does.
   *
   * @throws DomainError `too_many_connections`, `shutting_down`
   */
  async follow({ caller, after, request, reply }: Following): Promise<void> {
    const stream = new EventStream(reply.raw);
    if (!stream.isOver) this.streams.enter(caller.userId, stream);
    // Fixed before the client learns that it is connected: what happens from then on must reach it.
    const startsAfter = after ?? (await this.log.lastSeq(caller.userId));
    if (this.closing) throw new DomainError('shutting_down');
    reply.hijack();
    if (stream.isOver) return;
    stream.onClose(() => {
      // Fastify itself sees only answers that came to their end.
      if (!reply.raw.writableFinished) this.logRequest(request, reply, () => undefined);
    });
    stream.open({ headers: reply.getHeaders(), after: startsAfter });
    // Has no body, so no events.
    if (request.method === 'HEAD') stream.end();
    else this.connect(stream, { caller, after: startsAfter });
  }

  private connect(stream: EventStream, { caller, after }: { caller: Principal; after: number }): void {
    const subscribing = this.feed.subscribe({
      userId: caller.userId,
      after,
      onEvent: (event) => stream.send(event),
      onResyncRequired: (seq) => stream.sendResyncRequired(seq),
      ready: () => stream.ready(),
    });
    subscribing.catch((error: unknown) => {
      this.logger.error({ msg: 'an event stream could not be served', err: error });
      stream.cut();
    });
    const unwatch = this.watch.watch({
      tokenId: caller.tokenId,
      expiresAt: caller.tokenExpiresAt,
      onEnd: () => stream.end(),
    });
    stream.onClose(() => {
      unwatch();
      subscribing.then(
        (subscription) => subscription.close(),
        () => undefined,
      );
    });
  }
}

/**
 * What an event stream's client says, when it comes back, that it has seen last.
 *
 * @param header the value of `Last-Event-ID`; empty, as some clients send it at first, is as good as none
 * @throws DomainError `invalid_parameters` if it is no id that a stream gave
 */
export function parseLastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  if (/^\d{1,15}$/.test(header)) return Number(header);
  throw invalidParameters([{ field: 'last-event-id', message: 'must be the id of an event' }]);
}
