import { Injectable } from '@nestjs/common';

/** The operations that run in this process now, so that a shutdown can wait for them. */
@Injectable()
export class InFlight {
  private readonly running = new Set<Promise<unknown>>();

  /** Runs `work` and remembers it until it ends. A client that hangs up changes nothing: nobody cancels it. */
  async track<T>(work: () => Promise<T>): Promise<T> {
    const promise = work();
    this.running.add(promise);
    try {
      return await promise;
    } finally {
      this.running.delete(promise);
    }
  }

  get count(): number {
    return this.running.size;
  }

  /** Waits for what runs, including what that starts, at most `ms`. @returns whether everything ended */
  async drain(ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (this.running.size > 0 && performance.now() < deadline) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, deadline - performance.now())));
      await Promise.race([Promise.allSettled(this.running), timeout]);
      clearTimeout(timer);
    }
    return this.running.size === 0;
  }
}
