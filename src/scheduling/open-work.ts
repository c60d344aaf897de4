import { Poll } from './poll';

interface OpenWorkOptions<T> {
  readonly everyMs: number;
  /**
   * Called for each round of checks.
   *
   * @returns whether one piece of work may go on; work whose check rejects goes on
   */
  readonly check: () => (work: T) => Promise<boolean>;
  readonly onFault: (error: unknown) => void;
}

/**
 * Open connections that must end when they may not go on: checked regularly, and at once when a signal tells of a
 * change.
 */
export class OpenWork<T extends { readonly end: () => void }> {
  private readonly open = new Set<T>();
  private readonly poll: Poll;

  constructor(private readonly options: OpenWorkOptions<T>) {
    const { everyMs, onFault } = options;
    this.poll = new Poll({ everyMs, work: () => this.check([...this.open]), onFault });
  }

  start(): void {
    this.poll.start();
  }

  /** Ends all, and checks no more. */
  close(): void {
    this.poll.stop();
    for (const { end } of [...this.open]) end();
  }

  /** @returns a function to be called when the work has ended */
  add(work: T): () => void {
    this.open.add(work);
    return () => void this.open.delete(work);
  }

  /** Checks some of the work, in the background. */
  checkNow(isConcerned: (work: T) => boolean): void {
    const concerned = [...this.open].filter(isConcerned);
    if (concerned.length > 0) this.check(concerned).catch(this.options.onFault);
  }

  private async check(all: readonly T[]): Promise<void> {
    const goesOn = this.options.check();
    const outcomes = await Promise.allSettled(
      all.map(async (work) => {
        if (!(await goesOn(work))) work.end();
      }),
    );
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason as Error;
  }
}
