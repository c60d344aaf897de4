import type { ListedContainer, ListedVolume, ObservedContainer } from '../../engine';
import { type ContainerRow, isRolledBack, type Operation } from '../model/container.entity';
import { containerName } from './steps';

/** One engine call, and why. */
export type RollbackStep = { readonly because: string } & (
  | { readonly do: 'remove_container' | 'start_container' | 'unpause_container'; readonly engineId: string }
  | { readonly do: 'rename_container'; readonly engineId: string; readonly name: string }
  | { readonly do: 'remove_volume'; readonly volume: string; readonly node?: string | null }
);

/**
 * Plans the rollback of an operation that failed or whose process died, at any step. The only inputs are the row, the
 * interrupted operation, and what Docker reports for the container. The plan first removes containers that the row does
 * not know, so that two never run on one volume. Then it starts the row's own container if that should run. Last it
 * removes volumes that the data was to move to, or has moved from.
 */
export function planRollback(input: {
  readonly row: Pick<ContainerRow, 'id' | 'status' | 'engineId' | 'volumeName' | 'nodeId' | 'formerNodeId'>;
  readonly interrupted: Operation | null;
  readonly listed: readonly ListedContainer[];
  /**
   * The row's own container, from an inspection: for a moment after a stop, Docker 26.1 still lists a container as
   * running.
   */
  readonly current: Pick<ObservedContainer, 'engineId' | 'state' | 'name'> | null;
  /** The container's volumes; empty on a single machine that never replaces volumes. */
  readonly volumes: readonly ListedVolume[];
}): RollbackStep[] {
  const { row, volumes } = input;
  return [
    ...ofContainers(input),
    ...volumes
      .filter((volume) => !mayHoldData(row, volume))
      .map(
        ({ name, node = null }) =>
          ({
            do: 'remove_volume',
            volume: name,
            ...(node !== null && { node }),
            because: 'the data of the row is in another',
          }) as const,
      ),
  ];
}

/**
 * Whether a volume may hold a row's data. It must have the row's volume name and be on the row's node, or on its former
 * node: the one that was given up with the data, until the container is recreated. If the row has neither node, the
 * volume may be on any node.
 */
export function mayHoldData(
  { volumeName, nodeId, formerNodeId }: Pick<ContainerRow, 'volumeName' | 'nodeId' | 'formerNodeId'>,
  { name, node = null }: Pick<ListedVolume, 'name' | 'node'>,
): boolean {
  if (name !== volumeName) return false;
  return (nodeId === null && formerNodeId === null) || node === nodeId || (node !== null && node === formerNodeId);
}

function ofContainers({
  row,
  interrupted,
  listed,
  current,
}: Omit<Parameters<typeof planRollback>[0], 'volumes'>): RollbackStep[] {
  const steps: RollbackStep[] = listed
    .filter(({ engineId }) => engineId !== row.engineId)
    .map(({ engineId }) => ({ do: 'remove_container', engineId, because: 'the row does not know it' }));
  if (!current) return steps;
  const down = current.state === 'exited' || current.state === 'created';
  const ran = row.status === 'running' || (row.status === 'stopped' && interrupted === 'restart');
  if (down && ran && isRolledBack(interrupted)) {
    steps.push({ do: 'start_container', engineId: current.engineId, because: 'it ran before the operation' });
  }
  if (current.state === 'paused' && row.status === 'running' && isRolledBack(interrupted)) {
    steps.push({ do: 'unpause_container', engineId: current.engineId, because: 'the operation suspended it' });
  }
  const name = containerName(row.id);
  if (current.name !== name) {
    steps.push({ do: 'rename_container', engineId: current.engineId, name, because: 'it replaced another one' });
  }
  return steps;
}
