import { E_TIMEOUT, Mutex, withTimeout } from 'async-mutex';

/** A turn in the queue of one key. */
interface Turn {
  /** Whether another caller was first, so that data read earlier may be stale. */
  readonly waited: boolean;
  /** Ends the turn; further calls do nothing. */
  readonly leave: () => void;
}

/**
 * A first-come, first-served queue per key, within this process: ten requests must not poll the database for one row.
 */
export class LocalQueue {
  private readonly mutexes = new Map<string, { mutex: Mutex; users: number }>();

  /** @returns null if the turn did not come within `waitMs` */
  async enter(key: string, waitMs: number): Promise<Turn | null> {
    const entry = this.mutexes.get(key) ?? { mutex: new Mutex(), users: 0 };
    this.mutexes.set(key, entry);
    entry.users += 1;
    const forget = (): void => {
      entry.users -= 1;
      if (entry.users === 0) this.mutexes.delete(key);
    };
    const waited = entry.mutex.isLocked();
    try {
      const release = waited
        ? await withTimeout(entry.mutex, Math.max(1, waitMs)).acquire()
        : await entry.mutex.acquire();
      let left = false;
      const leave = (): void => {
        if (left) return;
        left = true;
        release();
        forget();
      };
      return { waited, leave };
    } catch (error) {
      forget();
      if (error === E_TIMEOUT) return null;
      throw error;
    }
  }
}
