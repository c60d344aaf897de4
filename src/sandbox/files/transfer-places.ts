import { setTimeout as delay } from 'node:timers/promises';
import { DomainError } from '../../errors';
import { KeyedLimiter } from '../../scheduling';

/** How many of these calls one container may have at a time, of one process. */
const MOST_TRANSFERS = 16;
/** How long a call waits for scripts whose calls have been answered. They usually exit within milliseconds. */
const ENDING_MS = 2_000;

/** A call's place among those of its container. */
export interface TransferPlace {
  /** The call is over; its place is free once its scripts are gone too. */
  leave(scripts: readonly Promise<void>[]): void;
}

/** Limits how many scripts run in one container: a script counts until it is gone, whether or not its call is over. */
export class TransferPlaces {
  private readonly places = new KeyedLimiter(MOST_TRANSFERS);
  /** Resolve when a place becomes free whose call is over. */
  private readonly ending = new Map<string, Set<Promise<void>>>();

  /** Waits a moment for a place of a call that is over. @throws DomainError `too_many_transfers` */
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
