/**
 * `npm test`: everything that CI checks, on a bare machine: checks, build, unit, data and end-to-end tests, tests under faults.
 * `node scripts/test.mjs check|unit|data|e2e|faults [jest arguments…]` runs one part of it.
 * Its last line is always `N passed, N failed`.
 */
import { build, ensureBuild } from './lib/build.mjs';
import { CommandFailed, findCommand, run } from './lib/command.mjs';
import { cleanEnvironment, readSettings } from './lib/environment-file.mjs';
import { runtimeName } from './lib/gvisor.mjs';
import { startFaultServices } from './lib/fault-services.mjs';
import { runJest } from './lib/jest-run.mjs';
import { printFailure, Problem } from './lib/problem.mjs';
import { projectRoot } from './lib/project.mjs';
import { sandboxImage } from './lib/sandbox-image.mjs';
import { isEnding, runEnd, runScript } from './lib/shutdown.mjs';
import { say, step } from './lib/steps.mjs';
import { Tally } from './lib/tally.mjs';
import { startPostgres, startRedis } from './lib/test-databases.mjs';
import { startTestDocker } from './lib/test-docker.mjs';
import { testImage } from './lib/test-image.mjs';
import { prepareTestRun } from './lib/test-preparation.mjs';
import { findTestRegistry } from './lib/test-registry.mjs';

const checks = { formatting: 'format:check', 'lint and types': 'lint' };

/** Jest projects by part, and what they need. */
const suites = {
  unit: { projects: ['unit'], services: [], args: [] },
  // Two at once: they mostly wait, and each has a database and an instance of its own.
  data: { projects: ['sqlite', 'postgres'], services: ['databases', 'docker', 'registry'], args: ['--maxWorkers=2'] },
  e2e: { projects: ['e2e'], services: ['databases', 'docker', 'registry'], args: ['--runInBand'] },
  faults: { projects: ['faults'], services: ['faulty services'], args: ['--runInBand'] },
};

const tally = new Tally();

/** A check counts as a test, and its output is shown only if it fails. */
async function check(name, work) {
  try {
    await step(name, work);
    tally.check(name, true);
  } catch (error) {
    if (isEnding()) throw error;
    say(`✗ ${name}`);
    if (error instanceof CommandFailed) say(error.output.trim());
    else printFailure(error);
    tally.check(name, false);
  }
}

async function runChecks() {
  for (const [name, script] of Object.entries(checks)) {
    await check(`${name} (npm run ${script})`, (progress) =>
      run(findCommand('npm'), ['run', '-s', script], { cwd: projectRoot, onLine: progress }),
    );
  }
}

const testImages = { TEST_IMAGE: testImage, TEST_SANDBOX_IMAGE: sandboxImage };

/** Each starts something and says where it is. */
const starters = {
  databases: async () => ({
    TEST_POSTGRES_URL: await step('starting PostgreSQL', startPostgres),
    TEST_REDIS_URL: await step('starting Redis', startRedis),
  }),
  docker: async () => ({
    ...{ DOCKER_HOST: (await startTestDocker(readSettings())).host, SANDBOX_RUNTIME: runtimeName },
    ...testImages,
  }),
  registry: async () => ({ TEST_REGISTRY: await findTestRegistry() }),
  'faulty services': async () => ({ ...(await startFaultServices()), SANDBOX_RUNTIME: runtimeName, ...testImages }),
};

const started = new Map();

/** Starts what a part needs and no part before it has started. @returns {Promise<object>} the part's environment */
async function environmentOf(part) {
  const env = cleanEnvironment();
  for (const service of suites[part].services) {
    if (!started.has(service)) started.set(service, await starters[service]());
    Object.assign(env, started.get(service));
  }
  return env;
}

async function runSuite(part, jestArgs) {
  let env;
  try {
    env = await environmentOf(part);
  } catch (error) {
    if (isEnding()) throw error;
    printFailure(error);
    tally.check(`environment of ${part} tests`, false);
    return;
  }
  say(`→ ${part} tests …`);
  const { projects, args } = suites[part];
  const result = await runJest({ projects, args: [...args, ...jestArgs], env });
  if (isEnding()) return;
  say(`${result.failed ? '✗' : '✓'} ${part} tests: ${result.passed} passed, ${result.failed} failed`);
  tally.add({ name: `${part} tests`, ...result });
}

async function runTests([part, ...jestArgs]) {
  const known = ['check', ...Object.keys(suites)];
  if (part && !known.includes(part))
    throw new Problem(`There is no part "${part}".`, [`One of: ${known.join(', ')}; none: all`]);
  await prepareTestRun();
  if (!part || part === 'check') await runChecks();
  if (!part) await check('build (npm run build)', build);
  else if (part !== 'check' && part !== 'unit') await ensureBuild();
  for (const name of part ? [part].filter((one) => one in suites) : Object.keys(suites)) {
    if (!isEnding()) await runSuite(name, jestArgs);
  }
}

async function main() {
  try {
    await runTests(process.argv.slice(2));
  } catch (error) {
    if (isEnding()) return 1;
    printFailure(error);
    tally.check('preparation', false);
  }
  // The clean-up comes first, so that its lines are not the last.
  await runEnd();
  if (tally.failures.length) say(`✗ failed: ${tally.failures.join(', ')}`);
  say(tally.toString());
  return tally.isGood ? 0 : 1;
}

void runScript(main);
