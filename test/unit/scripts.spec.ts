import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** Runs statements beside the ES modules of `scripts/lib`, which jest cannot load. @returns what they print */
async function run(script: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  return stdout.trim();
}

it('must count a process that ends just before its signal as ended', async () => {
  const script = `
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    import { endProcess, identityOf } from './scripts/lib/process-identity.mjs';
    const child = spawn('sleep', ['600']);
    const identity = identityOf(child.pid);
    const kill = process.kill.bind(process);
    process.kill = (pid, signal) => {
      process.kill = kill;
      kill(pid, 'SIGKILL');
      throw Object.assign(new Error('kill ESRCH'), { code: 'ESRCH' });
    };
    console.log(await endProcess(identity));`;
  expect(await run(script)).toBe('true');
});

it.each([
  [3, 'true 9 passed, 0 failed, 3 only when run again'],
  [4, 'false 9 passed, 0 failed, 4 only when run again'],
])('must pass a run whose %d files passed only when run again, unless there are too many', async (count, result) => {
  const script = `
    import { Tally } from './scripts/lib/tally.mjs';
    const tally = new Tally();
    tally.add({ name: 'tests', passed: 9, unsteady: Array(${count}).fill('a.spec.ts: a promise') });
    console.log(tally.isGood, tally.toString());`;
  expect(await run(script)).toBe(result);
});

it('must report a test that throws a circular value, which a JSON report of jest cannot contain', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-test-'));
  try {
    await writeFile(
      join(folder, 'circular.spec.js'),
      `it('must fail', () => { const error = new Error('injected'); error.itself = error; throw error; });`,
    );
    const script = `
      import { readFileSync } from 'node:fs';
      import { run } from './scripts/lib/command.mjs';
      const reporter = ['default', ['${resolve('test/support/jest-report.js')}', { output: '${folder}/report.json' }]];
      const config = JSON.stringify({ rootDir: '${folder}', reporters: reporter });
      await run(process.execPath, ['node_modules/jest/bin/jest.js', '--ci', '--config', config]).catch(() => {});
      const { numFailedTests, testResults: [{ status, assertionResults: [test] }] } =
        JSON.parse(readFileSync('${folder}/report.json', 'utf8'));
      console.log(numFailedTests, status, test.fullName, /injected/.test(test.failureMessages));`;
    expect(await run(script)).toBe('1 failed must fail true');
  } finally {
    await rm(folder, { recursive: true });
  }
});
