import { isBerthError } from '@berth/client';
import { berth } from './berth';
import { readWhileVisible } from './visible';

/** A folder is listed again this long after a change, so that a burst is one list, in milliseconds. */
const SETTLE_MS = 300;
/** Pause between lists of a folder that changes all the time. */
const BETWEEN_MS = 2_000;

/**
 * Calls `reload` when a folder has changed, while the page is visible: a hidden one takes no connection, and does not
 * keep its container in use. If the watch is refused, nothing happens.
 *
 * @param reload must not reject
 * @returns a function that ends it
 */
export function watchFolder(id: string, folder: string, reload: () => Promise<void>): () => void {
  const reloads = new Reloads(reload);
  let isFirst = true;
  const follow = async (signal: AbortSignal): Promise<void> => {
    const messages = await berth.files.watch(id, folder, { signal });
    // What changed before is not told.
    if (!isFirst) reloads.ask();
    isFirst = false;
    for await (const message of messages) {
      if (message.type === 'changes' || message.reason === 'directory_removed') reloads.ask();
      else if (message.reason === 'server_stopped') throw new Error(message.reason);
    }
  };
  const isRefusal = (error: unknown): boolean => isBerthError(error) && error.status >= 400 && error.status < 500;
  const leave = readWhileVisible(
    (signal) =>
      follow(signal).catch((error: unknown) => {
        if (!isRefusal(error)) throw error;
      }),
    () => undefined,
  );
  return () => {
    leave();
    reloads.close();
  };
}

/** Lists a folder again, once for changes that come together, and with pauses in between. */
class Reloads {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isBusy = false;
  private isWanted = false;
  private isClosed = false;

  constructor(private readonly reload: () => Promise<void>) {}

  ask(): void {
    this.isWanted = true;
    if (!this.isBusy && !this.isClosed) this.runIn(SETTLE_MS);
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
  }

  private runIn(ms: number): void {
    this.isBusy = true;
    this.timer = setTimeout(() => {
      this.isWanted = false;
      void this.reload().then(() => {
        this.isBusy = false;
        if (this.isWanted && !this.isClosed) this.runIn(BETWEEN_MS);
      });
    }, ms);
  }
}
