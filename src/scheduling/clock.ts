import { Injectable } from '@nestjs/common';

/**
 * The time by which the rules of the domain go: sessions, runs, idleness, retention. Injected, so that a test need not wait
 * for 50 hours. Claims and timeouts go by the machine's own clock.
 */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }
}
