import { Clock } from '../../../src/scheduling/clock';

/** A clock that runs on from the present and can be put forward. */
export class TestClock extends Clock {
  private aheadMs = 0;

  override now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  forward(ms: number): void {
    this.aheadMs += ms;
  }
}
