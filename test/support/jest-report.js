const { writeFileSync } = require('node:fs');

/** Whether a file did not load, or has a test that failed. */
const hasFailed = ({ testExecError, numFailingTests }) => testExecError !== undefined || numFailingTests > 0;

/** @param {object} test a result of jest @returns {object} without what was thrown: that may be circular */
const assertionOf = ({ status, fullName, failureMessages }) => ({ status, fullName, failureMessages });

const fileOf = (file) => ({
  name: file.testFilePath,
  project: file.displayName?.name,
  status: hasFailed(file) ? 'failed' : 'passed',
  startTime: file.perfStats.start,
  endTime: file.perfStats.end,
  message: file.failureMessage ?? '',
  assertionResults: file.testResults.map(assertionOf),
});

/**
 * Writes what `scripts/lib/jest-run.mjs` reads to the file `output`. Jest's own `--json` also writes the thrown values,
 * so that it writes nothing if one of them is circular.
 */
module.exports = class Report {
  constructor(_config, { output }) {
    this.output = output;
  }

  onRunComplete(_contexts, results) {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numRuntimeErrorTestSuites } = results;
    const counts = { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numRuntimeErrorTestSuites };
    const report = { ...counts, testResults: results.testResults.map(fileOf) };
    writeFileSync(this.output, JSON.stringify(report));
  }
};
