/** Runs jest: its own output is shown as it comes, its numbers are read from its JSON report. */
import { readFileSync, rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename, join } from 'node:path';
import { run } from './command.mjs';
import { projectRoot } from './project.mjs';
import { rememberGroup, temporaryFolder } from './test-remains.mjs';

const jest = join('node_modules', 'jest', 'bin', 'jest.js');

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The files that a run waits for, so that one which has become slow is seen. */
function slowestOf({ testResults }) {
  const seconds = ({ startTime, endTime }) => Math.round((endTime - startTime) / 1_000);
  return testResults
    .map((file) => ({ name: basename(file.name), seconds: seconds(file) }))
    .filter(({ seconds: taken }) => taken >= 20)
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, 5)
    .map(({ name, seconds: taken }) => `${name} ${taken} s`);
}

/**
 * @param {{ projects: string[], args: string[], env: object, niceness?: number }} options
 *   projects: of jest.config.js; niceness: below 0, of those whose promises are about time, it needs root
 * @returns {Promise<{ passed: number, failed: number, skipped: number, slowest: string[] }>}
 */
export async function runJest({ projects, args, env, niceness = 0 }) {
  const report = join(temporaryFolder(), `jest-${projects.join('-')}.json`);
  rmSync(report, { force: true });
  // What a failed test left open must not keep the run from ending.
  const endings = ['--forceExit', '--json', `--outputFile=${report}`];
  const options = ['--ci', '--selectProjects', ...projects, ...endings, ...args];
  const color = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const succeeded = await run(process.execPath, [jest, ...options], {
    cwd: projectRoot,
    env: { ...env, ...color },
    show: true,
    onStart: (pid) => {
      rememberGroup(pid);
      if (niceness !== 0) setPriority(pid, niceness);
    },
  }).then(
    () => true,
    () => false,
  );
  const result = readReport(report);
  if (!result) return { passed: 0, failed: 1, skipped: 0, slowest: [] };
  // A file that does not even load has no tests to count, but fails.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const ran = result.numPassedTests + failed > 0;
  return {
    passed: result.numPassedTests,
    failed: succeeded || failed > 0 || !ran ? failed : 1,
    skipped: result.numPendingTests + result.numTodoTests,
    slowest: slowestOf(result),
  };
}
