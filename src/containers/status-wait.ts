import { Injectable } from '@nestjs/common';
import { DomainError } from '../errors';
import { type BerthEvent, containerIdOf, EventFeed } from '../events';
import { Clock } from '../scheduling';
import { Signals } from '../signals';
import type { Caller } from './access/container-access';
import { EventWait, unreachable, type WaitLimits } from './access/waits';
import type { ContainerRow, ContainerStatus, Operation } from './model/container.entity';
import { ContainersService } from './containers.service';
import { containerView, ContainerView } from './dto/responses';

/** Transitions without a request: a creation ends, a run ends, or a container is paused because it is idle. */
const BY_ITSELF: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  running: ['paused', 'stopped'],
  paused: ['stopped'],
  stopped: [],
  error: [],
};

/**
 * The statuses that an operation may lead to, including its rollback. An operation that inspects Docker may find the
 * container running, paused or stopped.
 */
const OUTCOMES: Readonly<Record<Operation, readonly ContainerStatus[]>> = {
  create: ['running', 'error'],
  start: ['running'],
  stop: ['stopped'],
  expire: ['stopped'],
  lifetime: ['stopped'],
  idle: ['stopped'],
  suspend: ['stopped'],
  pause: ['paused'],
  resume: ['running'],
  idle_pause: ['paused'],
  auto_delete: ['stopped'],
  delete: ['stopped'],
  update: ['running', 'stopped'],
  move: ['running', 'stopped'],
  snapshot: ['running', 'paused', 'stopped'],
  undo: ['running', 'stopped'],
  restart: ['running', 'stopped'],
  reconcile: ['running', 'stopped'],
  purge: [],
};

/** Events during an operation that report no change of the row. */
const KEEPS_STATUS: readonly BerthEvent['type'][] = ['container_progress'];

/** The stop reasons after which Docker's restart policy starts the container again. */
const RESTARTED_BY_DOCKER: readonly (string | null)[] = ['exited', 'oom'];

/**
 * The current status of a container, and all that it may reach without another request. A start is such a request: a
 * stopped container, or one whose creation failed, does not start by itself. Includes every status that may come, not
 * only those that will.
 */
export function reachableStatuses(
  row: Pick<ContainerRow, 'status' | 'statusReason' | 'operation'>,
): ReadonlySet<ContainerStatus> {
  const reached = new Set<ContainerStatus>([row.status]);
  if (row.operation !== null) OUTCOMES[row.operation].forEach((status) => reached.add(status));
  if (row.status === 'stopped' && RESTARTED_BY_DOCKER.includes(row.statusReason)) reached.add('running');
  // Iterating a set also yields elements that are added during the iteration.
  for (const status of reached) BY_ITSELF[status].forEach((next) => reached.add(next));
  return reached;
}

interface WaitOptions extends WaitLimits {
  readonly status: ContainerStatus;
}

/**
 * Waits for a container's status. Ends of operations wake it too: a failed operation may change nothing, and then the
 * status will not be reached.
 */
@Injectable()
export class StatusWait extends EventWait {
  constructor(
    private readonly containers: ContainersService,
    feed: EventFeed,
    private readonly signals: Signals,
    private readonly clock: Clock,
  ) {
    super(feed);
  }

  /**
   * @throws DomainError `status_not_reached` when the time is over or the wait is aborted; `status_unreachable` as soon
   * as the status can only be reached by another request, also when the container is deleted meanwhile;
   * `container_not_found`; `too_many_connections`; `shutting_down`
   */
  async until(caller: Caller, id: string, options: WaitOptions): Promise<ContainerView> {
    return this.wait(caller.userId, options, async () => {
      const found = await this.containers.find(caller, id);
      return {
        isAbout: (event) => containerIdOf(event) === found.id && !KEEPS_STATUS.includes(event.type),
        listen: (wake) =>
          this.signals.on('container_released', ({ containerId }) => {
            if (containerId === found.id) wake();
          }),
        look: async () => {
          const row = await this.read(caller, found.id);
          if (row.status === options.status) {
            return { reached: containerView(row, { now: this.clock.now(), sessionEnd: caller.sessionExpiresAt }) };
          }
          if (!reachableStatuses(row).has(options.status)) throw unreachable(row.status);
          return { status: row.status };
        },
      };
    });
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
