import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineEvent } from '../../docker';
import { LOGGER } from '../../logging';
import { Signals } from '../../signals';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import { RunPolicies } from '../expiry/run-policy';
import { type DeathHint, SIGKILLED, outcomeOfObservation } from '../operations/observation';

/**
 * How long after an `oom`, or a `kill`, a `die` counts as its consequence. Docker also emits `oom` if the kernel killed
 * only one process and the container survived; under gVisor 20240729 the container's end comes 0.1 s later.
 */
const CAUSE_TO_DIE_MS = 10_000;

/**
 * How long after a `die` an `oom` may come, where nobody had Docker kill the container: on a busy machine Docker can
 * report them in the wrong order.
 */
const OOM_AFTER_DIE_MS = 500;

/**
 * What the event stream reported about exits, until an inspection has used it: an inspection no longer shows the cause
 * once the container runs again.
 */
export class DeathHints {
  private readonly deaths = new Map<string, DeathHint>();
  private readonly ooms = new Map<string, Date>();
  private readonly kills = new Map<string, Date>();
  /** Of the deaths whose cause may still come. */
  private readonly undecided = new Map<string, { readonly over: Promise<void>; readonly end: () => void }>();

  take({ action, dockerId, exitCode, at }: EngineEvent): void {
    if (action === 'kill') this.kills.set(dockerId, at);
    if (action === 'oom') this.takeOom(dockerId, at);
    if (action !== 'die') return;
    const isSoonAfter = (cause: Date | undefined): boolean =>
      cause !== undefined && at.getTime() - cause.getTime() <= CAUSE_TO_DIE_MS;
    const oom = isSoonAfter(this.ooms.get(dockerId));
    const isUndecided = exitCode === SIGKILLED && !oom && !isSoonAfter(this.kills.get(dockerId));
    this.ooms.delete(dockerId);
    this.kills.delete(dockerId);
    this.deaths.set(dockerId, { exitCode, oom });
    if (isUndecided) this.waitForOom(dockerId);
  }

  /** What is known of its last end, once that is decided. */
  async of(dockerId: string): Promise<DeathHint | null> {
    await this.undecided.get(dockerId)?.over;
    return this.deaths.get(dockerId) ?? null;
  }

  /** An inspection has used it, or what is known by now; a later end is another one. */
  used(dockerId: string, death: DeathHint | null = this.deaths.get(dockerId) ?? null): void {
    if (this.deaths.get(dockerId) === death) this.deaths.delete(dockerId);
  }

  /** The container is gone for good. */
  forget(dockerId: string): void {
    this.deaths.delete(dockerId);
    this.ooms.delete(dockerId);
    this.kills.delete(dockerId);
  }

  private takeOom(dockerId: string, at: Date): void {
    const late = this.undecided.get(dockerId);
    if (!late) {
      this.ooms.set(dockerId, at);
      return;
    }
    this.deaths.set(dockerId, { exitCode: SIGKILLED, oom: true });
    late.end();
  }

  private waitForOom(dockerId: string): void {
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      const timer = setTimeout(() => end(), OOM_AFTER_DIE_MS).unref();
      end = () => {
        clearTimeout(timer);
        if (this.undecided.get(dockerId)?.over === over) this.undecided.delete(dockerId);
        resolve();
      };
    });
    this.undecided.set(dockerId, { over, end });
  }
}

/** What Docker reported of a container, or that it was more than one thing. */
type Reported = Pick<EngineEvent, 'dockerId' | 'action'> | 'several';

/** An inspection that is going on, or is to begin. */
interface Inspection {
  again: boolean;
  /** What it is made for. */
  reported: Reported;
}

/**
 * Whether all that Docker reported during an operation is the operation's own outcome: its start, which it has looked
 * at, or its stop.
 */
export function isOutcome(
  reported: Reported,
  { dockerId, status, runStartedAt }: Pick<ContainerRow, 'dockerId' | 'status' | 'runStartedAt'>,
): boolean {
  if (reported === 'several' || reported.dockerId !== dockerId) return false;
  if (reported.action === 'start') return status === 'running' && runStartedAt !== null;
  return reported.action === 'die' && status === 'stopped';
}

/** A row that changes during every inspection is being operated on; its release triggers the next one. */
const MAX_INSPECTIONS = 5;

/**
 * Lets rows follow changes made outside Berth. A hint only triggers an inspection; the row is updated to the observed
 * state only if no operation leases the container and the row is as it was read.
 */
@Injectable()
export class ContainerWatcher implements OnModuleDestroy {
  private readonly deaths = new DeathHints();
  private readonly inspecting = new Map<string, Inspection>();
  /** Containers that an operation had leased when they were to be inspected, and what was reported of each since. */
  private readonly deferred = new Map<string, Reported>();
  /** Containers whose inspection failed, as Docker or the database did not answer. */
  private readonly failed = new Set<string>();
  private readonly stopListening: () => void;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly repository: ContainerRepository,
    private readonly policies: RunPolicies,
    signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.stopListening = signals.on('container_released', ({ containerId }) => {
      const running = this.inspecting.get(containerId);
      // It may have read the row before its release.
      if (running) running.again = true;
      else if (this.deferred.has(containerId)) void this.inspectFor(containerId, this.deferred.get(containerId));
    });
  }

  onModuleDestroy(): void {
    this.stopListening();
  }

  /**
   * Follows Docker's event stream until `signal` aborts.
   *
   * @param onConnected called at each connection, with its node; events before it may have been missed
   */
  async watch(
    instance: string,
    { signal, onConnected }: { signal: AbortSignal; onConnected: (node: string | null) => void },
  ): Promise<void> {
    for await (const message of this.engine.watch(instance, signal)) {
      if (message.kind === 'connected') onConnected(message.node);
      else void this.hint(message.event);
    }
  }

  /** Handles one of Docker's events. Resolves when the row has followed. */
  async hint(event: EngineEvent): Promise<void> {
    this.deaths.take(event);
    if (event.action === 'oom' || event.action === 'kill') return;
    await this.inspectFor(event.containerId, event);
    if (event.action === 'destroy') this.deaths.forget(event.dockerId);
  }

  /** Containers whose inspection failed or was deferred; clears the list. */
  takeOverdue(): string[] {
    const overdue = [...new Set([...this.failed, ...this.deferred.keys()])];
    this.failed.clear();
    this.deferred.clear();
    return overdue;
  }

  /** Inspects one container in Docker and updates its row. Never throws: the next sweep tries again. */
  async inspect(containerId: string): Promise<void> {
    await this.inspectFor(containerId, 'several');
  }

  private async inspectFor(containerId: string, reported: Reported = 'several'): Promise<void> {
    const running = this.inspecting.get(containerId);
    if (running) {
      running.again = true;
      running.reported = 'several';
      return;
    }
    const inspection: Inspection = { again: true, reported };
    this.inspecting.set(containerId, inspection);
    try {
      for (let rounds = 0; inspection.again && rounds < MAX_INSPECTIONS; rounds += 1) {
        inspection.again = false;
        if (!(await this.inspectOnce(containerId, inspection))) inspection.again = true;
      }
    } catch (error) {
      this.failed.add(containerId);
      this.logger.warn({ err: error, container_id: containerId }, 'could not inspect the container');
    } finally {
      this.inspecting.delete(containerId);
    }
  }

  /** @returns false if the row changed meanwhile */
  private async inspectOnce(containerId: string, inspection: Inspection): Promise<boolean> {
    const earlier = this.deferred.get(containerId);
    this.deferred.delete(containerId);
    const row = await this.repository.findById(containerId);
    if (!row) return true;
    // For a creation too, which writes the container's id only with its outcome.
    if (row.operation !== null) {
      this.deferred.set(containerId, earlier === undefined ? inspection.reported : 'several');
      return true;
    }
    if (earlier !== undefined && earlier === inspection.reported && isOutcome(earlier, row)) {
      this.deaths.used(row.dockerId ?? '');
      return true;
    }
    if (row.dockerId === null) return true;
    const death = await this.deaths.of(row.dockerId);
    const observed = await this.engine.inspectContainer(row.dockerId);
    const policy = await this.policies.policyOf(row.userId);
    const followed = outcomeOfObservation(row, observed, { death, policy });
    if (followed && !(await this.repository.follow({ row, ...followed }))) return false;
    this.deaths.used(row.dockerId, death);
    return true;
  }
}
