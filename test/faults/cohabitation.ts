/** What Docker's event stream tells of a container of ours. */
export interface LifeSign {
  readonly action: string;
  readonly dockerId: string;
  /** Of the row, and so of the volume. */
  readonly containerId: string;
}

/**
 * Two containers must never run on one volume at once. Told everything that starts and ends, it finds those that do.
 */
export class Cohabitation {
  private readonly running = new Map<string, Set<string>>();
  /** Rows with a container that an outsider started: what then runs beside it is not Berth's doing. */
  private readonly meddledWith = new Set<string>();

  /** What runs now, after nobody looked for a while. */
  reset(running: readonly Omit<LifeSign, 'action'>[]): string[] {
    this.running.clear();
    return running.flatMap((one) => this.take({ ...one, action: 'start' }));
  }

  /** An outsider is about to start a container of this row. */
  meddle(containerId: string): void {
    this.meddledWith.add(containerId);
  }

  /** @returns complaints */
  take({ action, dockerId, containerId }: LifeSign): string[] {
    const running = this.running.get(containerId) ?? new Set();
    this.running.set(containerId, running);
    if (action === 'die') running.delete(dockerId);
    if (action !== 'start') return [];
    running.add(dockerId);
    if (running.size < 2 || this.meddledWith.has(containerId)) return [];
    return [`${[...running].join(' and ')} run at once on the volume of ${containerId}`];
  }
}
