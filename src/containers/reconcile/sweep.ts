import { Injectable } from '@nestjs/common';
import { Capacity } from '../capacity/capacity';
import { ContainerRepository } from '../rows/container.repository';
import { Inventory, OrphanVolumes } from './inventory';
import { PendingRemovals } from './pending-removals';
import { Purge } from '../operations/purge';
import type { ReconcileAction, ReconcilePlan, Unwatched } from './reconcile-plan';
import type { ReconcileStats } from './reconcile-stats';
import { Repairs } from './repairs';

/** The circumstances of one sweep. */
interface SweepOptions {
  readonly stats: ReconcileStats;
  /** Ends the sweep early. */
  readonly signal: AbortSignal;
  /** Where Docker's events may have been missed since the last sweep. */
  readonly wasUnwatched: Unwatched;
}

/** Compares all rows with Docker once, and repairs the differences. */
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
   * Resolves when all repairs have ended, except for abandoned operations, which are resumed in the background.
   *
   * @returns the nodes that did not answer, and were left unchanged
   * @throws EngineError, the database's error
   */
  async run({ stats, signal, wasUnwatched }: SweepOptions): Promise<ReadonlySet<string>> {
    const plan = await this.inventory.take({ wasUnwatched });
    await this.capacity.recount();
    const repairing: Promise<void>[] = [];
    for await (const actions of this.actions(plan)) {
      if (signal.aborted) return plan.silent;
      for (const action of actions) repairing.push(this.repairs.perform(action, { stats, signal }));
    }
    await Promise.all([...repairing, this.repairs.inspectOverdue()]);
    if (signal.aborted) return plan.silent;
    await this.orphans.note(plan.orphanVolumes());
    await this.removals.sweep(signal, plan.silent);
    stats.purged(await this.purge.sweep(signal, plan.silent));
    return plan.silent;
  }

  /** Compares a page of rows at a time: ten thousand rows at once would block all other work for some 30 ms. */
  private async *actions(plan: ReconcilePlan): AsyncGenerator<ReconcileAction[]> {
    // After Docker's lists and before the rows: a slot may be made or taken at any time.
    plan.leaveOut([...(await this.repository.slotIds()), ...(await this.repository.copyIds())]);
    for await (const rows of this.repository.sweptRows()) yield plan.forRows(rows);
    yield plan.forOrphans();
  }
}
