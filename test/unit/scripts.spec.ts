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

it('names the file and the first failure of a race, and whether test/known-races.md has the file', async () => {
  const script = `
    import { Tally } from './scripts/lib/tally.mjs';
    const tally = new Tally();
    const unsteady = ['test/e2e/attacks.more-spec.ts: a promise', 'src/unheard-of.spec.ts: another'];
    tally.add({ name: 'tests', passed: 9, unsteady });
    console.log(tally.races.join('|'));`;
  expect(await run(script)).toBe(
    '! passed only when it ran again by itself (see test/known-races.md): test/e2e/attacks.more-spec.ts: a promise|' +
      '! passed only when it ran again by itself (add it to test/known-races.md): src/unheard-of.spec.ts: another',
  );
});

it('keeps the seconds of each file by project, the longest first, and those of earlier runs', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-test-'));
  try {
    const recorded = join(folder, 'recorded.json');
    const own = join(folder, 'own.json');
    await writeFile(recorded, JSON.stringify({ 'e2e test/long.e2e-spec.ts': 70, 'sqlite test/a.e2e-spec.ts': 50 }));
    const script = `
      import { readFileSync } from 'node:fs';
      import { join } from 'node:path';
      import { TestDurations } from './scripts/lib/test-durations.mjs';
      const durations = new TestDurations({ own: '${own}', recorded: '${recorded}' });
      const file = (name, project, s) => ({ name: join(process.cwd(), name), project, startTime: 0, endTime: s * 1000 });
      durations.add({ testResults: [file('test/a.e2e-spec.ts', 'sqlite', 6), file('test/a.e2e-spec.ts', 'postgres', 9)] });
      durations.add({ testResults: [file('test/a.e2e-spec.ts', 'postgres', 1), file('test/b.e2e-spec.ts', 'e2e', 2)] });
      console.log(durations.longest(1).join());
      durations.save();
      console.log(JSON.stringify(JSON.parse(readFileSync('${own}', 'utf8'))));`;
    expect(await run(script)).toBe(
      '9 s  postgres test/a.e2e-spec.ts\n' +
        '{"e2e test/long.e2e-spec.ts":70,"postgres test/a.e2e-spec.ts":9,"sqlite test/a.e2e-spec.ts":6}',
    );
  } finally {
    await rm(folder, { recursive: true });
  }
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

it.each([
  [{ small: 1, pro: 2, large: 9 }, 'pro'],
  [{ guest: 99, small: 1, large: 9 }, 'large'],
  [{ guest: 1 }, 'guest'],
])('makes the token to try with a tier that there is: of %j %s', async (containers, tier) => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-test-'));
  try {
    const tiers = Object.fromEntries(Object.entries(containers).map(([name, count]) => [name, { containers: count }]));
    await writeFile(join(folder, 'tiers.json'), JSON.stringify({ tiers }));
    const script = `
      import { demoTier } from './scripts/lib/demo-token.mjs';
      console.log(demoTier(undefined), demoTier('${folder}/tiers.json'));`;
    expect(await run(script)).toBe(`pro ${tier}`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it.each([
  ['runsc version release-20260622.0', 'runsc version 0.0~20240729.0', 'true'],
  ['runsc version release-20240729.1', 'runsc version 0.0~20240729.0', 'true'],
  ['runsc version 0.0~20240729.0', 'runsc version release-20240729.0', 'false'],
  ['runsc version VERSION_MISSING', 'runsc version 0.0~20240729.0', 'false'],
])('takes %s for newer than %s: that is %s', async (one, other, isNewer) => {
  const script = `
    import { releaseIn } from './scripts/lib/gvisor.mjs';
    console.log(releaseIn('${one}') > releaseIn('${other}'));`;
  expect(await run(script)).toBe(isNewer);
});

it('finds the newest gVisor of the search path, wherever it is', async () => {
  const folders = await Promise.all([1, 2, 3].map(() => mkdtemp(join(tmpdir(), 'berth-test-'))));
  const [broken = '', old = '', current = ''] = folders;
  try {
    await writeFile(join(broken, 'runsc'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    await writeFile(join(old, 'runsc'), '#!/bin/sh\necho runsc version 0.0~20240729.0\n', { mode: 0o755 });
    await writeFile(join(current, 'runsc'), '#!/bin/sh\necho runsc version release-99990101.0\n', { mode: 0o755 });
    const script = `
      process.env.PATH = '${folders.join(':')}:' + process.env.PATH;
      const { findGvisor } = await import('./scripts/lib/gvisor.mjs');
      console.log(await findGvisor());`;
    expect(await run(script)).toBe(join(current, 'runsc'));
  } finally {
    for (const folder of folders) await rm(folder, { recursive: true });
  }
});
