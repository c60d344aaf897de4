import { Inject, Injectable } from '@nestjs/common';
import { type Principal, TokenReach } from '../../auth';
import { ContainersService, RunningContainers, type UpContainer } from '../../containers';
import { type BerthEvent, containerIdOf, EventFeed } from '../../events';
import type { EventStream } from '../../http';
import { LOGGER, type Logger } from '../../logging';
import { RunStreams, type StreamCall } from '../access/run-streams';
import type { ContainerStatsView, StatsStreamEndView } from './dto';
import { ContainerStatistics } from './stats';

/** Interval between two reads of each container: many are read, for numbers in a list. */
const EVERY_MS = 5_000;

/** Events that come together cause one read of the rows. */
const TOGETHER_MS = 100;

/** Pause before the next read of the rows after a failure, or after a container ended before its event came. */
const AGAIN_MS = 2_000;

interface Following extends StreamCall {
  /** Database ids. */
  readonly ids: readonly string[];
}

/** Statistics of several containers in one event stream, which they join and leave as they run. */
@Injectable()
export class StatsStreams {
  constructor(
    private readonly containers: ContainersService,
    private readonly running: RunningContainers,
    private readonly reach: TokenReach,
    private readonly statistics: ContainerStatistics,
    private readonly feed: EventFeed,
    private readonly streams: RunStreams,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Answers with a stream that lasts until the client disconnects or stops reading, the caller loses access, or the
   * server stops. It does not count as use of the containers.
   *
   * @throws DomainError `guest_session_expired`, `exec_not_allowed`, `too_many_connections`, `shutting_down`
   */
  follow({ ids, ...call }: Following): void {
    this.containers.assertMayEnter(call.caller);
    const stream = this.streams.enter(call);
    this.streams.begin<StatsStreamEndView>(stream, call, () => this.connect(stream, call.caller, ids));
  }

  /** @returns a function that ends the reading */
  private connect(stream: EventStream, caller: Principal, ids: readonly string[]): () => void {
    const { userId } = caller;
    const outbox = new Outbox(stream);
    const members = new Members({
      find: async () => this.running.ofUser(userId, await this.visibleOf(caller, ids)),
      follow: ({ id, engineId }, onOver) =>
        this.statistics.follow(engineId, {
          everyMs: EVERY_MS,
          onStats: (stats) => outbox.put(Object.assign({ db_id: id }, stats)),
          onOver,
          // The next read may succeed.
          onFault: () => undefined,
        }),
      onFault: (error) => this.logger.warn({ err: error, user_id: userId }, 'running containers could not be read'),
    });
    const wanted = new Set(ids);
    const onEvent = (event: BerthEvent): void => {
      if (event.type !== 'container_progress' && wanted.has(containerIdOf(event) ?? '')) members.refreshIn(TOGETHER_MS);
    };
    const onResyncRequired = (): void => members.refreshIn(TOGETHER_MS);
    // The rows are read once the subscription has begun, so that every later start is noticed.
    const subscribing = this.feed.subscribe({ userId, onEvent, onResyncRequired });
    subscribing.then(
      () => members.refreshIn(0),
      (error: unknown) => {
        this.logger.error({ err: error, user_id: userId }, 'a stream of statistics could not be served');
        stream.cut();
      },
    );
    return () => {
      members.close();
      subscribing.then(
        (subscription) => subscription.close(),
        () => undefined,
      );
    };
  }

  /** Without those that a token for one container does not open. */
  private async visibleOf(caller: Principal, ids: readonly string[]): Promise<readonly string[]> {
    const opened = await this.reach.idsOf(caller);
    return opened ? ids.filter((id) => opened.has(id)) : ids;
  }
}

interface MembersOptions {
  /** Those containers of the stream that are up. */
  readonly find: () => Promise<readonly UpContainer[]>;
  /** @returns a function that ends the following */
  readonly follow: (container: UpContainer, onOver: () => void) => () => void;
  /** Called for the first failure in a row. */
  readonly onFault: (error: unknown) => void;
}

/** The containers that a stream follows at present. */
class Members {
  /** By Docker id, which changes if a container is recreated. */
  private readonly followed = new Map<string, () => void>();
  private timer: NodeJS.Timeout | undefined;
  /** When the timer ends, by the monotonic clock. */
  private due = 0;
  private isReading = false;
  private isFailing = false;
  private isClosed = false;

  constructor(private readonly options: MembersOptions) {}

  /** Reads the rows in `ms`, or sooner if that was planned. */
  refreshIn(ms: number): void {
    const due = performance.now() + ms;
    if (this.isClosed || (this.timer && this.due <= due)) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      // A read that has begun may have missed the change.
      if (this.isReading) this.refreshIn(TOGETHER_MS);
      else void this.refresh();
    }, ms).unref();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    for (const leave of this.followed.values()) leave();
    this.followed.clear();
  }

  private async refresh(): Promise<void> {
    this.isReading = true;
    try {
      this.take(await this.options.find());
      this.isFailing = false;
    } catch (error) {
      if (!this.isFailing) this.options.onFault(error);
      this.isFailing = true;
      this.refreshIn(AGAIN_MS);
    } finally {
      this.isReading = false;
    }
  }

  private take(found: readonly UpContainer[]): void {
    if (this.isClosed) return;
    const up = new Set(found.map(({ engineId }) => engineId));
    for (const [engineId, leave] of this.followed) {
      if (up.has(engineId)) continue;
      this.followed.delete(engineId);
      leave();
    }
    for (const container of found) {
      const { engineId } = container;
      if (this.followed.has(engineId)) continue;
      const onOver = (): void => {
        this.followed.delete(engineId);
        // It may run again by then, or its row may not be up to date yet.
        this.refreshIn(AGAIN_MS);
      };
      this.followed.set(engineId, this.options.follow(container, onOver));
    }
  }
}

/** The newest statistics of each container that the client has not received: it gets no older ones if it is slow. */
class Outbox {
  private readonly waiting = new Map<string, ContainerStatsView>();
  private isSending = false;

  constructor(private readonly stream: EventStream) {}

  put(stats: ContainerStatsView): void {
    this.waiting.set(stats.db_id, stats);
    if (!this.isSending) void this.send();
  }

  private async send(): Promise<void> {
    this.isSending = true;
    while (this.waiting.size > 0 && !this.stream.isOver) {
      for (const payload of this.waiting.values()) this.stream.send({ type: 'stats', payload });
      this.waiting.clear();
      await this.stream.ready();
    }
    this.isSending = false;
  }
}
