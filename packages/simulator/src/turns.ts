import { setImmediate as soon, setTimeout as delay } from 'node:timers/promises';

/** How long simulated programs may run without a turn for the server, in milliseconds. */
const SLICE_MS = 4;
/** How long one may run without waiting for anything before it is held back. */
const SPIN_MS = 20;
/** For how long it then is: a program that never rests must not take the server's processor. */
const REST_MS = 30;

let sliceBegan = 0;

/** A program's turns on the one processor that it shares with the server. */
export class Turns {
  private spunMs = 0;

  /** @param note is told how long the program ran */
  constructor(private readonly note: (ms: number) => void) {}

  /** To be awaited often. */
  async take(): Promise<void> {
    const ran = performance.now() - sliceBegan;
    if (ran < SLICE_MS) return;
    const counted = Math.min(ran, 2 * SLICE_MS);
    this.note(counted);
    this.spunMs += counted;
    if (this.spunMs >= SPIN_MS) {
      this.spunMs = 0;
      await delay(REST_MS, undefined, { ref: false });
    } else await soon();
    sliceBegan = performance.now();
  }

  /** It waits for something. */
  rested(): void {
    this.spunMs = 0;
  }
}
