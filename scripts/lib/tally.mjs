import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './project.mjs';

/** Lists the files that failed and passed when they ran again, with what is known of each race. */
const KNOWN_RACES = join('test', 'known-races.md');

/** The most files that may pass only when they run again. More that fail at once are no race, and do not run again. */
export const MOST_UNSTEADY = 3;
const TOO_UNSTEADY = 'too many tests passed only when they ran again';

/** Counts what passed, over checks and test runners, for the one line at the end. */
export class Tally {
  /** As of `npm test`. `npm test -- all` is two such runs. */
  mostUnsteady = MOST_UNSTEADY;
  passed = 0;
  failed = 0;
  skipped = 0;
  failures = [];
  /** What failed in these, in some lines each. */
  details = [];
  /** The first failure of each file that passed when it ran again by itself. */
  unsteady = [];

  /** @param {string} name @param {boolean} passed */
  check(name, passed) {
    this.add({ name, passed: passed ? 1 : 0, failed: passed ? 0 : 1 });
  }

  add({ name, passed = 0, failed = 0, skipped = 0, details = [], unsteady = [] }) {
    this.passed += passed;
    this.failed += failed;
    this.skipped += skipped;
    if (failed) this.failures.push(name);
    this.details.push(...details);
    this.unsteady.push(...unsteady);
    if (this.unsteady.length > this.mostUnsteady && !this.failures.includes(TOO_UNSTEADY))
      this.failures.push(TOO_UNSTEADY);
  }

  /** @returns {string[]} lines about the files that passed only when they ran again */
  get races() {
    const known = readFileSync(join(projectRoot, KNOWN_RACES), 'utf8');
    return this.unsteady.map((failure) => {
      const [file] = failure.split(': ', 1);
      const where = known.includes(`\`${file}\``) ? `see ${KNOWN_RACES}` : `add it to ${KNOWN_RACES}`;
      return `! passed only when it ran again by itself (${where}): ${failure}`;
    });
  }

  /** No test at all is a failure: nothing was proved. */
  get isGood() {
    return this.failures.length === 0 && this.passed > 0;
  }

  toString() {
    const skipped = this.skipped ? `, ${this.skipped} skipped` : '';
    const unsteady = this.unsteady.length ? `, ${this.unsteady.length} only when run again` : '';
    return `${this.passed} passed, ${this.failed} failed${unsteady}${skipped}`;
  }
}
