/** Runs jest: its own output is shown as it comes, its numbers come from the report of test/support/jest-report.js. */
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { run } from './command.mjs';
import { sendSignal } from './process-identity.mjs';
import { projectRoot } from './project.mjs';
import { isEnding } from './shutdown.mjs';
import { say } from './steps.mjs';
import { MOST_UNSTEADY } from './tally.mjs';
import { durations } from './test-durations.mjs';
import { rememberGroup, temporaryFolder } from './test-remains.mjs';

const jest = join('node_modules', 'jest', 'bin', 'jest.js');

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Of each failed test: what fits on a screen, as the whole is further up. */
const MESSAGE_CHARACTERS = 1_500;

/** A line of a stack outside the project. */
const FOREIGN_FRAME = /^ +at .*(node_modules|node:|processTicksAndRejections).*\n?|^ +at new Promise.*\n?/gm;

/** What failed, file and test, each with the beginning of its message; a file that did not load has no test. */
function failuresOf({ testResults }) {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((test) => test.status === 'failed');
    const tests = failed.map(({ fullName, failureMessages }) => ({
      title: fullName,
      text: failureMessages.join('\n'),
    }));
    const unloaded = status === 'failed' && tests.length === 0 ? [{ title: 'did not run', text: message }] : [];
    return [...tests, ...unloaded].map(({ title, text }) => {
      const plain = stripVTControlCharacters(text).replace(FOREIGN_FRAME, '').slice(0, MESSAGE_CHARACTERS);
      return `${relative(projectRoot, name)}: ${title}\n${plain.replace(/^/gm, '    ')}`;
    });
  });
}

/** How long jest may take to end once it has written its report, in seconds. */
const ENDING_S = 20;

/**
 * What a test left open must not keep the run from ending, and counts as a failure of it.
 * @param {string} report written last @param {number} group of jest's processes
 */
function endAfter(report, group) {
  let seconds = 0;
  const timer = setInterval(() => {
    if (existsSync(report)) seconds += 1;
    if (seconds <= ENDING_S) return;
    clearInterval(timer);
    say('✗ jest does not end: a test left something open (--detectOpenHandles says what)');
    sendSignal(-group, 'SIGKILL');
  }, 1_000);
  return timer;
}

/**
 * @param {string} pattern
 * @param {{ projects: string[], args: string[], env: object }} options as of a run
 * @returns {Promise<boolean>} whether that run has a file among its own that the pattern fits
 */
export async function willRun(pattern, { projects, args, env }) {
  const options = ['--listTests', '--passWithNoTests', '--selectProjects', ...projects, ...args];
  const listed = await run(process.execPath, [jest, ...options], { cwd: projectRoot, env });
  return listed.split('\n').some((file) => new RegExp(pattern).test(file));
}

const failedFiles = ({ testResults }) => testResults.filter(({ status }) => status === 'failed');

const passedTests = (files) =>
  files.flatMap(({ assertionResults }) => assertionResults).filter(({ status }) => status === 'passed').length;

/** The tests of a file build on each other: the first failure explains the rest. */
function firstOfEach(details) {
  const byFile = new Map();
  for (const detail of details) {
    const [file] = detail.split(': ', 1);
    if (!byFile.has(file)) byFile.set(file, detail);
  }
  return [...byFile.values()];
}

/**
 * @param {{ projects: string[], args: string[], env: object, node?: string, niceness?: number,
 *   again?: boolean }} options projects: of jest.config.js; node: the Node.js that runs them; niceness: below 0, of
 *   those whose promises are about time, it needs root; again: run files that failed once more, by themselves
 * @returns {Promise<{ passed: number, failed: number, skipped: number, details: string[], unsteady: string[] }>}
 *   details: of what failed; unsteady: the first failure of each file that passed when it ran again
 */
export async function runJest({ again = false, ...options }) {
  const first = await runOnce(options);
  const files = first.report ? failedFiles(first.report) : [];
  // A file of two projects is listed twice.
  const paths = [...new Set(files.map(({ name }) => name))];
  const isOver = first.failed === 0 || isEnding() || paths.length === 0 || paths.length > MOST_UNSTEADY;
  if (!again || isOver) return { ...first, unsteady: [] };
  say(`→ once more, by themselves: ${paths.map((path) => relative(projectRoot, path)).join(', ')} …`);
  // In the first run they end with their worker, whatever they leave open.
  const args = ['--runInBand', '--forceExit', '--runTestsByPath', ...paths];
  const second = await runOnce({ ...options, args });
  return {
    passed: first.passed - passedTests(files) + second.passed,
    failed: second.failed,
    skipped: first.skipped,
    details: second.details,
    unsteady: second.failed > 0 ? [] : firstOfEach(first.details),
  };
}

/** Runs of the same projects may overlap: each has a report of its own. */
let runs = 0;

async function runOnce({ projects, args, env, node = process.execPath, niceness = 0 }) {
  const report = join(temporaryFolder(), `jest-${(runs += 1)}.json`);
  const options = ['--ci', '--selectProjects', ...projects, ...args];
  const color = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  let unending;
  const succeeded = await run(node, [jest, ...options], {
    cwd: projectRoot,
    env: { ...env, ...color, TEST_REPORT: report },
    show: true,
    niceness,
    onStart: (pid) => {
      rememberGroup(pid);
      unending = endAfter(report, pid);
    },
  }).then(
    () => true,
    () => false,
  );
  clearInterval(unending);
  const result = readReport(report);
  if (!result) return { passed: 0, failed: 1, skipped: 0, details: [], report: undefined };
  durations.add(result);
  // A file that does not even load has no tests to count, but fails.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const ran = result.numPassedTests + failed > 0;
  return {
    passed: result.numPassedTests,
    failed: succeeded || failed > 0 || !ran ? failed : 1,
    skipped: result.numPendingTests + result.numTodoTests,
    details: failuresOf(result),
    report: result,
  };
}
