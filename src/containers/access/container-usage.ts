import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, type ExecRequest, saysNotRunning, saysPaused } from '../../engine';
import { DomainError, isPausedMeanwhile, pausedMeanwhile } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import { AUTO_END_SECONDS } from '../../tiers';
import { type ContainerRow, isUp } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { Environments, type Variables } from '../rows/environments';
import { RunPolicies } from '../policies/run-policy';

/** A running container, as code that works inside it sees it. */
export interface RunningContainer {
  readonly id: string;
  readonly name: string;
  readonly userId: string;
  readonly engineId: string;
  /** The size of its disk. */
  readonly diskMb: number;
  /** @see Environments.ofProgram */
  readonly environment: (own?: Variables) => Variables;
}

/**
 * A caller's way into a running container. The container counts as used until {@link leave}, which the caller must call
 * in a `finally`.
 */
export class ContainerEntry {
  /**
   * @param container as it was when it was entered, or when its snapshot was made
   * @param leave ends the use; never throws
   */
  constructor(
    public container: RunningContainer,
    readonly leave: () => Promise<void>,
    private readonly again: ((error: unknown) => Promise<RunningContainer>) | undefined,
  ) {}

  /**
   * Runs `work` in the container; again if a snapshot suspended the container just before `work` could begin.
   *
   * @throws DomainError `container_not_running`, also if the engine reports it during `work`, with the code
   *   `container_paused` if it was paused meanwhile; any other error of `work`
   */
  async run<T>(work: (container: RunningContainer) => Promise<T>): Promise<T> {
    try {
      return await work(this.container);
    } catch (error) {
      const fault = insideFault(error);
      if (!this.again || !isPausedMeanwhile(fault)) throw fault;
      this.container = await this.again(fault);
    }
    return work(this.container).catch((error: unknown) => {
      throw insideFault(error);
    });
  }
}

/** Translates the engine's errors about a container that does not run; returns all others unchanged. */
export function insideFault(error: unknown): unknown {
  if (saysPaused(error)) return pausedMeanwhile(error);
  return saysNotRunning(error) ? new DomainError('container_not_running', { cause: error }) : error;
}

/** The uses of one container that are in progress in this process. */
interface InProgress {
  readonly row: ContainerRow;
  commands: number;
  notedAt: Date;
}

/** A third of the shortest possible idle limit: if one write fails, the next is still in time. */
const NOTE_EVERY_MS = (AUTO_END_SECONDS.min * 1000) / 3;

/**
 * Records the use of containers, which keeps them from counting as idle. A running command is a use until it ends:
 * its use is written to the row repeatedly, where every process finds it.
 */
@Injectable()
export class ContainerUsage implements OnModuleDestroy {
  private readonly inProgress = new Map<string, InProgress>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly repository: ContainerRepository,
    private readonly engine: ContainerEngine,
    private readonly policies: RunPolicies,
    private readonly environments: Environments,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  /** Records a use: at most once a minute, and without an event. @param row as just read */
  async note(row: ContainerRow): Promise<void> {
    const now = this.clock.now();
    const noted = new Date(now.getTime() - this.policies.useNotedEveryMs(row));
    if (row.lastUsedAt <= noted) await this.repository.touch(row.id, { now, noted });
  }

  /** The variables of the container's programs. @throws SecretsError */
  environmentOf(row: ContainerRow, own?: Variables): Variables {
    return this.environments.ofProgram(row, own);
  }

  /** Records a use immediately. */
  async touch(row: ContainerRow): Promise<void> {
    const now = this.clock.now();
    await this.repository.touch(row.id, { now, noted: now });
  }

  /** Runs a command in a container that was entered, and waits for its end. @throws EngineError */
  exec({ engineId, environment }: RunningContainer, request: ExecRequest): Promise<{ exitCode: number }> {
    return this.engine.programs.run(engineId, { ...request, env: environment(request.env) });
  }

  /**
   * Enters a running container, which counts as used until {@link ContainerEntry.leave}. A paused container is the
   * caller's to resume before, if anything is to run in it.
   *
   * @param again called if the container was paused meanwhile; returns its row once it runs again, or throws the error
   * @throws DomainError `container_not_running`
   */
  async enter(row: ContainerRow, again?: (error: unknown) => Promise<ContainerRow>): Promise<ContainerEntry> {
    const container = this.runningIn(row);
    const leave = await this.begin(row);
    return new ContainerEntry(container, leave, again && (async (error) => this.runningIn(await again(error))));
  }

  /** Counts the container as used until the returned function is called, which never throws. */
  async begin(row: ContainerRow): Promise<() => Promise<void>> {
    const use = this.inProgress.get(row.id) ?? { row, commands: 0, notedAt: row.lastUsedAt };
    use.commands += 1;
    this.inProgress.set(row.id, use);
    this.timer ??= setInterval(() => void this.noteInProgress(), this.intervalMs(row) / 2).unref();
    await this.noteAgain(use);
    return () => {
      use.commands -= 1;
      if (use.commands === 0) this.inProgress.delete(row.id);
      if (this.inProgress.size === 0) {
        clearInterval(this.timer);
        this.timer = undefined;
      }
      return this.noteAgain(use);
    };
  }

  /** Records the containers that this process uses, unless their last record is recent. Never throws. */
  async noteInProgress(): Promise<void> {
    for (const use of this.inProgress.values()) await this.noteAgain(use);
  }

  /** @throws DomainError `container_not_running` */
  private runningIn(row: ContainerRow): RunningContainer {
    const { id, name, userId, engineId, diskMb, status } = row;
    if (!isUp(status) || engineId === null) throw new DomainError('container_not_running');
    return { id, name, userId, engineId, diskMb, environment: (own) => this.environmentOf(row, own) };
  }

  private async noteAgain(use: InProgress): Promise<void> {
    const now = this.clock.now();
    if (now.getTime() - use.notedAt.getTime() < this.intervalMs(use.row)) return;
    try {
      await this.repository.touch(use.row.id, { now, noted: now });
      use.notedAt = now;
    } catch (error) {
      this.logger.warn(
        { err: error, container_id: use.row.id },
        'a use could not be noted; tried again while it lasts',
      );
    }
  }

  /** Assumes the shortest possible limit, because a container's idle limit may be lowered while it is in use. */
  private intervalMs(row: ContainerRow): number {
    return Math.min(NOTE_EVERY_MS, this.policies.useNotedEveryMs(row));
  }
}
