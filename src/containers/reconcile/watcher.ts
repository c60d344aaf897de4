import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineEvent } from '../../engine';
import { LOGGER } from '../../logging';
import { Signals } from '../../signals';
import { type ContainerRow, isUp } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { RunPolicies } from '../policies/run-policy';
import { type DeathHint, SIGKILLED, outcomeOfObservation } from '../operations/observation';

/**
 * How long after an `oom` or a `kill` a `die` counts as its consequence. Docker also emits `oom` if the kernel killed
 * only one process and the container survived; under gVisor 20240729 the container's `die` follows 0.1 s later.
 */
const CAUSE_TO_DIE_MS = 10_000;

/**
 * How long after a `die` an `oom` may come if no `kill` came before: on a busy machine Docker can report them in the
 * wrong order.
 */
const OOM_AFTER_DIE_MS = 500;

/**
 * What the event stream reported about exits, kept until an inspection has used it. An inspection alone no longer shows
 * the cause once the container runs again.
 */
export class DeathHints {
  private readonly deaths = new Map<string, DeathHint>();
  private readonly ooms = new Map<string, Date>();
  private readonly kills = new Map<string, Date>();
  /** Exits whose `oom` event may still come; `over` resolves when that is decided. */
  private readonly undecided = new Map<string, { readonly over: Promise<void>; readonly end: () => void }>();

  take({ action, engineId, exitCode, at }: EngineEvent): void {
    if (action === 'kill') this.kills.set(engineId, at);
    if (action === 'oom') this.takeOom(engineId, at);
    if (action !== 'die') return;
    const isSoonAfter = (cause: Date | undefined): boolean =>
      cause !== undefined && at.getTime() - cause.getTime() <= CAUSE_TO_DIE_MS;
    const oom = isSoonAfter(this.ooms.get(engineId));
    const isUndecided = exitCode === SIGKILLED && !oom && !isSoonAfter(this.kills.get(engineId));
    this.ooms.delete(engineId);
    this.kills.delete(engineId);
    this.deaths.set(engineId, { exitCode, oom });
    if (isUndecided) this.waitForOom(engineId);
  }

  /** The hint about the container's last exit. Waits until its cause is decided. */
  async of(engineId: string): Promise<DeathHint | null> {
    await this.undecided.get(engineId)?.over;
    return this.deaths.get(engineId) ?? null;
  }

  /** To be called when an inspection has used this hint (default: the current one). The hint of a later exit stays. */
  used(engineId: string, death: DeathHint | null = this.deaths.get(engineId) ?? null): void {
    if (this.deaths.get(engineId) === death) this.deaths.delete(engineId);
  }

  /** To be called when the container was destroyed. */
  forget(engineId: string): void {
    this.deaths.delete(engineId);
    this.ooms.delete(engineId);
    this.kills.delete(engineId);
  }

  private takeOom(engineId: string, at: Date): void {
    const late = this.undecided.get(engineId);
    if (!late) {
      this.ooms.set(engineId, at);
      return;
    }
    this.deaths.set(engineId, { exitCode: SIGKILLED, oom: true });
    late.end();
  }

  private waitForOom(engineId: string): void {
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      // After a standstill of the process, timers come before what was received meanwhile: that is read first.
      const timer = setTimeout(() => setImmediate(() => end()), OOM_AFTER_DIE_MS).unref();
      end = () => {
        clearTimeout(timer);
        if (this.undecided.get(engineId)?.over === over) this.undecided.delete(engineId);
        resolve();
      };
    });
    this.undecided.set(engineId, { over, end });
  }
}

/** The one event that Docker reported about a container, or that there were several. */
type Reported = Pick<EngineEvent, 'engineId' | 'action'> | 'several';

/** A running inspection of one container. */
interface Inspection {
  again: boolean;
  /** Docker's report that led to the inspection; `several` once there is another one. */
  reported: Reported;
}

/**
 * Whether the only event that Docker reported during an operation is the operation's own outcome: its start, if the
 * operation has recorded the start time, its stop, pause or resumption.
 */
export function isOutcome(
  reported: Reported,
  { engineId, status, runStartedAt }: Pick<ContainerRow, 'engineId' | 'status' | 'runStartedAt'>,
): boolean {
  if (reported === 'several' || reported.engineId !== engineId) return false;
  if (reported.action === 'start') return isUp(status) && runStartedAt !== null;
  if (reported.action === 'pause') return status === 'paused';
  if (reported.action === 'unpause') return status === 'running';
  return reported.action === 'die' && status === 'stopped';
}

/** Maximum rounds. A row that changes during every round is being operated on; its release triggers an inspection. */
const MAX_INSPECTIONS = 5;

/**
 * Updates rows after changes made outside Berth. An event only triggers an inspection. The row follows the observed
 * state only if no operation leases the container, and if the row has not changed since it was read.
 */
@Injectable()
export class ContainerWatcher implements OnModuleDestroy {
  private readonly deaths = new DeathHints();
  private readonly inspecting = new Map<string, Inspection>();
  /** Containers that were leased by an operation when an inspection was due, with Docker's report about each since. */
  private readonly deferred = new Map<string, Reported>();
  /** Containers whose inspection failed, such as when Docker or the database did not answer. */
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
      // The running inspection may have read the row before the release.
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
   * @param onConnected called at each connection, with its node; earlier events may have been missed
   */
  async watch(
    instance: string,
    { signal, onConnected }: { signal: AbortSignal; onConnected: (node: string | null) => void },
  ): Promise<void> {
    for await (const message of this.engine.containers.watch(instance, signal)) {
      if (message.kind === 'connected') onConnected(message.node);
      else void this.hint(message.event);
    }
  }

  /**
   * Handles one of Docker's events. Resolves when its inspection has ended, or at once if an inspection that is already
   * running is repeated for it.
   */
  async hint(event: EngineEvent): Promise<void> {
    this.deaths.take(event);
    if (event.action === 'oom' || event.action === 'kill') return;
    await this.inspectFor(event.containerId, event);
    if (event.action === 'destroy') this.deaths.forget(event.engineId);
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

  /** @returns false if the row changed meanwhile, so that the inspection has to be repeated */
  private async inspectOnce(containerId: string, inspection: Inspection): Promise<boolean> {
    const earlier = this.deferred.get(containerId);
    this.deferred.delete(containerId);
    const row = await this.repository.findById(containerId);
    if (!row) return true;
    // Also defers during a creation, whose row gets the container's id only with the outcome.
    if (row.operation !== null) {
      this.deferred.set(containerId, earlier === undefined ? inspection.reported : 'several');
      return true;
    }
    if (earlier !== undefined && earlier === inspection.reported && isOutcome(earlier, row)) {
      this.deaths.used(row.engineId ?? '');
      return true;
    }
    if (row.engineId === null) return true;
    const death = await this.deaths.of(row.engineId);
    const observed = await this.engine.containers.inspect(row.engineId);
    const policy = await this.policies.policyOf(row.userId);
    const followed = outcomeOfObservation(row, observed, { death, policy });
    if (followed && !(await this.repository.follow({ row, ...followed }))) return false;
    this.deaths.used(row.engineId, death);
    return true;
  }
}
