import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineEvent } from '../../docker';
import { LOGGER } from '../../logging';
import { Signals } from '../../signals';
import { ContainerRepository } from '../container.repository';
import { RunPolicies } from '../expiry/run-policy';
import { type DeathHint, outcomeOfObservation } from '../operations/observation';

/**
 * How long after `oom` a `die` is its consequence. Docker says `oom` also when the kernel killed one process and the
 * container went on; under gVisor 20240729 the end of the whole comes 0.1 s later.
 */
const OOM_TO_DIE_MS = 10_000;

/** What the event stream told of ends, until a look has used it: an inspection forgets why once the container runs again. */
export class DeathHints {
  private readonly deaths = new Map<string, DeathHint>();
  private readonly ooms = new Map<string, Date>();

  take({ action, dockerId, exitCode, at }: EngineEvent): void {
    if (action === 'oom') this.ooms.set(dockerId, at);
    if (action !== 'die') return;
    const oom = this.ooms.get(dockerId);
    this.ooms.delete(dockerId);
    this.deaths.set(dockerId, { exitCode, oom: oom !== undefined && at.getTime() - oom.getTime() <= OOM_TO_DIE_MS });
  }

  of(dockerId: string): DeathHint | null {
    return this.deaths.get(dockerId) ?? null;
  }

  /** A look has used it. */
  used(dockerId: string): void {
    this.deaths.delete(dockerId);
  }

  /** The container is gone for good. */
  forget(dockerId: string): void {
    this.deaths.delete(dockerId);
    this.ooms.delete(dockerId);
  }
}

/** A row that changes under every look is being worked on; its release brings the next one. */
const MAX_INSPECTIONS = 5;

/**
 * Lets rows follow what happens behind Berth's back. A hint only says "look at this container again"; what is written is
 * what an inspection then says, and only if no operation holds the container and the row is as it was read.
 */
@Injectable()
export class ContainerWatcher implements OnModuleDestroy {
  private readonly deaths = new DeathHints();
  private readonly looking = new Map<string, { again: boolean }>();
  /** Held by an operation when they were to be looked at. */
  private readonly deferred = new Set<string>();
  /** Docker or the database did not answer when they were to be looked at. */
  private readonly failed = new Set<string>();
  private readonly stopListening: () => void;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly repository: ContainerRepository,
    private readonly limits: RunPolicies,
    signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.stopListening = signals.on('container_released', ({ containerId }) => {
      const running = this.looking.get(containerId);
      // A look that goes on may have read the row before it was released.
      if (running) running.again = true;
      else if (this.deferred.delete(containerId)) void this.inspect(containerId);
    });
  }

  onModuleDestroy(): void {
    this.stopListening();
  }

  /** Takes in one of Docker's events. Resolves when the row has followed. */
  async hint(event: EngineEvent): Promise<void> {
    this.deaths.take(event);
    if (event.action === 'oom') return;
    await this.inspect(event.containerId);
    if (event.action === 'destroy') this.deaths.forget(event.dockerId);
  }

  /** What is still to be looked at: a look failed, or was put off and nobody told that it could be made. Each is named once. */
  takeOverdue(): string[] {
    const overdue = [...new Set([...this.failed, ...this.deferred])];
    this.failed.clear();
    this.deferred.clear();
    return overdue;
  }

  /** Looks at one container in Docker and lets its row follow. Never throws: the next sweep looks again. */
  async inspect(containerId: string): Promise<void> {
    const running = this.looking.get(containerId);
    if (running) {
      running.again = true;
      return;
    }
    const state = { again: true };
    this.looking.set(containerId, state);
    try {
      for (let looks = 0; state.again && looks < MAX_INSPECTIONS; looks += 1) {
        state.again = false;
        if (!(await this.inspectOnce(containerId))) state.again = true;
      }
    } catch (error) {
      this.failed.add(containerId);
      this.logger.warn({ err: error, container_id: containerId }, 'could not look at the container');
    } finally {
      this.looking.delete(containerId);
    }
  }

  /** @returns false if the row changed meanwhile */
  private async inspectOnce(containerId: string): Promise<boolean> {
    this.deferred.delete(containerId);
    const row = await this.repository.findById(containerId);
    if (!row) return true;
    // Of a creation too, which writes the container's id only with its outcome.
    if (row.operation !== null) {
      this.deferred.add(containerId);
      return true;
    }
    if (row.dockerId === null) return true;
    const observed = await this.engine.inspectContainer(row.dockerId);
    const policy = await this.limits.policyOf(row.userId);
    const followed = outcomeOfObservation(row, observed, { death: this.deaths.of(row.dockerId), policy });
    if (followed && !(await this.repository.follow({ row, ...followed }))) return false;
    this.deaths.used(row.dockerId);
    return true;
  }
}
