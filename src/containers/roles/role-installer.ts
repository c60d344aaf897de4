import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { type BerthEvent, containerIdOf, EventLog } from '../../events';
import { LOGGER } from '../../logging';
import { FairLimiter, Poll, LruMap } from '../../scheduling';
import type { ContainerRow } from '../model/container.entity';
import { LeaseLostError } from '../leases/lease';
import { roleFailed, RoleInstallation, roleInstalled, type RoleOutcome } from './role-installation';
import { type RoleLease, RoleRepository } from './role.repository';

/**
 * Maximum concurrent installations in this process, and per user: an installation may take all of
 * `ROLE_INSTALL_TIMEOUT`. The containers' own limits bound their speed.
 */
const CONCURRENCY = { atOnce: 16, perKey: 4 };

/**
 * The delay before an interrupted installation is retried, so that Docker and the row can settle; doubles each time.
 */
const RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

/**
 * The maximum interruptions: a container that dies during each installation, as from lack of memory, would do so for
 * ever.
 */
const MAX_CUTS = 3;
const CUT = 'the installation was interrupted repeatedly; the container may have too little memory for it';

/** Events after which a role may have to be installed. */
const BEGIN: readonly BerthEvent['type'][] = ['container_started', 'container_resumed', 'container_updated'];

/** Maximum containers whose failed attempts are counted. Entries of deleted containers are not removed otherwise. */
const MOST_TRIES = 1_000;

/**
 * Installs the roles that containers ask for: in the background, besides the container's operations, and again for
 * each new Docker container. Started by container events; every `SWEEP_INTERVAL_SECONDS` it also looks for
 * installations that other processes abandoned. Every process does so; the role's lease in the row lets only one of
 * them install.
 */
@Injectable()
export class RoleInstaller implements OnModuleDestroy {
  private readonly stopped = new AbortController();
  /** Keyed by user id. */
  private readonly limiter = new FairLimiter(CONCURRENCY);
  private readonly working = new Map<string, { again: boolean; done: Promise<void> }>();
  /** Failed attempts by container: how many in all, and how many were interrupted. */
  private readonly tries = new LruMap<{ all: number; cuts: number }>(MOST_TRIES);
  private readonly poll: Poll;
  private started = false;

  constructor(
    private readonly repository: RoleRepository,
    private readonly installation: RoleInstallation,
    eventLog: EventLog,
    @Inject(CONFIG) config: Pick<Config, 'SWEEP_INTERVAL_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    eventLog.onCommitted((_userId, events) => this.onEvents(events));
    this.poll = new Poll({
      everyMs: config.SWEEP_INTERVAL_SECONDS * 1000,
      work: () => this.check(),
      onFault: (error) => this.logger.warn({ err: error }, 'roles could not be checked; the next check tries again'),
    });
  }

  /** Checks now, then periodically. Call it once Docker is prepared. */
  async start(): Promise<void> {
    this.started = true;
    try {
      await this.check();
    } catch (error) {
      this.logger.warn({ err: error }, 'roles could not be checked yet');
    }
    this.poll.start();
  }

  /** Abandons every installation; commands in the containers keep running until the next process ends them. */
  async onModuleDestroy(): Promise<void> {
    this.stopped.abort();
    this.poll.stop();
    await Promise.all([...this.working.values()].map(({ done }) => done));
  }

  /** Installs the container's role if it is pending and no process is installing it. Returns at once. */
  wake(containerId: string): void {
    if (!this.started || this.stopped.signal.aborted) return;
    const working = this.working.get(containerId);
    if (working) {
      working.again = true;
      return;
    }
    const state = { again: true, done: Promise.resolve() };
    this.working.set(containerId, state);
    state.done = this.work(containerId, state);
  }

  private onEvents(events: readonly BerthEvent[]): void {
    for (const event of events) {
      if (!BEGIN.includes(event.type)) continue;
      const id = containerIdOf(event);
      if (id !== null && 'role' in event.data && event.data.role !== null) this.wake(id);
    }
  }

  private async check(): Promise<void> {
    for (const id of await this.repository.listOpen()) this.wake(id);
  }

  private async work(containerId: string, state: { again: boolean }): Promise<void> {
    try {
      while (state.again) {
        state.again = false;
        const userId = await this.repository.ownerOf(containerId);
        if (userId !== null) await this.limiter.run(userId, () => this.install(containerId));
      }
    } catch (error) {
      this.logger.warn(
        { err: error, container_id: containerId },
        'the installation of a role failed; the next check tries again',
      );
    } finally {
      this.working.delete(containerId);
    }
  }

  private async install(containerId: string): Promise<void> {
    if (this.stopped.signal.aborted) return;
    const lease = await this.repository.acquireLease(containerId);
    if (!lease) return;
    try {
      await this.conclude(lease, await this.installation.attempt(lease, this.stopped.signal));
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error;
      this.logger.info(
        { container_id: containerId, role: lease.row.role },
        `the role is for another to install: ${error.message}`,
      );
    } finally {
      lease.end();
    }
  }

  private async conclude(lease: RoleLease, outcome: RoleOutcome): Promise<void> {
    const { id, role } = lease.row;
    const about = { container_id: id, role };
    switch (outcome.kind) {
      case 'installed':
        await lease.succeed(roleInstalled);
        this.tries.delete(id);
        this.logger.info(about, 'the role is installed');
        return;
      case 'failed':
        if (!(await lease.fail((row) => roleFailed(row, outcome)))) {
          this.tryAgain(id, await lease.release(), { cut: 0 });
          return;
        }
        this.tries.delete(id);
        // The failure is written first, because stopping the container revokes the role's lease.
        if (outcome.isEndless === true) await this.installation.endContainer(lease.row.engineId ?? '');
        this.logger.warn({ ...about, reason: outcome.message }, 'the role could not be installed');
        return;
      case 'cut':
        if ((this.tries.get(id)?.cuts ?? 0) + 1 >= MAX_CUTS) {
          const { message = CUT, output } = outcome;
          return this.conclude(lease, { kind: 'failed', message, output });
        }
        this.logger.info(about, 'the installation of the role was interrupted');
        this.tryAgain(id, await lease.release(), { cut: 1 });
        return;
      case 'later':
        this.logger.info({ ...about, err: outcome.cause }, 'the role is installed later');
        this.tryAgain(id, await lease.release(), { cut: 0 });
        return;
    }
  }

  /**
   * @param row as of the release; null if the lease was lost: the operation or process that took it handles the rest
   */
  private tryAgain(containerId: string, row: ContainerRow | null, { cut }: { cut: 0 | 1 }): void {
    const { all, cuts } = this.tries.get(containerId) ?? { all: 0, cuts: 0 };
    // During a requested operation, an interruption says nothing about the container.
    if (row === null) this.tries.delete(containerId);
    else this.tries.set(containerId, { all: all + 1, cuts: cuts + (row.operation === null ? cut : 0) });
    if (row === null || this.stopped.signal.aborted) return;
    setTimeout(() => this.wake(containerId), Math.min(RETRY_MS * 2 ** all, LONGEST_RETRY_MS)).unref();
  }
}
