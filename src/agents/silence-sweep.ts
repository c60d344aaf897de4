import { BeforeApplicationShutdown, Inject, Injectable, Logger, OnApplicationBootstrap } from '@nestjs/common';
import { Clock } from '../clock';
import { type Config, CONFIG } from '../config';
import { Database } from '../database';
import { Poll } from '../events';
import { AgentRepository } from './agent.repository';

/** Silence is noticed at most this much later than `AGENT_OFFLINE_SECONDS` says. */
const LONGEST_INTERVAL_MS = 5_000;

/**
 * Finds agents that give no sign of life. Every process looks for all of them, so the death of the process that an agent was
 * connected to is noticed too; each end is told once, whoever is first.
 */
@Injectable()
export class SilenceSweep implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(SilenceSweep.name);
  private readonly poll: Poll;
  /** No agent is found silent before, on the machine's own clock: nobody could be heard for a while. */
  private deafUntil = -Infinity;

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
    // On SQLite this is the only process, so whoever seems to be online was connected to a dead one.
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

  /** Looks once. @throws when the database does not answer */
  async sweep(): Promise<void> {
    try {
      if (performance.now() < this.deafUntil) return;
      const silentSince = new Date(this.clock.now().getTime() - this.config.AGENT_OFFLINE_SECONDS * 1000);
      for (const agent of await this.repository.listOnline(silentSince)) {
        await this.repository.disconnect(agent, { reason: 'silent', epoch: agent.epoch, silentSince });
      }
    } catch (error) {
      // Signs of life could not be written either: each agent has its next heartbeat and a half to be heard again.
      this.deafUntil = performance.now() + this.config.AGENT_HEARTBEAT_SECONDS * 1500;
      throw error;
    }
  }
}
