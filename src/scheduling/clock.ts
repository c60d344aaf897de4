import { Injectable } from '@nestjs/common';

/**
 * The time by which the rules of the domain go: sessions, runs, idleness, usage, retention, the ends of tokens.
 * Injected, so that a test need not wait for 50 hours. Leases and timeouts are measured in one process, by a
 * {@link Stopwatch}.
 *
 * Where several processes share a database, all follow its clock: a machine whose clock is wrong must not charge a
 * user, or end a session, at a wrong time. Until {@link follow} is called, it is the clock of this machine.
 */
@Injectable()
export class Clock {
  /** The last time read from the database, and when it was read. */
  private reference: { readonly time: number; readonly readAt: Stopwatch } | null = null;

  now(): Date {
    const { reference } = this;
    return new Date(reference === null ? Date.now() : Math.round(reference.time + reference.readAt.steadyAge));
  }

  /**
   * Sets the clock by another one.
   *
   * @param time what that said, in milliseconds since 1970
   * @param askedAt when it was asked: its answer is from then or later. While the clock agrees within that uncertainty
   *   it is left as it is, so that it does not step with every answer.
   */
  follow(time: number, askedAt: Stopwatch): void {
    const uncertainty = askedAt.steadyAge;
    const isRight = this.reference !== null && Math.abs(this.now().getTime() - time) <= uncertainty + 1;
    // A monotonic clock drifts, so the reference is read again each time; the time told does not jump by it.
    this.reference = { time: isRight ? this.now().getTime() : time, readAt: new Stopwatch() };
  }
}

/**
 * A moment in this process, to measure from. By the monotonic clock, which no administrator sets, and by the wall clock
 * beside it, which unlike the other one also goes on while the machine is suspended: the longer of the two counts.
 */
export class Stopwatch {
  private readonly steady = performance.now();
  private readonly wall = Date.now();

  /** Milliseconds since then, rather too many than too few. */
  get age(): number {
    return Math.max(performance.now() - this.steady, Date.now() - this.wall);
  }

  /** Milliseconds since then, whatever became of the wall clock. */
  get steadyAge(): number {
    return performance.now() - this.steady;
  }
}
