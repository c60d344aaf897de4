import { Injectable } from '@nestjs/common';

/**
 * The time for the rules of the domain: sessions, runs, idleness, usage, retention, expiry of tokens. Injected, so
 * that a test need not wait for 50 hours. Leases and timeouts are measured in one process, by a {@link Stopwatch}.
 *
 * If several processes share a database, all follow its clock: a machine whose clock is wrong must not charge a user,
 * or end a session, at a wrong time. Until {@link follow} is called, this is the machine's clock.
 */
@Injectable()
export class Clock {
  /** The time at the last reading of the database's clock, and when that was. */
  private reference: { readonly time: number; readonly readAt: Stopwatch } | null = null;

  now(): Date {
    const { reference } = this;
    return new Date(reference === null ? Date.now() : Math.round(reference.time + reference.readAt.steadyAge));
  }

  /**
   * Sets the clock by another one.
   *
   * @param time the other clock's, in milliseconds since 1970
   * @param askedAt when the other clock was asked: its answer is from then or later. While this clock agrees within
   *   that uncertainty, it is left as it is, so that it does not step with every answer.
   */
  follow(time: number, askedAt: Stopwatch): void {
    const uncertainty = askedAt.steadyAge;
    const isRight = this.reference !== null && Math.abs(this.now().getTime() - time) <= uncertainty + 1;
    // The monotonic clock drifts, so the reference is set again each time, without a jump of {@link now}.
    this.reference = { time: isRight ? this.now().getTime() : time, readAt: new Stopwatch() };
  }
}

/**
 * Measures the time since its creation, in this process. It uses the monotonic clock, which cannot be set, and the
 * wall clock, which unlike the monotonic one goes on while the machine is suspended.
 */
export class Stopwatch {
  private readonly steady = performance.now();
  private readonly wall = Date.now();

  /** Milliseconds since creation: the larger of both clocks, so rather too many than too few. */
  get age(): number {
    return Math.max(performance.now() - this.steady, Date.now() - this.wall);
  }

  /** Milliseconds since creation by the monotonic clock only. */
  get steadyAge(): number {
    return performance.now() - this.steady;
  }
}
