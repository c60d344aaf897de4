import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The clock of server processes, which a test sets: those that have its `environment` go by it (clock-preload.js). */
export class MovingClock {
  constructor(private readonly file: string) {
    this.set(0);
  }

  get environment(): Readonly<Record<string, string>> {
    const preload = join(process.cwd(), 'test/support/fakes/clock-preload.js');
    return { NODE_OPTIONS: `--require=${preload}`, TEST_CLOCK_FILE: this.file };
  }

  /** @param offsetMs against the machine's own clock, to a whole millisecond; below 0 it is behind */
  set(offsetMs: number): void {
    // Whole at any time. A clock has no parts of milliseconds, and packages rely on it.
    writeFileSync(`${this.file}.new`, String(Math.round(offsetMs)));
    renameSync(`${this.file}.new`, this.file);
  }
}
