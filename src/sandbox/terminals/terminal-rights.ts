import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { type OwnedContainer, RunningContainers } from '../../containers';
import { saysNotRunning } from '../../docker';
import { LOGGER, type Logger } from '../../logging';
import { FairLimiter, Poll, within } from '../../scheduling';
import { Signals } from '../../signals';
import { TiersService } from '../../tiers';
import { Terminals } from './terminals';

const CHECK_EVERY_MS = 30_000;

/** Concurrent checks of containers, in total and on one machine: one that does not answer must not delay the others. */
const AT_ONCE = { atOnce: 16, perKey: 4 } as const;
/** A container that takes longer is checked again in the next round; what was begun in it goes on. */
const CHECK_WITHIN_MS = 10_000;

/**
 * Ends terminals without a client whose users have lost exec access. `ExecAccess` watches only terminals with a
 * session in some server process, and terminals outlive their sessions and the server: so the running containers of
 * tiers without `exec` are looked through at the start of the server, when a user is moved, and periodically for moves
 * without a signal and for containers that could not be reached before.
 */
@Injectable()
export class TerminalRights implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly limiter = new FairLimiter(AT_ONCE);
  private readonly poll: Poll;
  private readonly stopListening: () => void;
  private isStopped = false;

  constructor(
    private readonly running: RunningContainers,
    private readonly tiers: TiersService,
    private readonly terminals: Terminals,
    signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.stopListening = signals.on('user_moved', ({ userId }) => this.checkNow(userId));
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => this.check(),
      onFault: (error) => this.noteFault(error),
    });
  }

  /** Docker has been prepared by the time of this hook. */
  onApplicationBootstrap(): void {
    this.checkNow();
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.isStopped = true;
    this.poll.stop();
    this.stopListening();
  }

  /** @param userId by default all users */
  private async check(userId?: string): Promise<void> {
    const closed = this.tiers.all().flatMap(({ name, exec }) => (exec ? [] : [name]));
    const containers = await this.running.inTiers(closed, userId);
    const checks = containers.map((container) =>
      this.limiter.run(container.nodeId ?? '', () => this.checkOne(container)),
    );
    await Promise.all(checks);
  }

  /** Never throws. */
  private async checkOne(container: OwnedContainer): Promise<void> {
    if (this.isStopped) return;
    try {
      await within(this.terminals.endUnattended(container), { ms: CHECK_WITHIN_MS });
    } catch (error) {
      if (saysNotRunning(error)) return;
      const message = 'the terminals of a user without exec access could not be ended; tried again';
      this.logger.warn({ err: error, container_id: container.id }, message);
    }
  }

  private checkNow(userId?: string): void {
    this.check(userId).catch((error: unknown) => this.noteFault(error));
  }

  private noteFault(error: unknown): void {
    if (this.isStopped) return;
    this.logger.warn({ err: error }, 'the containers of users without exec access could not be listed; tried again');
  }
}
