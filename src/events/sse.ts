import { Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ConnectionGroup, OpenConnections, type Principal } from '../auth';
import { DomainError } from '../errors';
import { AnswerStreams, type EventStream } from '../http';
import { EventFeed } from './feed';
import { EventLog } from './log';
import type { BerthEvent } from './map';
import { VisibleEvents } from './visible-events';

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
  private readonly open: ConnectionGroup;

  constructor(
    private readonly log: EventLog,
    private readonly feed: EventFeed,
    private readonly visible: VisibleEvents,
    connections: OpenConnections,
    private readonly answers: AnswerStreams,
  ) {
    this.open = connections.group();
  }

  /**
   * Ends the streams first at shutdown. Clients reconnect, here or to another process, and get a replay of missed
   * events.
   */
  onModuleDestroy(): void {
    this.open.close();
  }

  /**
   * Answers with a stream that lasts until the client disconnects or stops reading, the token ends, or the server
   * stops.
   *
   * @throws DomainError `too_many_connections`, `shutting_down`
   */
  async follow({ caller, after, request, reply }: Following): Promise<void> {
    const stream = this.answers.enter(caller.userId, reply);
    // Read before the client learns that it is connected: every later event must reach it.
    const startsAfter = after ?? (await this.log.lastSeq(caller.userId));
    const isVisible = await this.visible.of(caller);
    if (this.open.isClosed) throw new DomainError('shutting_down');
    this.answers.open(stream, { request, reply, after: startsAfter }, () =>
      this.connect(stream, { caller, after: startsAfter, isVisible }),
    );
  }

  /** @returns a function to be called when the stream has closed */
  private connect(
    stream: EventStream,
    { caller, after, isVisible }: { caller: Principal; after: number; isVisible: (event: BerthEvent) => boolean },
  ): () => void {
    const subscribing = this.feed.subscribe({
      userId: caller.userId,
      after,
      onEvent: (event) => {
        if (isVisible(event)) stream.send({ type: event.type, id: event.seq, payload: event });
      },
      // Events up to `seq` are no longer kept; the client continues after it.
      onResyncRequired: (seq) =>
        stream.send({ type: 'resync_required', id: seq, payload: { type: 'resync_required', event_seq: seq } }),
      ready: () => stream.ready(),
    });
    subscribing.catch((error: unknown) => {
      this.logger.error({ msg: 'an event stream could not be served', err: error });
      stream.cut();
    });
    const remove = this.open.add({ token: caller, end: () => stream.end() });
    return () => {
      remove();
      subscribing.then(
        (subscription) => subscription.close(),
        () => undefined,
      );
    };
  }
}
