/** Repeats work with a pause between its end and its next start. Does not keep the process alive. */
export class Poll {
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private failing = false;

  constructor(
    private readonly options: {
      readonly everyMs: number;
      readonly work: () => Promise<unknown>;
      /** Called for the first failure in a row only. */
      readonly onFault: (error: unknown) => void;
    },
  ) {}

  start(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => void this.once(), this.options.everyMs);
    this.timer.unref();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async once(): Promise<void> {
    try {
      await this.options.work();
      this.failing = false;
    } catch (error) {
      if (!this.failing && !this.stopped) this.options.onFault(error);
      this.failing = true;
    }
    this.start();
  }
}
