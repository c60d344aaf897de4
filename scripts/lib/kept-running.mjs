/** A process that is started again whenever it ends without having been asked to, after a pause that grows. */
import { Problem } from './problem.mjs';
import { say } from './steps.mjs';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** What ran for so long has not ended for the reason that ended it before. */
const STEADY_MS = 60_000;

/**
 * @returns {number} how long to wait before the next start
 * @param {{ last: number, ranMs: number }} options last: 0 at first
 */
export function nextPause({ last, ranMs }) {
  if (last === 0 || ranMs >= STEADY_MS) return FIRST_PAUSE_MS;
  return Math.min(last * 2, LONGEST_PAUSE_MS);
}

/**
 * @typedef {object} Startable
 * @property {Promise<{ code: number | null, signal: string | null }>} ended
 * @property {(options: { onSlow: () => void }) => Promise<unknown>} untilReady resolves with nothing, or throws a
 *   Problem, if it ended before; may tell that it takes long
 * @property {(options: { hurry?: AbortSignal }) => Promise<boolean>} stop
 */

export class KeptRunning {
  /**
   * @param {string} name as it is called in messages
   * @param {{ launch: () => Promise<Startable> | Startable, onReady?: (process: Startable, ready: any) => void }}
   *   options onReady: called at every start, with what `untilReady` said
   */
  constructor(name, { launch, onReady }) {
    Object.assign(this, { name, launch, onReady });
    this.stopping = new AbortController();
    /** @type {Startable | undefined} */
    this.current = undefined;
    this.pauseMs = 0;
  }

  /** The first start, which must succeed. @throws Problem */
  async start() {
    if (!(await this.begin())) throw new Problem(`${this.name} ended before it was ready; what it said last is above.`);
    void this.keep();
  }

  /** No start comes after this. @returns {Promise<boolean>} false if it had to be killed */
  async stop({ hurry } = {}) {
    this.stopping.abort();
    return (await this.current?.stop({ hurry })) ?? true;
  }

  /** @returns {Promise<boolean>} whether it is ready now */
  async begin() {
    const process = await this.launch();
    this.current = process;
    // Told to stop while it was made.
    if (this.stopping.signal.aborted) await process.stop({});
    const ready = await process.untilReady({ onSlow: () => say(`! ${this.name} is slow to start; still waiting`) });
    if (ready === undefined) return false;
    this.onReady?.(process, ready);
    return true;
  }

  async keep() {
    for (let since = Date.now(); ; since = Date.now()) {
      const { code, signal } = await this.current.ended;
      await this.pause(`ended by itself (${signal ?? `code ${code}`})`, { ranMs: Date.now() - since });
      while (!this.stopping.signal.aborted && !(await this.beginAgain()))
        await this.pause('did not start', { ranMs: 0 });
      if (this.stopping.signal.aborted) return;
    }
  }

  async beginAgain() {
    try {
      return await this.begin();
    } catch (error) {
      say(`✗ ${error.message}`);
      // What does not answer may be there all the same.
      await this.current?.stop({});
      return false;
    }
  }

  async pause(what, { ranMs }) {
    if (this.stopping.signal.aborted) return;
    this.pauseMs = nextPause({ last: this.pauseMs, ranMs });
    say(`✗ ${this.name} ${what}; it is started again in ${this.pauseMs / 1000} s`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, this.pauseMs);
      this.stopping.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
