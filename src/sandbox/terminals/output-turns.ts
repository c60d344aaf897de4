/** What all together send in one turn of the event loop, in bytes, and at most a frame over: a few milliseconds. */
const TURN_BYTES = 256 * 1024;

/** Somebody who has output to send. */
interface Sender {
  /** Sends one frame. @returns its bytes; 0 where there is nothing to send now */
  sendFrame(): number;
}

/**
 * Shares the event loop among those who send output: in each of its turns so many bytes, a frame at a time and one
 * after the other, so that neither requests nor other terminals wait for a flood.
 */
export class OutputTurns {
  private readonly waiting = new Set<Sender>();
  private isPlanned = false;

  /** It sends in the next turn, or a later one. More than once is as once. */
  add(sender: Sender): void {
    this.waiting.add(sender);
    this.plan();
  }

  delete(sender: Sender): void {
    this.waiting.delete(sender);
  }

  has(sender: Sender): boolean {
    return this.waiting.has(sender);
  }

  private plan(): void {
    if (this.isPlanned || this.waiting.size === 0) return;
    this.isPlanned = true;
    setImmediate(() => this.turn());
  }

  /** Who has more to send adds itself again, behind the others. */
  private turn(): void {
    let left = TURN_BYTES;
    for (const sender of this.waiting) {
      if (left <= 0) break;
      this.waiting.delete(sender);
      left -= sender.sendFrame();
    }
    this.isPlanned = false;
    this.plan();
  }
}
