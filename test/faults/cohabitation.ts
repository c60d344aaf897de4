/** A container event of Berth's instance from Docker's event stream. */
export interface LifeSign {
  readonly action: string;
  readonly dockerId: string;
  /** The node's id if there are several Dockers. */
  readonly node: string | null;
  /** The id of the row, and so of the volume. */
  readonly containerId: string;
  /** A helper that reads a volume or writes a copy, not a sandbox. Several helpers may run while no sandbox runs. */
  readonly isWorker: boolean;
}

type Running = Pick<LifeSign, 'node' | 'isWorker'>;

/** Detects containers that run on one volume at once, which must never happen, from all start and die events. */
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
