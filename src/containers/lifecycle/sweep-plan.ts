import type { ListedContainer, ListedVolume } from '../../docker';
import type { SweptRow } from '../swept-rows';
import { containerName } from './plan';

/** What a sweep finds to do about one container. */
export type SweepAction =
  /** The row and Docker differ: look closer. */
  | { readonly do: 'look'; readonly row: SweptRow }
  /** An operation's claim ran out. */
  | { readonly do: 'finish'; readonly row: SweptRow }
  /** Docker has containers or volumes under this row's label that the row does not know, or its own has a replacement's name. */
  | { readonly do: 'reconcile'; readonly row: SweptRow }
  /** A container of ours without a live row. */
  | { readonly do: 'remove_orphan'; readonly dockerId: string };

/**
 * Compares all rows with one list of Docker's containers, and one of its volumes. The lists must be older than the rows: then a
 * container without a row never is one whose row was just not read yet, nor a volume one that a row has just been given.
 */
export function planSweep(input: {
  readonly rows: readonly SweptRow[];
  readonly listed: readonly ListedContainer[];
  /** None where volumes are never replaced. */
  readonly volumes: readonly ListedVolume[];
  readonly now: Date;
  readonly orphanGraceMs: number;
}): SweepAction[] {
  const { rows, now } = input;
  const actions: SweepAction[] = [];
  const byContainer = groupByContainer(input.listed);
  const oldEnough = ({ createdAt }: ListedContainer): boolean =>
    now.getTime() - createdAt.getTime() >= input.orphanGraceMs;
  const volumesOf = groupByContainer(input.volumes);
  for (const row of rows) {
    const own = byContainer.get(row.id) ?? [];
    byContainer.delete(row.id);
    if (row.operationExpiresAt !== null && row.operation !== null) {
      if (row.operationExpiresAt <= now) actions.push({ do: 'finish', row });
      continue;
    }
    const current = own.find(({ dockerId }) => dockerId === row.dockerId);
    const strays = own.filter((listed) => listed !== current && oldEnough(listed));
    const misnamed = current !== undefined && current.name !== containerName(row.id);
    const outgrown = (volumesOf.get(row.id) ?? []).some(({ name }) => name !== row.volumeName);
    if (strays.length > 0 || misnamed || outgrown) actions.push({ do: 'reconcile', row });
    else if (disagrees(row, current)) actions.push({ do: 'look', row });
  }
  for (const orphan of [...byContainer.values()].flat()) {
    if (oldEnough(orphan)) actions.push({ do: 'remove_orphan', dockerId: orphan.dockerId });
  }
  return actions;
}

function disagrees(row: SweptRow, current: ListedContainer | undefined): boolean {
  const runs = current?.state === 'running' || current?.state === 'paused';
  if (row.status === 'stopped') return runs;
  // Whoever started it may have died before the first look, which finds the address out.
  return row.status === 'running' && (!runs || row.runStartedAt === null);
}

function groupByContainer<T extends { readonly containerId: string | null }>(listed: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const entry of listed) {
    // Without a readable label it cannot be told whose it is; nothing is done to it.
    if (entry.containerId === null) continue;
    const group = groups.get(entry.containerId) ?? [];
    group.push(entry);
    groups.set(entry.containerId, group);
  }
  return groups;
}
