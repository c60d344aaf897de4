import type { ListedContainer } from '../../docker';
import type { ContainerRow } from '../container.entity';
import { containerName } from './plan';

/** What a sweep finds to do about one container. */
export type SweepAction =
  /** The row and Docker differ: look closer. */
  | { readonly do: 'look'; readonly row: SweptRow }
  /** An operation's claim ran out. */
  | { readonly do: 'finish'; readonly row: SweptRow }
  /** Docker has containers under this row's label that the row does not know, or the row's own has a replacement's name. */
  | { readonly do: 'reconcile'; readonly row: SweptRow }
  /** A container of ours without a live row. */
  | { readonly do: 'remove_orphan'; readonly dockerId: string };

export type SweptRow = Pick<ContainerRow, 'id' | 'status' | 'dockerId' | 'operation' | 'operationExpiresAt'>;

/**
 * Compares all rows with one list of Docker's containers. The list must be older than the rows: then a container without a
 * row never is one whose row was just not read yet.
 */
export function planSweep(input: {
  readonly rows: readonly SweptRow[];
  readonly listed: readonly ListedContainer[];
  readonly now: Date;
  readonly orphanGraceMs: number;
}): SweepAction[] {
  const { rows, now } = input;
  const actions: SweepAction[] = [];
  const byContainer = groupByContainer(input.listed);
  const oldEnough = ({ createdAt }: ListedContainer): boolean =>
    now.getTime() - createdAt.getTime() >= input.orphanGraceMs;
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
    if (strays.length > 0 || misnamed) actions.push({ do: 'reconcile', row });
    else if (disagrees(row, current)) actions.push({ do: 'look', row });
  }
  for (const orphan of [...byContainer.values()].flat()) {
    if (oldEnough(orphan)) actions.push({ do: 'remove_orphan', dockerId: orphan.dockerId });
  }
  return actions;
}

function disagrees(row: SweptRow, current: ListedContainer | undefined): boolean {
  const runs = current?.state === 'running' || current?.state === 'paused';
  return (row.status === 'running' && !runs) || (row.status === 'stopped' && runs);
}

function groupByContainer(listed: readonly ListedContainer[]): Map<string, ListedContainer[]> {
  const groups = new Map<string, ListedContainer[]>();
  for (const container of listed) {
    // Without a readable label it cannot be told whose it is; nothing is done to it.
    if (container.containerId === null) continue;
    const group = groups.get(container.containerId) ?? [];
    group.push(container);
    groups.set(container.containerId, group);
  }
  return groups;
}
