import { Injectable } from '@nestjs/common';

/**
 * The time by which the rules of the domain go: sessions, runs, idleness, retention. Injected, so that a test need not
 * wait for 50 hours. Leases and timeouts go by the machine's own clock.
 */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }
}

/**
 * A moment in this process, to measure from. By the monotonic clock, which no administrator sets, and by the wall clock
 * beside it, which unlike the other one also goes on while the machine is suspended: the longer of the two counts.
 */
export class Moment {
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
