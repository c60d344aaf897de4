import { Inject, Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth';
import { DomainError } from '../errors';
import { accessLog } from '../http';
import { LOGGER } from '../logging';
import type { Logger as RequestLogger } from '../logging';
import { EventFeed } from './event-feed';
import { EventLog } from './event-log';
import { EventStream } from './event-stream';
import { MOST_SOCKETS_PER_USER } from './events.gateway';
import { TokenWatch } from './token-watch';

/** Who follows, from where, and the request that asks for it. */
export interface Following {
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
  private readonly streams = new Map<string, Set<EventStream>>();
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
    for (const streams of this.streams.values()) for (const stream of streams) stream.end();
  }

  /**
   * Answers with a stream that lasts until the client goes or does not read, the token ends, or the server does.
   *
   * @throws DomainError `too_many_connections`, `shutting_down`
   */
  async follow({ caller, after, request, reply }: Following): Promise<void> {
    const stream = new EventStream(reply.raw);
    if (!stream.isOver) this.enter(caller.userId, stream);
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

  /** Counted from the first moment, or many that are made at once would all be let in. */
  private enter(userId: string, stream: EventStream): void {
    const streams = this.streams.get(userId) ?? new Set();
    if (streams.size >= MOST_SOCKETS_PER_USER) throw new DomainError('too_many_connections');
    this.streams.set(userId, streams.add(stream));
    stream.onClose(() => {
      streams.delete(stream);
      if (streams.size === 0 && this.streams.get(userId) === streams) this.streams.delete(userId);
    });
  }
}
