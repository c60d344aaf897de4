import { Injectable, OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '../errors';
import { containerIdOf, EventFeed } from '../events';
import { Clock } from '../scheduling';
import { Signals } from '../signals';
import type { ContainerRow, ContainerStatus, Operation } from './container.entity';
import { Caller, ContainersService } from './containers.service';
import { containerView, ContainerView } from './dto/responses';

/** Where a status leads without a request: a creation ends, a run ends. */
const BY_ITSELF: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  running: ['stopped'],
  stopped: [],
  error: [],
};

/**
 * What an operation that holds the container may make of it, its rollback included. One that looks at Docker may find that
 * the container runs, or does not.
 */
const OUTCOMES: Readonly<Record<Operation, readonly ContainerStatus[]>> = {
  create: ['running', 'error'],
  start: ['running'],
  stop: ['stopped'],
  expire: ['stopped'],
  idle: ['stopped'],
  delete: ['stopped'],
  update: ['running', 'stopped'],
  undo: ['running', 'stopped'],
  restart: ['running', 'stopped'],
  reconcile: ['running', 'stopped'],
  purge: [],
};

/** Why a container stopped whose run Docker's restart policy begins anew. */
const RESTARTED_BY_DOCKER: readonly (string | null)[] = ['exited', 'oom'];

/**
 * The statuses that a container has, or can come to have without another request. A start is such a request: a container that was
 * stopped, or whose creation failed, does not come to run by itself. None is left out that might come; that one does come is not said.
 */
export function reachableStatuses(
  row: Pick<ContainerRow, 'status' | 'statusReason' | 'operation'>,
): ReadonlySet<ContainerStatus> {
  const reached = new Set<ContainerStatus>([row.status]);
  if (row.operation !== null) OUTCOMES[row.operation].forEach((status) => reached.add(status));
  if (row.status === 'stopped' && RESTARTED_BY_DOCKER.includes(row.statusReason)) reached.add('running');
  // A set also gives what is added to it meanwhile.
  for (const status of reached) BY_ITSELF[status].forEach((next) => reached.add(next));
  return reached;
}

/**
 * How many waits one user may have at a time in one process, as of sockets and streams: each holds a connection and a
 * subscription, and reads the row at every event of its container.
 */
const MOST_WAITS_PER_USER = 50;

/** What is waited for, and for how long. */
interface WaitOptions {
  readonly status: ContainerStatus;
  /** How long to wait at most. */
  readonly timeoutMs: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
}

/**
 * Waits for a container's status, woken by the events that tell of its changes, whichever process made them, and by the ends of
 * operations: one that fails may change nothing, and then the status does not come.
 */
@Injectable()
export class StatusWait implements OnModuleDestroy {
  private readonly waits = new WaitsByUser();
  private readonly sleeping = new Set<Wake>();
  private closing = false;

  constructor(
    private readonly containers: ContainersService,
    private readonly feed: EventFeed,
    private readonly signals: Signals,
    private readonly clock: Clock,
  ) {}

  /** At the very beginning of the end, as a wait may last for longer than a process that is told to end. */
  onModuleDestroy(): void {
    this.closing = true;
    for (const wake of this.sleeping) wake.now();
  }

  /**
   * @throws DomainError `status_not_reached` when the time is over or the wait is aborted; `status_unreachable` as soon as it
   * takes another request for the status to come, also when the container is deleted meanwhile; `container_not_found`;
   * `too_many_connections`; `shutting_down`
   */
  async until(caller: Caller, id: string, options: WaitOptions): Promise<ContainerView> {
    const leave = this.waits.enter(caller.userId, Date.now() + options.timeoutMs);
    try {
      return await this.wait(caller, id, options);
    } finally {
      leave();
    }
  }

  private async wait(caller: Caller, id: string, options: WaitOptions): Promise<ContainerView> {
    const deadline = performance.now() + options.timeoutMs;
    const found = await this.containers.find(caller, id);
    const wake = new Wake();
    this.sleeping.add(wake);
    options.signal?.addEventListener('abort', () => wake.now(), { once: true });
    const stopListening = this.signals.on('container_released', ({ containerId }) => {
      if (containerId === found.id) wake.now();
    });
    const feed = this.feed.subscribe({
      userId: caller.userId,
      onEvent: (event) => {
        if (containerIdOf(event) === found.id) wake.now();
      },
      onResyncRequired: () => wake.now(),
    });
    try {
      await feed;
      for (;;) {
        const row = await this.read(caller, found.id);
        if (row.status === options.status) {
          return containerView(row, { now: this.clock.now(), sessionEnd: caller.sessionExpiresAt });
        }
        if (!reachableStatuses(row).has(options.status)) throw unreachable(row.status);
        if (performance.now() >= deadline || options.signal?.aborted) {
          throw new DomainError('status_not_reached', { fields: { status: row.status } });
        }
        if (this.closing) throw new DomainError('shutting_down');
        await wake.within(deadline - performance.now());
      }
    } finally {
      this.sleeping.delete(wake);
      stopListening();
      await feed.then((subscription) => subscription.close()).catch(() => undefined);
    }
  }

  private async read(caller: Caller, id: string): Promise<ContainerRow> {
    try {
      return await this.containers.find(caller, id);
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'container_not_found') throw unreachable('deleted');
      throw error;
    }
  }
}

function unreachable(status: ContainerStatus | 'deleted'): DomainError {
  return new DomainError('status_unreachable', { fields: { status } });
}

/** A wake-up call that is not lost when it comes before the sleep. */
class Wake {
  private called = false;
  private resolve: (() => void) | undefined;

  now(): void {
    this.called = true;
    this.resolve?.();
  }

  async within(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    if (!this.called) {
      await new Promise<void>((resolve) => {
        this.resolve = resolve;
        timer = setTimeout(resolve, ms);
      });
    }
    clearTimeout(timer);
    this.called = false;
  }
}

/** Who waits at present, and until when at most. */
class WaitsByUser {
  private readonly deadlines = new Map<string, Set<{ readonly at: number }>>();

  /**
   * Counts one more, from its first moment: many that come at once are not all let in.
   *
   * @returns what ends it
   * @throws DomainError `too_many_connections`, which tells when the first of the user's waits is over
   */
  enter(userId: string, at: number): () => void {
    const deadlines = this.deadlines.get(userId) ?? new Set();
    if (deadlines.size >= MOST_WAITS_PER_USER) {
      const first = Math.min(...[...deadlines].map((each) => each.at));
      throw new DomainError('too_many_connections', { retryAfter: (first - Date.now()) / 1000 });
    }
    const own = { at };
    this.deadlines.set(userId, deadlines.add(own));
    return () => {
      deadlines.delete(own);
      if (deadlines.size === 0) this.deadlines.delete(userId);
    };
  }
}
