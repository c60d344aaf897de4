import { BeforeApplicationShutdown, Inject, Injectable, Logger, OnApplicationBootstrap } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { Database } from '../database';
import { Clock, Poll } from '../scheduling';
import type { AgentRow } from './agent.entity';
import { AgentRepository } from './agent.repository';

/** Maximum delay beyond `AGENT_OFFLINE_SECONDS` until silence is noticed. */
const LONGEST_INTERVAL_MS = 5_000;

/**
 * Finds agents without a sign of life. Every process checks all agents, so the death of a process is noticed for its
 * agents too. Each disconnection is emitted once, by the first process that finds it.
 */
@Injectable()
export class SilenceSweep implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(SilenceSweep.name);
  private readonly poll: Poll;
  /** Until then (monotonic clock), no agent counts as silent, since signs of life could not be written. */
  private deafUntil = -Infinity;
  /**
   * Signs of life from the future, written before the clock was set back, with the time (monotonic clock) at which
   * they were first seen.
   */
  private future = new Map<string, number>();

  constructor(
    private readonly repository: AgentRepository,
    private readonly database: Database,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'AGENT_HEARTBEAT_SECONDS' | 'AGENT_OFFLINE_SECONDS'>,
  ) {
    this.poll = new Poll({
      everyMs: Math.min(config.AGENT_OFFLINE_SECONDS * 200, LONGEST_INTERVAL_MS),
      work: () => this.sweep(),
      onFault: (error) => this.logger.error({ msg: 'looking for silent agents failed', err: error }),
    });
  }

  async onApplicationBootstrap(): Promise<void> {
    // On SQLite this is the only process, so agents that are still online were connected to a dead one.
    if (this.database.isSqlite) {
      for (const agent of await this.repository.listOnline()) {
        await this.repository.disconnect(agent, { reason: 'closed', epoch: agent.epoch });
      }
    }
    this.poll.start();
  }

  beforeApplicationShutdown(): void {
    this.poll.stop();
  }

  /** Checks all agents once. @throws if the database does not answer */
  async sweep(): Promise<void> {
    try {
      if (performance.now() < this.deafUntil) return;
      const offlineMs = this.config.AGENT_OFFLINE_SECONDS * 1000;
      const now = this.clock.now().getTime();
      const [after, until] = [new Date(now - offlineMs), new Date(now + offlineMs)];
      const agents = await this.repository.listOnline({ after, until });
      this.noteTheFuture(agents.filter(({ seenAt }) => seenAt !== null && seenAt > until));
      for (const agent of agents) {
        const since = this.future.get(futureKey(agent));
        if (since !== undefined && performance.now() - since < offlineMs) continue;
        await this.repository.disconnect(agent, { reason: 'silent', epoch: agent.epoch, lastSeenAt: agent.seenAt });
      }
    } catch (error) {
      // Signs of life could not be written either: each agent gets one and a half heartbeat intervals to be seen
      // again.
      this.deafUntil = performance.now() + this.config.AGENT_HEARTBEAT_SECONDS * 1500;
      throw error;
    }
  }
  private noteTheFuture(agents: readonly AgentRow[]): void {
    const before = this.future;
    const now = performance.now();
    this.future = new Map(agents.map(futureKey).map((key) => [key, before.get(key) ?? now]));
  }
}

function futureKey({ id, epoch, seenAt }: AgentRow): string {
  return `${id} ${String(epoch)} ${String(seenAt?.getTime())}`;
}
