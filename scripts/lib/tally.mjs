/** Counts what passed, over checks and test runners, for the one line at the end. */
export class Tally {
  passed = 0;
  failed = 0;
  skipped = 0;
  failures = [];
  /** What failed in these, in some lines each. */
  details = [];

  /** @param {string} name @param {boolean} passed */
  check(name, passed) {
    this.add({ name, passed: passed ? 1 : 0, failed: passed ? 0 : 1 });
  }

  add({ name, passed = 0, failed = 0, skipped = 0, details = [] }) {
    this.passed += passed;
    this.failed += failed;
    this.skipped += skipped;
    if (failed) this.failures.push(name);
    this.details.push(...details);
  }

  /** No test at all is a failure: nothing was proved. */
  get isGood() {
    return this.failed === 0 && this.passed > 0;
  }

  toString() {
    const skipped = this.skipped ? `, ${this.skipped} skipped` : '';
    return `${this.passed} passed, ${this.failed} failed${skipped}`;
  }
}
