/** What Docker's event stream tells of a container of ours. */
export interface LifeSign {
  readonly action: string;
  readonly dockerId: string;
  /** Of several Dockers, the id of the node. */
  readonly node: string | null;
  /** Of the row, and so of the volume. */
  readonly containerId: string;
  /** No sandbox, but what reads a volume or writes a copy: several may do so while no sandbox runs. */
  readonly isWorker: boolean;
}

type Running = Pick<LifeSign, 'node' | 'isWorker'>;

/**
 * Two containers must never run on one volume at once. Told everything that starts and ends, it finds those that do.
 */
export class Cohabitation {
  /** By row, each container that runs. */
  private readonly running = new Map<string, Map<string, Running>>();
  /** Rows with a container that an outsider started: what then runs beside it is not Berth's doing. */
  private readonly meddledWith = new Set<string>();
  private readonly moved = new Set<string>();

  /** What runs on a node now, after nobody looked for a while. */
  reset(node: string | null, running: readonly Omit<LifeSign, 'action' | 'node'>[]): string[] {
    for (const of of this.running.values()) for (const [id, one] of of) if (one.node === node) of.delete(id);
    return running.flatMap((one) => this.take({ ...one, node, action: 'start' }));
  }

  /** An outsider is about to start a container of this row. */
  meddle(containerId: string): void {
    this.meddledWith.add(containerId);
  }

  /** It is being moved: a copy that nobody sees may run on a node that fell silent meanwhile. */
  move(containerId: string): void {
    this.moved.add(containerId);
  }

  /** @returns complaints */
  take({ action, dockerId, node, containerId, isWorker }: LifeSign): string[] {
    const running = this.running.get(containerId) ?? new Map<string, Running>();
    this.running.set(containerId, running);
    if (action === 'die') running.delete(dockerId);
    if (action !== 'start') return [];
    running.set(dockerId, { node, isWorker });
    const onVolume = [...running].filter(([, one]) => one.node === node || !this.moved.has(containerId));
    if (onVolume.length < 2 || onVolume.every(([, one]) => one.isWorker)) return [];
    if (this.meddledWith.has(containerId)) return [];
    return [`${onVolume.map(([id]) => id).join(' and ')} run at once on the volume of ${containerId}`];
  }
}
