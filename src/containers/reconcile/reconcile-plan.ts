import { setImmediate as nextTurn } from 'node:timers/promises';
import { type ListedContainer, type ListedVolume } from '../../engine';
import { isUp } from '../model/container.entity';
import type { SweptRow } from '../rows/container.queries';
import { isTermOver } from '../leases/lease-term';
import { containerName } from '../operations/steps';
import { mayHoldData } from '../operations/rollback-plan';

/** An action that a sweep finds for one container. */
export type ReconcileAction =
  /** The row and Docker differ, or may differ: inspect. */
  | { readonly do: 'look'; readonly row: SweptRow }
  /** The row's container is not connected to the sandboxes' network. */
  | { readonly do: 'reconnect'; readonly row: SweptRow }
  /** The container is stopped, and Docker has lost the size of its volume. */
  | { readonly do: 'move_data'; readonly row: SweptRow }
  /** An operation was abandoned. */
  | { readonly do: 'finish'; readonly row: SweptRow }
  /**
   * Docker has containers or volumes under this row's label that the row does not know, the row's container has a
   * replacement's name, or another node may still have something of it (`otherNodeId`).
   */
  | { readonly do: 'reconcile'; readonly row: SweptRow }
  /** A container of ours without a live row. */
  | { readonly do: 'remove_orphan'; readonly engineId: string };

/** Where Docker's events may have been missed: everywhere, nowhere, or on these nodes (null: the single machine). */
export type Unwatched = boolean | ReadonlySet<string | null>;

/**
 * The observed state that rows are compared with. The lists must be read before the rows. Otherwise a container that is
 * created between the two reads would seem to have no row, and a row's new volume would seem to be a leftover.
 */
interface ObservedDocker {
  readonly listed: readonly ListedContainer[];
  /** Empty on a single machine that never replaces volumes. */
  readonly volumes: readonly ListedVolume[];
  /** Nodes that did not answer: rows on them get no action. */
  readonly silent?: ReadonlySet<string>;
  /** Names of the volumes whose data cannot be moved. */
  readonly stuck?: ReadonlySet<string>;
  readonly now: Date;
  readonly orphanGraceMs: number;
  /** Where Docker may have ended a run and started another while its events were missed; a list does not show that. */
  readonly wasUnwatched: Unwatched;
}

/**
 * Compares all rows, a page at a time, with one list of Docker's containers and one of its volumes. Every live row must
 * be passed once. The containers and volumes that remain in the lists afterwards are orphaned.
 */
export class ReconcilePlan {
  private constructor(
    private readonly observed: ObservedDocker,
    private readonly containers: Groups<ListedContainer>,
    private readonly volumes: Groups<ListedVolume>,
  ) {}

  /** Groups the lists by container, and lets other work run in between. */
  static async of(observed: ObservedDocker): Promise<ReconcilePlan> {
    return new ReconcilePlan(
      observed,
      await groupByContainer(observed.listed),
      await groupByContainer(observed.volumes),
    );
  }

  /** The nodes that were not compared because they did not answer. */
  get silent(): ReadonlySet<string> {
    return this.observed.silent ?? new Set();
  }

  /** The actions for these rows. */
  forRows(rows: readonly SweptRow[]): ReconcileAction[] {
    return rows.flatMap((row) => {
      const containers = take(this.containers, row.id);
      const volumes = take(this.volumes, row.id);
      // The lists prove nothing about a node that did not answer, and no action is possible there.
      if (row.nodeId !== null && this.silent.has(row.nodeId)) return [];
      const action = this.forRow(row, containers, volumes);
      return action === null ? [] : [{ do: action, row }];
    });
  }

  /** Leaves these out of the comparison: they have no row of a container, and are not orphans. */
  leaveOut(ids: readonly string[]): void {
    for (const id of ids) {
      take(this.containers, id);
      take(this.volumes, id);
    }
  }

  /** The actions for containers that match no row. */
  forOrphans(): ReconcileAction[] {
    const orphans = [...this.containers.values()].flat().filter((orphan) => this.isOldEnough(orphan));
    return orphans.map(({ engineId }) => ({ do: 'remove_orphan', engineId }));
  }

  /** Volumes that match no row, or whose label cannot be read. */
  orphanVolumes(): ListedVolume[] {
    const unlabelled = this.observed.volumes.filter(
      ({ containerId, snapshotId = null }) => containerId === null && snapshotId === null,
    );
    return [...this.volumes.values(), unlabelled].flat();
  }

  private forRow(
    row: SweptRow,
    containers: readonly ListedContainer[],
    volumes: readonly ListedVolume[],
  ): 'finish' | 'reconcile' | 'reconnect' | 'move_data' | 'look' | null {
    if (row.operation !== null) return isTermOver(row.operationExpiresAt) ? 'finish' : null;
    const current = containers.find(({ engineId }) => engineId === row.engineId);
    const isStray = (listed: ListedContainer): boolean => listed !== current && this.isOldEnough(listed);
    const isMisnamed = current !== undefined && current.name !== containerName(row.id);
    const isOutgrown = (volume: ListedVolume): boolean => !mayHoldData(row, volume);
    // The other node may have a container or volume that is not listed yet. If it has none, `otherNodeId` is cleared.
    const mayBeElsewhere = row.otherNodeId !== null && !this.silent.has(row.otherNodeId);
    if (containers.some(isStray) || isMisnamed || volumes.some(isOutgrown) || mayBeElsewhere) return 'reconcile';
    if (current && !current.connected && current.state !== 'broken') return 'reconnect';
    if (this.mayDiffer(row, current)) return 'look';
    const isMovable = ({ name, labelled }: ListedVolume): boolean => !labelled && !this.observed.stuck?.has(name);
    return row.status === 'stopped' && volumes.some(isMovable) ? 'move_data' : null;
  }

  private mayDiffer(row: SweptRow, current: ListedContainer | undefined): boolean {
    const runs = current?.state === 'running' || current?.state === 'paused';
    if (row.status === 'stopped') return runs;
    const isAsSeen = runs && current.state === row.status;
    // Without a start time, the process that started the container may have died before the first inspection.
    return isUp(row.status) && (!isAsSeen || row.runStartedAt === null || this.wasUnwatched(row));
  }

  private wasUnwatched({ nodeId }: SweptRow): boolean {
    const { wasUnwatched } = this.observed;
    return typeof wasUnwatched === 'boolean' ? wasUnwatched : wasUnwatched.has(nodeId);
  }

  private isOldEnough({ createdAt }: ListedContainer): boolean {
    return this.observed.now.getTime() - createdAt.getTime() >= this.observed.orphanGraceMs;
  }
}

type Groups<T> = Map<string, readonly T[]>;

/** Entries grouped before other work gets its turn: a hundred thousand at once would take some 50 ms. */
const PIECE = 10_000;

async function groupByContainer<T extends { readonly containerId: string | null }>(
  listed: readonly T[],
): Promise<Groups<T>> {
  const groups = new Map<string, T[]>();
  for (const [index, entry] of listed.entries()) {
    if (index > 0 && index % PIECE === 0) await nextTurn();
    // Without a readable label the owner is unknown, and the entry is left alone.
    if (entry.containerId === null) continue;
    const group = groups.get(entry.containerId);
    if (group) group.push(entry);
    else groups.set(entry.containerId, [entry]);
  }
  return groups;
}

function take<T>(groups: Groups<T>, containerId: string): readonly T[] {
  const group = groups.get(containerId) ?? [];
  groups.delete(containerId);
  return group;
}
