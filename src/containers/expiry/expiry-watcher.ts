import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine } from '../../engine';
import { LOGGER } from '../../logging';
import { Poll } from '../../scheduling';
import { containerFacts, type ContainerRow, type Ending } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { expiring } from '../operations/expire';
import { isBenignConflict, OperationRunner } from '../operations/operation-runner';
import { ExpiryQueries } from './expiry-queries';
import { planExpiry, RunPolicies, type Run, type Warning } from '../policies/run-policy';

/** How often the lifetimes that end next are read. Each of them has a timer, so that it ends within a second. */
const LIFETIMES_MS = 2_000;
/** An end that failed is tried again for so long by the reads of lifetimes, then by the slower checks. */
const RETRIED_MS = 10_000;

/** Maximum concurrent stops and deletions, to spare the daemon. */
const CONCURRENCY = 8;

/**
 * Enforces session, run and idle limits and lifetimes: warns, stops, pauses and deletes containers, and corrects stored
 * end times that no longer match the user's tier. Every process does so. Each write is conditional, so an action that
 * several processes detect at once is done and emitted once.
 */
@Injectable()
export class ExpiryWatcher implements OnModuleDestroy {
  private readonly semaphore = new Semaphore(CONCURRENCY);
  /** Containers that this process is stopping or deleting. */
  private readonly ending = new Set<string>();
  private readonly poll: Poll;
  private readonly lifetimes: Poll;
  /** The timers of lifetimes that end next, by container. */
  private readonly timers = new Map<string, NodeJS.Timeout>();
  private closed = false;

  constructor(
    private readonly due: ExpiryQueries,
    private readonly policies: RunPolicies,
    private readonly repository: ContainerRepository,
    private readonly operations: OperationRunner,
    private readonly engine: ContainerEngine,
    @Inject(CONFIG) config: Pick<Config, 'LIMIT_CHECK_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: config.LIMIT_CHECK_SECONDS * 1000,
      work: () => this.check(),
      onFault: (error) => this.logger.warn({ err: error }, 'limits could not be checked; the next check tries again'),
    });
    this.lifetimes = new Poll({
      everyMs: LIFETIMES_MS,
      work: () => this.awaitLifetimes(),
      onFault: (error) => this.logger.warn({ err: error }, 'lifetimes could not be read; the next read tries again'),
    });
  }

  /** Checks now, then periodically. To be called once Docker is prepared. */
  async start(): Promise<void> {
    await this.check().catch((error: unknown) => this.logger.warn({ err: error }, 'limits could not be checked yet'));
    this.poll.start();
    this.lifetimes.start();
  }

  onModuleDestroy(): void {
    this.closed = true;
    this.poll.stop();
    this.lifetimes.stop();
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  /**
   * Checks all due containers once. Stops and deletions are started but not awaited: a container may take long to stop,
   * and the owners of others must be warned meanwhile.
   *
   * @throws the database's error; EngineError if a container is to be ended and Docker does not answer
   */
  async check(): Promise<void> {
    await this.checkEach(await this.due.find());
  }

  /**
   * Ends containers whose lifetimes ended just now, and sets timers for those that end before the next read.
   *
   * @throws the database's error
   */
  private async awaitLifetimes(): Promise<void> {
    for (const { id, inMs } of await this.due.lifetimesEnding({ sinceMs: RETRIED_MS, withinMs: LIFETIMES_MS })) {
      if (this.closed) return;
      clearTimeout(this.timers.get(id));
      this.timers.set(id, setTimeout(() => void this.endLifetime(id), Math.max(0, inMs)).unref());
    }
  }

  private async endLifetime(id: string): Promise<void> {
    this.timers.delete(id);
    try {
      await this.checkEach([id]);
    } catch (error) {
      this.logger.warn({ err: error, container_id: id }, 'a lifetime could not be ended yet');
    }
  }

  private async checkEach(ids: readonly string[]): Promise<void> {
    const ends: { readonly row: ContainerRow; readonly ending: Ending }[] = [];
    for (const id of ids) {
      if (this.closed) return;
      if (this.ending.has(id)) continue;
      const row = await this.repository.findById(id);
      if (!row) continue;
      const policy = await this.policies.policyOf(row.userId);
      const action = planExpiry(row, policy);
      if (action?.do === 'stop') ends.push({ row, ending: action.ending });
      else if (action?.do === 'pause') ends.push({ row, ending: 'idle_pause' });
      else if (action?.do === 'delete') ends.push({ row, ending: 'auto_delete' });
      else if (action?.do === 'correct') await this.correct(row, action.run);
      else if (action?.do === 'warn') await this.warn(row, action, policy.now);
    }
    if (ends.length === 0) return;
    await this.engine.host.ping();
    for (const { row, ending } of ends) void this.end(row, ending);
  }

  private async correct(row: ContainerRow, run: Run): Promise<void> {
    await this.repository.follow({ row, patch: run, events: [] });
  }

  private async warn(row: ContainerRow, { action, reason, expiresAt, secondsLeft }: Warning, now: Date): Promise<void> {
    const expires_at = expiresAt.toISOString();
    const data = { ...containerFacts(row), action, reason, expires_at, seconds_left: secondsLeft };
    const ofStop = reason === 'idle' ? { idleWarnedAt: now } : { expiryWarnedAt: now };
    const patch = action === 'delete' ? { deletionWarnedAt: now } : ofStop;
    await this.repository.follow({ row, patch, events: [{ type: 'container_expiring', data }] });
  }

  /** Never throws: a container that cannot be ended now is still due at the next check. */
  private async end(row: ContainerRow, ending: Ending): Promise<void> {
    this.ending.add(row.id);
    try {
      await this.semaphore.runExclusive(async () => {
        if (this.closed) return;
        await this.operations.run(row, expiring(ending));
        this.logger.info({ container_id: row.id, user_id: row.userId, operation: ending }, 'ended what was due');
      });
    } catch (error) {
      if (isBenignConflict(error)) return;
      this.logger.warn({ err: error, container_id: row.id, operation: ending }, 'what is due could not be ended yet');
    } finally {
      this.ending.delete(row.id);
    }
  }
}
