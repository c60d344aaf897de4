import { BerthEvent } from './event-map';

/** What one subscription asks for. Callbacks are told synchronously; what they throw is logged and harms nobody else. */
export interface SubscribeOptions {
  readonly userId: string;
  /** The last `seq` seen: what came after it is replayed first. From now on if absent. */
  readonly after?: number;
  /** Told every event once, in `seq` order. */
  readonly onEvent: (event: BerthEvent) => void;
  /**
   * Events between `after` and now cannot be replayed: read the whole state again. It holds what happened up to
   * `eventSeq` at least; events after that follow.
   */
  readonly onResyncRequired: (eventSeq: number) => void;
  /** Awaited between two pages of a replay, so that a slow reader is not buried under all of it at once. */
  readonly ready?: () => Promise<void>;
}

/** One subscription's place in its user's events. */
export class Subscriber {
  closed = false;
  private position = 0;

  constructor(
    private readonly options: SubscribeOptions,
    private readonly onFault: (error: unknown) => void,
  ) {}

  /** `seq` up to which there is nothing more to tell. */
  get seq(): number {
    return this.position;
  }

  /** Takes its place without telling anything. */
  startAt(seq: number): void {
    this.position = seq;
  }

  /** Tells the event unless it was told before. */
  deliver(event: BerthEvent): void {
    if (this.closed || event.seq <= this.position) return;
    this.position = event.seq;
    this.guarded(() => this.options.onEvent(event));
  }

  /** Gives up what lies between its place and `seq`. */
  resync(seq: number): void {
    if (this.closed) return;
    this.position = seq;
    this.guarded(() => this.options.onResyncRequired(seq));
  }

  async ready(): Promise<void> {
    try {
      await this.options.ready?.();
    } catch (error) {
      this.onFault(error);
    }
  }

  private guarded(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.onFault(error);
    }
  }
}
