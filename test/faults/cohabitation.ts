/** A container event of Berth's instance from Docker's event stream. */
export interface LifeSign {
  readonly action: string;
  readonly engineId: string;
  /** The node's id if there are several Dockers. */
  readonly node: string | null;
  /** The id of the row, and so of the volume. */
  readonly containerId: string;
  /** A helper that reads a volume or writes a copy, not a sandbox. Several helpers may run while no sandbox runs. */
  readonly isWorker: boolean;
  /** Of a helper: the volumes that it copies; none if it measures. Of a sandbox: its volume. Unknown if absent. */
  readonly volumes?: readonly string[] | undefined;
  /** A sandbox that is suspended does not write. */
  readonly isSuspended?: boolean;
}

type Running = Pick<LifeSign, 'node' | 'isWorker' | 'volumes' | 'isSuspended'>;

/** Detects containers that run on one volume at once, which must never happen, from all events of their lives. */
export class Cohabitation {
  /** The running containers of each row, by Docker id. */
  private readonly running = new Map<string, Map<string, Running>>();
  /** Rows with a container that an outsider started: Berth is not to blame for a container that runs beside it. */
  private readonly meddledWith = new Set<string>();
  private readonly moved = new Set<string>();

  /**
   * Replaces the known containers of a node by those that run now, after a gap in the event stream.
   *
   * @returns complaints
   */
  reset(node: string | null, running: readonly Omit<LifeSign, 'action' | 'node'>[]): string[] {
    for (const of of this.running.values()) for (const [id, one] of of) if (one.node === node) of.delete(id);
    return running.flatMap((one) => this.take({ ...one, node, action: 'start' }));
  }

  /** Marks a row of which an outsider is about to start a container. */
  meddle(containerId: string): void {
    this.meddledWith.add(containerId);
  }

  /** Marks a row that is being moved: an unseen copy may still run on a node that fell silent meanwhile. */
  move(containerId: string): void {
    this.moved.add(containerId);
  }

  /** @returns the other containers of the row that run on this node, as far as is known */
  beside({ containerId, engineId, node }: Pick<LifeSign, 'containerId' | 'engineId' | 'node'>): string[] {
    const running = [...(this.running.get(containerId) ?? [])];
    return running.filter(([id, one]) => id !== engineId && one.node === node).map(([id]) => id);
  }

  /** @returns complaints */
  take({ action, engineId, node, containerId, ...one }: LifeSign): string[] {
    const running = this.running.get(containerId) ?? new Map<string, Running>();
    this.running.set(containerId, running);
    if (action === 'die') running.delete(engineId);
    const before = running.get(engineId);
    if (action === 'start') running.set(engineId, { node, ...one });
    else if (before && action === 'pause') running.set(engineId, { ...before, isSuspended: true });
    else if (before && action === 'unpause') running.set(engineId, { ...before, isSuspended: false });
    else return [];
    const near = [...running].filter(([, other]) => other.node === node || !this.moved.has(containerId));
    const onVolume = near.filter(([, each]) => near.some(([, other]) => other !== each && areRivals(each, other)));
    if (onVolume.length < 2 || this.meddledWith.has(containerId)) return [];
    return [`${onVolume.map(([id]) => id).join(' and ')} run at once on the volume of ${containerId}`];
  }
}

/** Whether two containers of one row must not run at once. */
function areRivals(one: Running, other: Running): boolean {
  if (one.isWorker === other.isWorker) return !one.isWorker;
  const [worker, sandbox] = one.isWorker ? [one, other] : [other, one];
  if (sandbox.isSuspended === true) return false;
  const { volumes } = sandbox;
  if (!worker.volumes || !volumes) return worker.volumes?.length !== 0;
  return worker.volumes.some((volume) => volumes.includes(volume));
}
