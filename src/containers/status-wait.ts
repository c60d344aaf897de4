import { Injectable } from '@nestjs/common';
import { Clock } from '../clock';
import { DomainError } from '../errors';
import { containerIdOf, EventFeed } from '../events';
import { Signals } from '../signals';
import type { ContainerStatus } from './container-state';
import type { ContainerRow } from './container.entity';
import { Caller, ContainersService } from './containers.service';
import { containerView, ContainerView } from './dto/container-view';
import { reachableStatuses } from './reachable-statuses';

/**
 * Waits for a container's status, woken by the events that tell of its changes, whichever process made them, and by the ends of
 * operations: one that fails may change nothing, and then the status does not come.
 */
@Injectable()
export class StatusWait {
  constructor(
    private readonly containers: ContainersService,
    private readonly feed: EventFeed,
    private readonly signals: Signals,
    private readonly clock: Clock,
  ) {}

  /**
   * @param options.timeoutMs how long to wait at most
   * @throws DomainError `status_not_reached` when the time is over; `status_unreachable` as soon as it takes another request for
   * the status to come, also when the container is deleted meanwhile; `container_not_found`
   */
  async until(
    caller: Caller,
    id: string,
    options: { status: ContainerStatus; timeoutMs: number },
  ): Promise<ContainerView> {
    const deadline = Date.now() + options.timeoutMs;
    const found = await this.containers.find(caller, id);
    const wake = new Wake();
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
        if (Date.now() >= deadline) {
          throw new DomainError('status_not_reached', { fields: { status: row.status } });
        }
        await wake.within(deadline - Date.now());
      }
    } finally {
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
