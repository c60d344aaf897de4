import { Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth';
import { DomainError, invalidParameters } from '../errors';
import { AnswerStreams, EventStream } from './event-stream';
import { EventFeed } from './feed';
import { EventLog } from './log';
import { TokenWatch } from './token-watch';

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
  private readonly streams = new Set<EventStream>();
  private closing = false;

  constructor(
    private readonly log: EventLog,
    private readonly feed: EventFeed,
    private readonly watch: TokenWatch,
    private readonly answers: AnswerStreams,
  ) {}

  /** At the very beginning of the end: clients come back, here or elsewhere, and what happens meanwhile is replayed. */
  onModuleDestroy(): void {
    this.closing = true;
    for (const stream of this.streams) stream.end();
  }

  /**
   * Answers with a stream that lasts until the client goes or does not read, the token ends, or the server does.
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
    // Fixed before the client learns that it is connected: what happens from then on must reach it.
    const startsAfter = after ?? (await this.log.lastSeq(caller.userId));
    if (this.closing) throw new DomainError('shutting_down');
    this.answers.open(stream, { request, reply, after: startsAfter });
    if (stream.isOver) return;
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
  if (/^[0-9]{1,16}$/.test(header) && Number.isSafeInteger(Number(header))) return Number(header);
  throw invalidParameters([{ field: 'last-event-id', message: 'must be the id of an event' }]);
}
