import { Clock } from '../../../src/scheduling/clock';

/** A clock that runs from the present and can be advanced. */
export class TestClock extends Clock {
  private aheadMs = 0;

  override now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  forward(ms: number): void {
    this.aheadMs += ms;
  }
}
