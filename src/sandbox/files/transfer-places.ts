import { setTimeout as delay } from 'node:timers/promises';
import { DomainError } from '../../errors';
import { KeyedLimiter } from '../../scheduling';

/** Maximum concurrent calls in one container, for each Berth process. */
const MOST_TRANSFERS = 16;
/** How long a call waits for the scripts of completed calls, which usually exit within milliseconds. */
const ENDING_MS = 2_000;

/** A call's slot among those of its container. */
interface TransferPlace {
  /** The call is over. Its slot becomes free when its scripts are gone. */
  leave(scripts: readonly Promise<void>[]): void;
}

/** Limits the scripts that run in one container. A script counts until it is gone, even if its call is over. */
export class TransferPlaces {
  private readonly places = new KeyedLimiter(MOST_TRANSFERS);
  /** For each container, promises that resolve when the slot of a completed call becomes free. */
  private readonly ending = new Map<string, Set<Promise<void>>>();

  /** Takes a slot, after a short wait for completed calls if necessary. @throws DomainError `too_many_transfers` */
  async take(containerId: string): Promise<TransferPlace> {
    const until = performance.now() + ENDING_MS;
    for (;;) {
      const giveBack = this.places.take(containerId);
      if (giveBack) return { leave: (scripts) => this.leaveOnce(containerId, giveBack, scripts) };
      const ending = this.ending.get(containerId);
      const leftMs = until - performance.now();
      if (!ending || leftMs <= 0) throw new DomainError('too_many_transfers', { fields: { limit: MOST_TRANSFERS } });
      const waited = new AbortController();
      const late = delay(leftMs, undefined, { signal: waited.signal }).catch(() => undefined);
      await Promise.race([late, ...ending]);
      waited.abort();
    }
  }

  private leaveOnce(containerId: string, giveBack: () => void, scripts: readonly Promise<void>[]): void {
    if (scripts.length === 0) {
      giveBack();
      return;
    }
    const ending = this.ending.get(containerId) ?? new Set();
    this.ending.set(containerId, ending);
    const free = Promise.all(scripts).then(() => {
      ending.delete(free);
      if (ending.size === 0) this.ending.delete(containerId);
      giveBack();
    });
    ending.add(free);
  }
}
