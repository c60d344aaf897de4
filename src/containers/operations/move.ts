import { containerFacts, type ContainerRow, isUp } from '../model/container.entity';
import type { ContainerPatch } from '../rows/container.repository';
import { isLayerWritten, type StepResults } from './executor';
import type { OperationDefinition } from './operation';
import { type Outcome, replaced, replacementData } from './outcome';
import {
  confirmStopped,
  containerName,
  copyLayer,
  type Destination,
  keepLayer,
  type LayerToKeep,
  type Plan,
  type PlanInput,
  startReplacement,
  type Step,
  stopCurrent,
  stopReplaced,
} from './steps';
import { type Updated, updated } from './update';

/**
 * Moves a container with its data, and with its writable layer if that can be kept, to another node. Ends once nothing
 * of the container is left on the old node. If that cleanup fails, for example because the old node no longer answers,
 * the move still succeeds, and the cleanup is retried.
 *
 * @param to.node the target's id; absent: the node with the most room
 * @throws DomainError `move_failed`, `same_node`, `no_capacity`, `node_unavailable`, `operation_in_progress`,
 *   `container_not_found`
 */
export function moving(to: { node?: string }, { waitMs }: { waitMs?: number } = {}): OperationDefinition<Updated> {
  return {
    verb: 'move',
    waitMs,
    isRepeatedAfter: isLayerWritten,
    prepare: async (lease, { recovery, volumes, placement, clock }) => {
      // Cleans up every node: leftovers of an earlier attempt would be in the way. As no obstacle is left then, the
      // move is not planned again; another recovery would give up the room that is reserved on the target node.
      await recovery.recover(lease, 'reconcile');
      await recovery.unpause(lease, clock.now());
      const target = await placement.reserveElsewhere(lease, to);
      const destination = await volumes.destinationOn(lease.row, target);
      const layer = lease.row.engineId === null ? null : await volumes.layerToKeep(lease.row);
      return {
        plan: (input) => planMove(input, { destination, layer }),
        layer,
        mostLayerBytes: await volumes.mostLayerBytes(lease.row.diskMb),
        outcome: (results) => movedOutcome(lease.row, destination, results),
        afterCleanup: { patch: { otherNodeId: null }, events: [] },
      };
    },
    result: updated,
  };
}

/**
 * Renames no container: container names are unique per node. A layer that is to be kept can be read only once nothing
 * writes to it, so the old container stops before the new one is created then.
 */
export function planMove(
  { row }: PlanInput,
  { destination, layer }: { destination: Destination; layer: LayerToKeep | null },
): Plan {
  const { node, volume, hasData } = destination;
  const hasContainer = row.engineId !== null;
  const runs = hasContainer && isUp(row.status);
  const { reference = null, imageId = null } = (hasContainer ? layer : null) ?? {};
  const steps: Step[] = [];
  const cleanup: Step[] = [];
  if (hasContainer) cleanup.push({ do: 'remove_container', target: 'current', because: 'it has moved' });
  if (hasContainer && reference === null) {
    if (imageId !== null) steps.push({ ...copyLayer(row), imageId, node });
    steps.push({ do: 'ensure_image', node, because: 'the other machine may not have it' });
  }
  if (hasContainer || hasData) steps.push({ do: 'ensure_volume', volume, node, because: 'the data moves into it' });
  if (reference !== null) {
    if (runs) steps.push(stopCurrent('nothing may write to layer and data'));
    steps.push(...keepLayer(reference), { ...copyLayer(row), node });
  }
  if (hasContainer) {
    const created = { name: containerName(row.id), generation: row.generation + 1, volume, node };
    const because = reference === null ? 'created before the old one stops' : 'it begins with the layer';
    steps.push({ do: 'create_container', ...created, because });
  }
  if (runs && reference === null) steps.push(...stopReplaced(layer, 'what writes to the data must end'));
  if (hasData) {
    steps.push({ do: 'copy_volume', from: row.volumeName, to: volume, node, because: 'the data is at rest' });
    cleanup.push({ do: 'remove_volume', volume: row.volumeName, because: 'the data has moved' });
  }
  if (hasContainer && (hasData || reference !== null)) steps.push(confirmStopped);
  if (runs) steps.push(...startReplacement);
  return { steps, cleanup };
}

/** The row keeps the old node as `otherNodeId` until the cleanup is done. */
function movedOutcome(row: ContainerRow, { node, volume, hasData }: Destination, results: StepResults): Outcome {
  const isMade = results.replacementId !== undefined;
  // Otherwise the data is on a node that was given up, and returns if that node does.
  const isDataHere = row.formerNodeId === null || row.formerNodeId === row.nodeId;
  const patch: ContainerPatch = {
    nodeId: node,
    otherNodeId: row.nodeId,
    unreachableSince: null,
    notMovedBecause: null,
    ...((isMade || hasData) && { volumeName: volume }),
    ...(!isMade && hasData && isDataHere && { formerNodeId: node }),
    ...replaced(row, results),
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...replacementData(row, results) };
  return { patch, events: [{ type: 'container_moved', data }] };
}
