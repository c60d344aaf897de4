import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A clock of server processes that a test sets. It applies to processes with its `environment` (clock-preload.js). */
export class MovingClock {
  constructor(private readonly file: string) {
    this.set(0);
  }

  get environment(): Readonly<Record<string, string>> {
    const preload = join(process.cwd(), 'test/support/fakes/clock-preload.js');
    return { NODE_OPTIONS: `--require=${preload}`, TEST_CLOCK_FILE: this.file };
  }

  /** @param offsetMs added to the machine's own clock, rounded to a millisecond; negative values set it back */
  set(offsetMs: number): void {
    // Replaced atomically, so that it is whole at any time. Rounded: packages rely on clocks without fractions.
    writeFileSync(`${this.file}.new`, String(Math.round(offsetMs)));
    renameSync(`${this.file}.new`, this.file);
  }
}
