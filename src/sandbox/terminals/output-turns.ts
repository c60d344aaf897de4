/**
 * The bytes that all senders together send in one turn of the event loop, exceeded by at most one frame: a few
 * milliseconds of work.
 */
const TURN_BYTES = 256 * 1024;

/** A sender with output to send. */
interface Sender {
  /** Sends one frame. @returns its bytes; 0 if there is nothing to send now */
  sendFrame(): number;
}

/**
 * Shares the event loop among the senders of output. In each turn they send one frame after the other, up to a limit,
 * so that neither requests nor other terminals wait for a flood.
 */
export class OutputTurns {
  private readonly waiting = new Set<Sender>();
  private isPlanned = false;

  /** Lets the sender send one frame in the next turn, or a later one. Adding it again has no effect. */
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

  /** A sender with more output adds itself again, behind the others. */
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
