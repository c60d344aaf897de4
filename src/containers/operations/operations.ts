import { Injectable } from '@nestjs/common';
import { Clock } from '../../scheduling';
import { Placement } from '../capacity/placement';
import type { Grant } from '../leases/lease-store';
import {
  type ContainerRow,
  type DeletionReason,
  type Ending,
  isStopEnding,
  isUp,
  type Started,
  type StopEnding,
} from '../model/container.entity';
import { DomainError } from '../../errors';
import type { SnapshotRow } from '../model/snapshot.entity';
import { planExpiry, RunPolicies } from '../policies/run-policy';
import { DataVolumes, SeedGoneError } from './data-volumes';
import { type Facts, LayerWrittenError } from './executor';
import type { OperationLease } from './operation-lease';
import { type Course, type Done, type OperationDefinition, OperationRunner } from './operation-runner';
import {
  type Change,
  changesSettings,
  deletedOutcome,
  movedOutcome,
  NOTHING,
  type Outcome,
  pausedOutcome,
  recreation,
  restoredSnapshotOutcome,
  resumedOutcome,
  startedOutcome,
  stoppedOutcome,
  updatedOutcome,
  type Wanted,
  wasRestarted,
} from './outcome';
import { type PlannedSnapshot, sameLimits } from './plan';
import { Purge } from './purge';
import { Recovery } from './recovery';

/** The row of a container that was stopped or deleted, and whether it was paused before. */
export interface Ended {
  readonly row: ContainerRow;
  readonly resumed: boolean;
}

/** What an update or a move did. */
interface Updated {
  readonly row: ContainerRow;
  readonly restarted: boolean;
  /** Only if the container was replaced: whether the files outside its data volume are kept. */
  readonly rootKept?: boolean;
}

/** A snapshot that is about to be made. */
export interface SnapshotCourse extends Pick<Course, 'listeners' | 'mostLayerBytes'> {
  readonly plan: PlannedSnapshot;
  /** Called in the transaction that ends the lease. */
  readonly finish: (facts: Facts) => Promise<void>;
}

/** Defines each operation on containers; `OperationRunner` runs all of them in the same way. */
@Injectable()
export class ContainerOperations {
  constructor(
    private readonly runner: OperationRunner,
    private readonly recovery: Recovery,
    private readonly volumes: DataVolumes,
    private readonly policies: RunPolicies,
    private readonly placement: Placement,
    private readonly purge: Purge,
    private readonly clock: Clock,
  ) {}

  /**
   * Creates the Docker container of a row that was just inserted with its lease. Runs without a waiting caller:
   * progress is emitted, and a failure leaves the row in `error`, with an event. Never throws.
   */
  async create(row: ContainerRow, grant: Grant): Promise<void> {
    await this.runner.runInserted(row, grant, this.creating({ isNew: true }));
  }

  /**
   * @throws DomainError `start_failed`, `operation_in_progress`, `container_not_found`; `snapshot_not_found` if the
   *   container was never made and its snapshot is gone
   */
  async start(row: ContainerRow): Promise<Started> {
    const { row: after, before, facts } = await this.runner.run(row, this.starting());
    const isResumed = before.status === 'paused' && facts.replacementId === undefined;
    return { row: after, ...(isResumed && { resumed: true }), ...recreation(before, facts) };
  }

  /**
   * Creates a container anew that was given a warm slot which does not run.
   *
   * @throws DomainError `start_failed`, `operation_in_progress`, `container_not_found`
   */
  async replaceSlot(row: ContainerRow): Promise<ContainerRow> {
    return (await this.runner.run(row, this.starting({ isReplaced: true }))).row;
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found` */
  async stop(row: ContainerRow): Promise<Ended> {
    return ended(await this.runner.run(row, this.stopping()));
  }

  /**
   * Suspends the processes of a running container. Its memory stays taken; its CPU is free.
   *
   * @throws DomainError `container_not_running`, `pause_failed`, `operation_in_progress`, `container_not_found`
   */
  async pause(row: ContainerRow): Promise<ContainerRow> {
    return (await this.runner.run(row, this.pausing())).row;
  }

  /**
   * Lets the processes of a paused container go on.
   *
   * @throws DomainError `no_capacity` if its CPU is taken, `container_not_running`, `resume_failed`,
   *   `operation_in_progress`, `container_not_found`
   */
  async resume(row: ContainerRow): Promise<ContainerRow> {
    return (await this.runner.run(row, this.resuming())).row;
  }

  /**
   * Makes a container ready for programs: resumes it if it is paused, and waits for a snapshot that suspends it.
   *
   * @throws DomainError as {@link resume}
   */
  async awake(row: ContainerRow): Promise<ContainerRow> {
    const settled = await this.afterSnapshot(row);
    return settled.status === 'paused' ? this.resume(settled) : settled;
  }

  /** Waits for a snapshot that suspends the container. @throws DomainError `operation_in_progress` */
  async afterSnapshot(row: ContainerRow): Promise<ContainerRow> {
    return this.runner.afterSnapshot(row);
  }

  /** Cancels a running creation. @throws DomainError `delete_failed`, `operation_in_progress`, `container_not_found` */
  async delete(row: ContainerRow): Promise<Ended> {
    return ended(await this.runner.run(row, this.deleting()));
  }

  /**
   * Deletes a container even if Docker refuses or does not answer: the row is deleted, and sweeps retry the removal of
   * the Docker container.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`
   */
  async forceDelete(row: ContainerRow): Promise<Ended> {
    const ifRefused = (refused: ContainerRow): Outcome => this.deleted(refused, { isForced: true });
    return ended(await this.runner.run(row, { ...this.deleting(), ifRefused }));
  }

  /**
   * Changes the name, resources, network, variables, labels, start command and idle limits. Only new resources or a new
   * network need Docker. A new name does not, as everything in Docker is named by the database id. New variables do
   * not, as each program gets them when it is started.
   *
   * @param change called with the row under the lease, so that no other change comes between the two
   * @throws DomainError `invalid_parameters` if the data is too large, `update_failed`, `name_taken`,
   * `operation_in_progress`, `container_not_found`; as `change` does
   */
  async update(row: ContainerRow, change: Change): Promise<Updated> {
    const definition: OperationDefinition = {
      verb: 'update',
      ofRowAlone: (leased) => {
        const wanted = change(leased);
        if (!sameLimits(leased, wanted)) return null;
        const now = this.clock.now();
        if (!changesSettings(leased, wanted)) return { patch: { lastUsedAt: now }, events: [] };
        return updatedOutcome(leased, wanted, { facts: {}, now });
      },
      prepare: async (lease) => {
        await this.reconcileRow(lease);
        const wanted = change(lease.row);
        await lease.assertNameFree(wanted.name);
        if (isUp(lease.row.status)) await this.placement.reserve(lease, wanted);
        await this.recovery.unpause(lease, this.clock.now());
        return this.replacement(lease, wanted, await this.volumes.destination(lease.row, wanted));
      },
    };
    return updated(await againIfWritten(() => this.runner.run(row, definition)));
  }

  /**
   * Moves a stopped container's data to a volume with a size limit, if Docker has lost the size of the current one.
   * Does not wait for another operation.
   *
   * @throws DomainError `update_failed`, `operation_in_progress`, `container_not_found`
   */
  async moveData(row: ContainerRow): Promise<void> {
    const prepare: OperationDefinition['prepare'] = async (lease) => {
      await this.reconcileRow(lease);
      const moveTo = lease.row.status === 'stopped' ? await this.volumes.destinationOfUnlabelled(lease.row) : null;
      return moveTo === null ? { write: NOTHING } : this.replacement(lease, lease.row, moveTo);
    };
    await this.runner.run(row, { verb: 'update', prepare }, { waitMs: 0 });
  }

  /**
   * Moves a container with its data, and with its writable layer if that can be kept, to another node. Resolves once
   * nothing of the container is left on the old node. If that cleanup fails, for example because the old node no longer
   * answers, the move still succeeds, and the cleanup is retried.
   *
   * @param to.node the target's id; absent: the node with the most room
   * @throws DomainError `move_failed`, `same_node`, `no_capacity`, `node_unavailable`, `operation_in_progress`,
   * `container_not_found`
   */
  async move(row: ContainerRow, to: { node?: string }, options: { waitMs?: number } = {}): Promise<Updated> {
    const prepare: OperationDefinition['prepare'] = async (lease) => {
      // Cleans up every node: leftovers of an earlier attempt would be in the way.
      await this.recovery.recover(lease, 'reconcile');
      await this.recovery.unpause(lease, this.clock.now());
      const target = await this.placement.reserveElsewhere(lease, to);
      const move = await this.volumes.destinationOn(lease.row, target);
      const layer = lease.row.engineId === null ? null : await this.volumes.layerToKeep(lease.row);
      return {
        plan: { verb: 'move', move, layer },
        mostLayerBytes: await this.volumes.mostLayerBytes(lease.row.diskMb),
        outcome: (facts) => movedOutcome(lease.row, move, facts),
        afterCleanup: { patch: { otherNodeId: null }, events: [] },
      };
    };
    return updated(await againIfWritten(() => this.runner.run(row, { verb: 'move', prepare }, options)));
  }

  /**
   * Returns a container to the files of a snapshot, in a new Docker container and on a new volume. Until those run, the
   * old ones stay.
   *
   * @throws DomainError `invalid_parameters` if the snapshot does not fit, `container_not_running` if the container was
   *   never created or its node was given up (a start comes first), `restore_failed`, `operation_in_progress`,
   *   `container_not_found`, `no_capacity`
   */
  async restoreSnapshot(row: ContainerRow, snapshot: SnapshotRow): Promise<Updated> {
    const prepare: OperationDefinition['prepare'] = async (lease) => {
      await this.reconcileRow(lease);
      if (lease.row.engineId === null) throw new DomainError('container_not_running');
      if (isUp(lease.row.status)) await this.placement.reserve(lease, lease.row);
      await this.recovery.unpause(lease, this.clock.now());
      const { seed, volume } = await this.volumes.restored(lease.row, snapshot);
      const wanted = lease.row;
      return {
        plan: { verb: 'update', wanted, moveTo: volume, seed },
        outcome: (facts) =>
          restoredSnapshotOutcome(lease.row, snapshot, {
            facts: { ...facts, volumeName: volume },
            now: this.clock.now(),
          }),
        // Under the lease: a sweep does not look for volumes on a machine that keeps them at a resize.
        afterCleanup: NOTHING,
      };
    };
    return updated(await this.runner.run(row, { verb: 'update', failure: 'restore_failed', prepare }));
  }

  /**
   * Makes a snapshot of a container, which is suspended meanwhile if it runs. A failure leaves it as it was.
   *
   * @param begin called with the row under the lease, once it agrees with Docker; null: nothing is to be made
   * @throws DomainError `container_not_running` if the creation of the container is under way or has failed,
   *   `snapshot_failed`, `operation_in_progress`, `container_not_found`; as `begin` does
   */
  async snapshot(row: ContainerRow, begin: (leased: ContainerRow) => Promise<SnapshotCourse | null>): Promise<void> {
    const prepare: OperationDefinition['prepare'] = async (lease) => {
      await this.recovery.observe(lease);
      if (!isUp(lease.row.status) && lease.row.status !== 'stopped') throw new DomainError('container_not_running');
      const course = await begin(lease.row);
      if (course === null) return { write: NOTHING };
      const { plan: snapshot, mostLayerBytes = 0, listeners = {}, finish } = course;
      return {
        plan: { verb: 'snapshot', snapshot },
        mostLayerBytes,
        listeners,
        outcome: (facts) => ({ ...NOTHING, also: () => finish(facts) }),
      };
    };
    await this.runner.run(row, { verb: 'snapshot', prepare });
  }

  /**
   * Stops, pauses or deletes a container without a request, if its user's policy still requires that once the container
   * is leased: the tier may have changed, or the container may have been used. Does not wait for another operation.
   *
   * @throws DomainError `stop_failed`, `pause_failed`, `delete_failed`, `operation_in_progress`, `container_not_found`
   */
  async expire(row: ContainerRow, ending: Ending): Promise<void> {
    const prepare: OperationDefinition['prepare'] = async (lease) => {
      const current = await lease.currentRow();
      const action = planExpiry(current, await this.policies.policyOf(current.userId));
      if (action?.do === 'stop' && isStopEnding(ending)) return this.stopping(action.ending).prepare(lease);
      if (action?.do === 'pause' && ending === 'idle_pause') return this.pausing('idle').prepare(lease);
      if (action?.do === 'delete' && ending === 'auto_delete') return this.deleting(action.reason).prepare(lease);
      return { write: { patch: action?.do === 'correct' ? action.run : {}, events: [] } };
    };
    await this.runner.run(row, { verb: ending, prepare }, { waitMs: 0 });
  }

  /**
   * Finishes or rolls back an operation whose lease expired. After a pause or a resumption the row follows Docker: it
   * is not repeated, since a client may have used the container since. Does not wait for another process that is
   * recovering it, and does nothing if another process has recovered it: later requests of the user must stand.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`; DomainError, EngineError if it fails again
   */
  async resumeAbandoned(row: ContainerRow): Promise<void> {
    switch (row.operation) {
      case 'create':
        return this.runner.resume(row, this.creating({ isNew: false }));
      case 'start':
        return this.runner.resume(row, this.starting());
      case 'stop':
        return this.runner.resume(row, this.stopping());
      case 'delete':
        return this.runner.resume(row, this.deleting());
      case 'expire':
      case 'idle':
      case 'suspend':
      case 'auto_delete':
        return this.expire(row, row.operation);
      default:
        return this.reconcile(row);
    }
  }

  /** As {@link OperationRunner.reconcile}. */
  async reconcile(row: ContainerRow): Promise<void> {
    await this.runner.reconcile(row);
  }

  /** @param options.isNew whether this is the first attempt: nothing has been done in Docker for the row */
  private creating({ isNew }: { isNew: boolean }): OperationDefinition {
    return {
      verb: 'create',
      prepare: async (lease) => {
        const seed = await this.volumes.seedOf(lease);
        return { plan: { verb: 'create', isNew, seed }, outcome: (facts) => this.started(lease, facts) };
      },
    };
  }

  /** @param isReplaced whether the present Docker container is removed first */
  private starting({ isReplaced = false } = {}): OperationDefinition {
    return {
      verb: 'start',
      prepare: async (lease) => {
        // Docker accepts an unpause of a container that has ended.
        if (lease.row.status === 'paused') await this.recovery.observe(lease);
        await this.placement.reserve(lease, lease.row);
        const seed = await this.volumes.seedOf(lease).catch(refuseWithoutSeed);
        return {
          plan: { verb: 'start', isReplaced, seed },
          onBroken: (code) => this.volumes.keepBroken(lease, { isSound: code === 'restart_required' }),
          outcome: (facts) => this.started(lease, facts),
        };
      },
    };
  }

  /** @param ending the reason, if the stop was not requested */
  private stopping(ending?: StopEnding): OperationDefinition {
    return {
      verb: ending ?? 'stop',
      prepare: async (lease) => {
        await this.removeUnknown(lease);
        return {
          plan: { verb: 'stop' },
          outcome: async ({ stopFound }) => {
            // The container had stopped before our request; an inspection shows why.
            if (stopFound !== 'running') await this.recovery.observe(lease);
            return stoppedOutcome(lease.row, ending);
          },
        };
      },
    };
  }

  /** @param reason if the pause was not requested */
  private pausing(reason: 'idle' | null = null): OperationDefinition {
    return {
      verb: reason === null ? 'pause' : 'idle_pause',
      prepare: async (lease) => {
        await this.observeUp(lease);
        if (lease.row.status === 'paused') return { write: NOTHING };
        return { plan: { verb: 'pause' }, outcome: () => pausedOutcome(lease.row, reason) };
      },
    };
  }

  private resuming(): OperationDefinition {
    return {
      verb: 'resume',
      prepare: async (lease) => {
        await this.observeUp(lease);
        if (lease.row.status === 'running') return { write: { patch: { lastUsedAt: this.clock.now() }, events: [] } };
        await this.placement.reserve(lease, lease.row);
        return { plan: { verb: 'resume' }, outcome: () => resumedOutcome(lease.row, this.clock.now()) };
      },
    };
  }

  /** @param reason if the deletion was not requested */
  private deleting(reason?: DeletionReason): OperationDefinition {
    return {
      verb: reason === undefined ? 'delete' : 'auto_delete',
      prepare: async (lease) => {
        await this.removeUnknown(lease);
        return {
          plan: { verb: 'delete' },
          // The removal may have happened although its answer was lost. A container that is gone can only be deleted.
          hasSucceeded: () => this.recovery.isGone(lease.row),
          outcome: () => this.deleted(lease.row, { reason }),
          onCommitted: (row) => this.purge.afterDeletion(row),
        };
      },
    };
  }

  /** Replaces the Docker container by one with these settings. @param moveTo the volume that the data has to move to */
  private async replacement(lease: OperationLease, wanted: Wanted, moveTo: string | null): Promise<Course> {
    const isReplaced = lease.row.engineId !== null && (moveTo !== null || !sameLimits(lease.row, wanted));
    const layer = isReplaced ? await this.volumes.layerToKeep(lease.row, wanted) : null;
    return {
      plan: { verb: 'update', wanted, moveTo, layer },
      mostLayerBytes: await this.volumes.mostLayerBytes(wanted.diskMb - lease.row.keptLayerMb),
      outcome: (facts) => updatedOutcome(lease.row, wanted, { facts, now: this.clock.now() }),
    };
  }

  /** The run begins now, under the policy that the executor read during the start, if any. */
  private async started({ row }: OperationLease, facts: Facts): Promise<Outcome> {
    const policy = facts.policy ?? (await this.policies.policyOf(row.userId));
    return startedOutcome(row, facts, { ...policy, now: this.clock.now() });
  }

  private deleted(row: ContainerRow, why: { reason?: DeletionReason | undefined; isForced?: boolean }): Outcome {
    const now = this.clock.now();
    const purgeAt = why.reason === 'user_deleted' ? now : this.purge.dueAfter(now);
    return deletedOutcome(row, { now, purgeAt, ...why });
  }

  /**
   * Reconciles the row with Docker before an update. For a row without a container this removes unknown containers: a
   * creation that failed while Docker was unreachable may have left one running on the volume.
   */
  private async reconcileRow(lease: OperationLease): Promise<void> {
    if (lease.row.engineId === null) await this.recovery.recover(lease, 'reconcile');
    else await this.recovery.observe(lease);
  }

  /** Updates the row to the observed state. @throws DomainError `container_not_running` if it is not up then */
  private async observeUp(lease: OperationLease): Promise<void> {
    await this.recovery.observe(lease);
    if (!isUp(lease.row.status)) throw new DomainError('container_not_running');
  }

  /** Reconciles a row in `error` before a stop or a deletion. These need no inspection of the row's own container. */
  private async removeUnknown(lease: OperationLease): Promise<void> {
    if (lease.row.status === 'error') await this.recovery.recover(lease, 'reconcile');
  }
}

/** Runs a replacement once more if the layer was written to meanwhile: the next plan keeps it. */
async function againIfWritten(run: () => Promise<Done>): Promise<Done> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof DomainError && error.cause instanceof LayerWrittenError)) throw error;
    return run();
  }
}

/** Nothing was begun in Docker: a container without its snapshot stays as it is. */
function refuseWithoutSeed(error: unknown): never {
  if (error instanceof SeedGoneError) throw new DomainError('snapshot_not_found', { cause: error });
  throw error;
}

function ended({ row, before }: Done): Ended {
  return { row, resumed: before.status === 'paused' };
}

function updated({ row, before, facts }: Done): Updated {
  const { replacementId, rootKept } = facts;
  return {
    row,
    restarted: wasRestarted(before, facts),
    ...(replacementId !== undefined && before.engineId !== null && { rootKept: rootKept === true }),
  };
}
