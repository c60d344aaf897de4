import { Injectable } from '@nestjs/common';
import { Capacity } from '../capacity/capacity';
import { ContainerRepository } from '../container.repository';
import { Inventory, OrphanVolumes } from './inventory';
import { PendingRemovals } from './pending-removals';
import { Purge } from './purge';
import type { ReconcileAction, ReconcilePlan } from './reconcile-plan';
import type { ReconcileStats } from './reconcile-stats';
import { Repairs } from './repairs';

/** The circumstances of one sweep. */
interface SweepOptions {
  readonly stats: ReconcileStats;
  /** Ends it early. */
  readonly signal: AbortSignal;
  /** Whether Docker's events were missed at some time since the last sweep. */
  readonly wasUnwatched: boolean;
}

/** One comparison of all rows with all of Docker, and the repair of the differences. */
@Injectable()
export class Sweep {
  constructor(
    private readonly inventory: Inventory,
    private readonly capacity: Capacity,
    private readonly orphans: OrphanVolumes,
    private readonly repository: ContainerRepository,
    private readonly repairs: Repairs,
    private readonly removals: PendingRemovals,
    private readonly purge: Purge,
  ) {}

  /**
   * Resolves when all is repaired, except that abandoned operations go on. @throws EngineError, the database's error
   */
  async run({ stats, signal, wasUnwatched }: SweepOptions): Promise<void> {
    const plan = await this.inventory.take({ wasUnwatched });
    await this.capacity.recount();
    const repairing: Promise<void>[] = [];
    for await (const actions of this.actions(plan)) {
      if (signal.aborted) return;
      for (const action of actions) repairing.push(this.repairs.perform(action, { stats, signal }));
    }
    await Promise.all([...repairing, this.repairs.inspectOverdue()]);
    await this.orphans.note(plan.orphanVolumes());
    await this.removals.sweep(signal);
    stats.purged(await this.purge.sweep(signal));
  }

  /** A page of rows at a time: comparing ten thousand at once would block everything else for some 30 ms. */
  private async *actions(plan: ReconcilePlan): AsyncGenerator<ReconcileAction[]> {
    for await (const rows of this.repository.sweptRows()) yield plan.forRows(rows);
    yield plan.forOrphans();
  }
}
