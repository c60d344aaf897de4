import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { type OwnedContainer, RunningContainers } from '../../containers';
import { saysNotRunning } from '../../engine';
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
 * Ends terminals without a client whose users have lost exec access. `OpenConnections` watches only terminals with a
 * session in some server process, and terminals outlive their sessions and the server: so the running containers of
 * tiers without `exec` are looked through at the start of the server, when a user is moved, and periodically for moves
 * without a signal and for containers that could not be reached before. No terminal is opened in such a container, so
 * it is asked until it has none.
 */
@Injectable()
export class TerminalRights implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly limiter = new FairLimiter(AT_ONCE);
  private readonly poll: Poll;
  private readonly stopListening: () => void;
  /** The containers of these tiers that have no terminal. */
  private without: ReadonlySet<string> = new Set();
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
    const known = userId === undefined ? this.without : new Set<string>();
    const without = await Promise.all(
      containers.map(async (container) => {
        const { engineId, nodeId } = container;
        const hasNone = known.has(engineId) || (await this.limiter.run(nodeId ?? '', () => this.checkOne(container)));
        return hasNone ? [engineId] : [];
      }),
    );
    // A container that is not listed any more has another tier, in which terminals can be opened.
    if (userId === undefined) this.without = new Set(without.flat());
  }

  /** Never throws. @returns whether the container has no terminal */
  private async checkOne(container: OwnedContainer): Promise<boolean> {
    if (this.isStopped) return false;
    try {
      return (await within(this.terminals.endUnattended(container), { ms: CHECK_WITHIN_MS })) === 0;
    } catch (error) {
      if (saysNotRunning(error)) return false;
      const message = 'the terminals of a user without exec access could not be ended; tried again';
      this.logger.warn({ err: error, container_id: container.id }, message);
      return false;
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
