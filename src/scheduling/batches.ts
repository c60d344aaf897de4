/** Batches work: items that are added while a batch of their kind runs wait, and form the next batch. */
export class Batches<Item, Outcome> {
  private readonly running = new Map<string, Promise<unknown>>();
  private readonly gathering = new Map<string, { readonly items: Item[]; readonly outcome: Promise<Outcome> }>();

  /** @param kind items of the same kind are processed together */
  add(kind: string, item: Item, work: (items: readonly Item[]) => Promise<Outcome>): Promise<Outcome> {
    const batch = this.gathering.get(kind);
    if (batch) {
      batch.items.push(item);
      return batch.outcome;
    }
    const items = [item];
    const outcome = this.runAfter(kind, this.running.get(kind), () => work(items));
    this.gathering.set(kind, { items, outcome });
    return outcome;
  }

  private async runAfter(
    kind: string,
    before: Promise<unknown> | undefined,
    work: () => Promise<Outcome>,
  ): Promise<Outcome> {
    await before?.catch(() => undefined);
    // Items that are added in the same turn all join this batch.
    await Promise.resolve();
    this.gathering.delete(kind);
    const running = work();
    this.running.set(kind, running);
    try {
      return await running;
    } finally {
      if (this.running.get(kind) === running) this.running.delete(kind);
    }
  }
}
