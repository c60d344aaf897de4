import { Injectable } from '@nestjs/common';
import { Clock } from '../clock';
import { DomainError } from '../errors';
import { containerIdOf, EventFeed } from '../events';
import type { ContainerStatus } from './container-state';
import { Caller, ContainersService } from './containers.service';
import { containerView, ContainerView } from './dto/container-view';

/** Waits for a container's status, woken by the events that tell of its changes, whichever process made them. */
@Injectable()
export class StatusWait {
  constructor(
    private readonly containers: ContainersService,
    private readonly feed: EventFeed,
    private readonly clock: Clock,
  ) {}

  /**
   * @param options.timeoutMs how long to wait at most
   * @throws DomainError `status_not_reached` when the time is over, `container_not_found` also when it is deleted meanwhile
   */
  async until(
    caller: Caller,
    id: string,
    options: { status: ContainerStatus; timeoutMs: number },
  ): Promise<ContainerView> {
    const deadline = Date.now() + options.timeoutMs;
    const found = await this.containers.find(caller, id);
    const wake = new Wake();
    const subscription = await this.feed.subscribe({
      userId: caller.userId,
      onEvent: (event) => {
        if (containerIdOf(event) === found.id) wake.now();
      },
      onResyncRequired: () => wake.now(),
    });
    try {
      for (;;) {
        const row = await this.containers.find(caller, found.id);
        if (row.status === options.status) {
          return containerView(row, { now: this.clock.now(), sessionEnd: caller.sessionExpiresAt });
        }
        if (Date.now() >= deadline) {
          throw new DomainError('status_not_reached', { fields: { status: row.status } });
        }
        await wake.within(deadline - Date.now());
      }
    } finally {
      subscription.close();
    }
  }
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
