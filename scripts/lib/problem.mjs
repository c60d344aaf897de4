/** A failure that a person can act on: what is wrong, and what to do about it. It is printed without a stack. */
export class Problem extends Error {
  /** @param {string} what @param {string[]} advice one line each */
  constructor(what, advice = []) {
    super(what);
    this.name = 'Problem';
    this.advice = advice;
  }
}

/** Prints any failure. `BERTH_DEBUG=1` adds the stack, for those who change these scripts. */
export function printFailure(error) {
  console.error(`✗ ${error.message ?? error}`);
  for (const line of error.advice ?? []) console.error(`  ${line}`);
  if (process.env.BERTH_DEBUG) console.error(error.stack);
  else if (!(error instanceof Problem)) console.error('  BERTH_DEBUG=1 shows where in the scripts this came from.');
}
