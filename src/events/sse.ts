import { Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Principal, TokenWatch } from '../auth';
import { DomainError } from '../errors';
import { AnswerStreams, EventStream } from '../http';
import { EventFeed } from './feed';
import { EventLog } from './log';

/** The caller, the position, and the request of an event stream. */
interface Following {
  readonly caller: Principal;
  /** The last `seq` that the client has. If absent, the stream starts with the next event. */
  readonly after?: number | undefined;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** A user's events as Server-Sent Events: each stream gets its own user's events, in order and without gaps. */
@Injectable()
export class EventStreams implements OnModuleDestroy {
  private readonly logger = new Logger(EventStreams.name);
  private readonly streams = new Set<EventStream>();
  private closing = false;

  constructor(
    private readonly log: EventLog,
    private readonly feed: EventFeed,
    private readonly watch: TokenWatch,
    private readonly answers: AnswerStreams,
  ) {}

  /**
   * Ends the streams first at shutdown. Clients reconnect, here or to another process, and get a replay of missed
   * events.
   */
  onModuleDestroy(): void {
    this.closing = true;
    for (const stream of this.streams) stream.end();
  }

  /**
   * Answers with a stream that lasts until the client disconnects or stops reading, the token ends, or the server
   * stops.
   *
   * @throws DomainError `too_many_connections`, `shutting_down`
   */
  async follow({ caller, after, request, reply }: Following): Promise<void> {
    const stream = new EventStream(reply.raw);
    this.answers.enter(caller.userId, stream);
    if (!stream.isOver) {
      this.streams.add(stream);
      stream.onClose(() => this.streams.delete(stream));
    }
    // Read before the client learns that it is connected: every later event must reach it.
    const startsAfter = after ?? (await this.log.lastSeq(caller.userId));
    if (this.closing) throw new DomainError('shutting_down');
    this.answers.open(stream, { request, reply, after: startsAfter });
    if (stream.isOver) return;
    // An answer to HEAD has no body, and so no events.
    if (request.method === 'HEAD') stream.end();
    else this.connect(stream, { caller, after: startsAfter });
  }

  private connect(stream: EventStream, { caller, after }: { caller: Principal; after: number }): void {
    const subscribing = this.feed.subscribe({
      userId: caller.userId,
      after,
      onEvent: (event) => stream.send({ type: event.type, id: event.seq, payload: event }),
      // Events up to `seq` are no longer kept; the client continues after it.
      onResyncRequired: (seq) =>
        stream.send({ type: 'resync_required', id: seq, payload: { type: 'resync_required', event_seq: seq } }),
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
