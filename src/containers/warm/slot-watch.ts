import { Injectable, OnModuleDestroy } from '@nestjs/common';
import { ContainerEngine } from '../../engine';
import { LruMap } from '../../scheduling';
import { ContainerRepository } from '../rows/container.repository';
import { Instance } from '../rows/instance';
import { WarmSlots } from '../rows/warm-slots';

/** Far more than there are slots. */
const MOST = 10_000;

/**
 * Finds out whether a slot may have had another use than to wait. Programs that were started in one, by an operator's
 * `docker exec` for example, leave no trace once they have ended, so each process watches Docker's events.
 */
@Injectable()
export class SlotWatch implements OnModuleDestroy {
  private readonly stopped = new AbortController();
  private readonly used = new LruMap<true>(MOST);
  private readonly watched = new Set<string | null>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    private readonly slots: WarmSlots,
    private readonly repository: ContainerRepository,
  ) {}

  /** Watches until the module is destroyed. Never throws. */
  start(): void {
    void this.watch();
  }

  onModuleDestroy(): void {
    this.stopped.abort();
  }

  /** Whether a program was started in the slot, or may have been while Docker's events were missed. */
  mayBeUsed(engineId: string): boolean {
    return this.used.get(engineId) === true;
  }

  /**
   * Whether the database knows all of this instance's containers in Docker. If not, it was restored from an older
   * backup, and what it says of slots may be out of date. The removal of a deleted container keeps its row.
   *
   * @throws EngineError
   */
  async isDatabaseCurrent(): Promise<boolean> {
    const { items } = await this.engine.containers.list({ instance: this.instance.id });
    const ids = items.flatMap(({ containerId }) => containerId ?? []);
    const known = await this.repository.idsWithRow(ids);
    const slots = new Set(await this.repository.slotIds());
    return ids.every((id) => known.has(id) || slots.has(id));
  }

  private async watch(): Promise<void> {
    for await (const message of this.engine.containers.watch(this.instance.id, this.stopped.signal, 'warm_programs')) {
      if (message.kind === 'event') this.used.set(message.event.engineId, true);
      else if (this.watched.has(message.node)) await this.distrust(message.node).catch(() => undefined);
      else this.watched.add(message.node);
    }
  }

  /** Docker keeps only its last 256 events for a stream that was interrupted. */
  private async distrust(node: string | null): Promise<void> {
    for (const { slot } of await this.slots.all()) {
      if (slot.nodeId === node && slot.engineId !== null) this.used.set(slot.engineId, true);
    }
  }
}
