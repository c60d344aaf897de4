/**
 * `npm test`: every promise, on a bare machine, in minutes: static checks, build, unit, data and end-to-end tests.
 * `npm run test:more` is the long rest: every fault at every call, the whole command line inside containers, the
 * console in a browser, on PostgreSQL the data tests that no database can break alone, the life of a container on a
 * newer Docker, what several machines promise on three Docker nodes, what depends on Node.js on its other versions,
 * thousands of operations under faults.
 *
 * `npm test -- all` is both, on the same services and build.
 *
 * `node scripts/test.mjs [more] check|unit|data|e2e|alone|newer|nodes|nodejs|faults|processes [jest arguments…]` runs
 * one part. The last line is always `N passed, N failed`. Where the machine lacks something that a part needs (root,
 * Docker), the lines before it say what did not run and why; with `CI=true` that is a failure.
 */
import { randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { cpus, freemem } from 'node:os';
import { join } from 'node:path';
import { build, ensureBuild } from './lib/build.mjs';
import { CLUSTERS, startTestNodes } from './lib/cluster/test-nodes.mjs';
import { CommandFailed, findCommand, run } from './lib/command.mjs';
import { buildConsole } from './lib/console-build.mjs';
import { ensureDependencies } from './lib/dependencies.mjs';
import { cleanEnvironment, readSettings } from './lib/environment-file.mjs';
import { runtimeName } from './lib/gvisor.mjs';
import { startFaultServices } from './lib/fault-services.mjs';
import { runJest, willRun } from './lib/jest-run.mjs';
import { ensureOtherNode, NODE_VERSIONS } from './lib/other-node.mjs';
import { printFailure, Problem } from './lib/problem.mjs';
import { projectRoot } from './lib/project.mjs';
import { ensureQuickImages, sandboxImage } from './lib/sandbox-image.mjs';
import { isEnding, runEnd, runScript } from './lib/shutdown.mjs';
import { say, step } from './lib/steps.mjs';
import { ensureSupervisor, testSupervisor } from './lib/supervisor-build.mjs';
import { Tally } from './lib/tally.mjs';
import { browserTests, findTestBrowser } from './lib/test-browser.mjs';
import { startPostgres, startRedis } from './lib/test-databases.mjs';
import { startTestDocker } from './lib/test-docker.mjs';
import { durations } from './lib/test-durations.mjs';
import { testImage } from './lib/test-image.mjs';
import { prepareTestRun } from './lib/test-preparation.mjs';
import { installTestPackages } from './lib/test-packages.mjs';
import { findTestRegistry } from './lib/test-registry.mjs';
import { startThrowawayDocker } from './lib/throwaway-docker.mjs';

const checks = { formatting: 'format:check', 'lint and types': 'lint' };

/** Jest projects by part. What is neither unit tests nor under faults stands on the same services. */
const suites = {
  unit: ['unit'],
  data: ['sqlite', 'postgres'],
  e2e: ['e2e'],
  alone: ['alone'],
  newer: ['sqlite', 'e2e'],
  nodes: ['nodes'],
  nodejs: ['unit', 'sqlite', 'alone'],
  faults: ['faults'],
  processes: ['processes'],
};

/** Parts whose services are their own. */
const APART = ['alone', 'newer', 'nodes', 'nodejs', 'faults', 'processes'];
/** The parts of `npm test`. */
const QUICK = ['check', 'unit', 'data', 'e2e'];
/** The parts of `npm run test:more`. */
const LONG = ['data', 'e2e', 'alone', 'newer', 'nodes', 'nodejs', 'faults', 'processes'];

/** Docker as Debian's next release has it (28 and newer), by the name of the throwaway daemon. */
const NEWER_DOCKERS = { newer: 'a newer Docker', newerImages: "a newer Docker with containerd's image store" };
/** What depends on Docker's own behaviour, and no more: each takes minutes. */
const NEWER_TESTS =
  'test/(data/lifecycle-(start|create|update|outside)|e2e/(docker-(engine|exec|supervisor)|allow-lists))';

/** What an engine promises of one Docker, on a node of several, over TLS: each takes minutes. */
const NODE_TESTS = 'test/e2e/docker-(engine|exec|process)';

/** What stands on internals of Node.js and on its addon, and the life of a server. */
const NODEJS_TESTS =
  '(test/unit/(upgrades|before-the-body|connections|request-forms|sqlite-write-lock)|src/http/.*)\\.spec|' +
  'test/data/(database|migrations)\\.|test/alone/server-life';

/** CI asks for shorter runs: test/README.md. */
const IS_SAMPLE = process.env.BERTH_TEST_OPERATIONS !== undefined;
/** Which rows of tables a sample has: `test/support/extent.ts`. */
process.env.TEST_DRAW ??= String(randomInt(1_000));
const DRAW = Number(process.env.TEST_DRAW);
/** A sample of everything has one of the two, in turn: a newer Docker or another Node.js. */
const OTHER_VERSIONS = DRAW % 4 < 2 ? 'newer' : 'nodejs';

/** Many tests wait for Docker. With three more workers than processors, 2 processors were fully busy. */
const WORKERS = Number(process.env.TEST_WORKERS ?? cpus().length + 3);

/** How many of the longest files a run names at its end. */
const LONGEST = 20;

const tally = new Tally();
/** What could not run on this machine, and why. */
const notRun = [];

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

/** Behind all else: the tests begin sooner, and leave the checks what processor time they do not need. */
const CHECKS_NICENESS = 5;

async function runChecks() {
  for (const [name, script] of Object.entries(checks)) {
    await check(`${name} (npm run ${script})`, (progress) =>
      run(findCommand('npm'), ['run', '-s', script], { cwd: projectRoot, onLine: progress, niceness: CHECKS_NICENESS }),
    );
  }
  await check('the program in each sandbox (go vet, go test)', (progress) =>
    testSupervisor({ onLine: progress, niceness: CHECKS_NICENESS }),
  );
}

const testImages = { TEST_IMAGE: testImage, TEST_SANDBOX_IMAGE: sandboxImage };

/** Each starts something and says where it is. */
const starters = {
  databases: async () => ({
    TEST_POSTGRES_URL: await step('starting PostgreSQL', startPostgres),
    TEST_REDIS_URL: await step('starting Redis', startRedis),
  }),
  docker: async () => {
    const { host } = await startTestDocker(readSettings());
    return { DOCKER_HOST: host, SANDBOX_RUNTIME: runtimeName, ...testImages };
  },
  registry: async () => ({ TEST_REGISTRY: await findTestRegistry() }),
};

/** @returns {Promise<object>} the tests' environment @throws Problem */
async function startServices({ hasBrowser }) {
  await installTestPackages({ hasBrowser });
  const env = cleanEnvironment();
  for (const start of Object.values(starters)) Object.assign(env, await start());
  return env;
}

async function startFaultyServices() {
  return { ...cleanEnvironment(), ...(await startFaultServices()), SANDBOX_RUNTIME: runtimeName, ...testImages };
}

/**
 * @param {string} name
 * @param {() => Promise<object>} start
 * @returns {Promise<object | undefined>} the environment; nothing where this machine lacks what the tests need
 */
async function environmentOf(name, start) {
  try {
    return await start();
  } catch (error) {
    if (isEnding()) throw error;
    printFailure(error);
    if (process.env.CI || !(error instanceof Problem)) tally.check(`environment of ${name}`, false);
    else notRun.push(`${name}: ${error.message}`);
    return undefined;
  }
}

/** A failed file runs again by itself: see test/README.md. A random run under faults does not. */
async function runTests({ name, jestArgs, ...options }) {
  say(`→ ${name} …`);
  const begun = Date.now();
  const again = jestArgs.length === 0 && !options.projects.includes('faults');
  const result = await runJest({ ...options, again });
  if (isEnding()) return;
  const seconds = Math.round((Date.now() - begun) / 1_000);
  say(`${result.failed ? '✗' : '✓'} ${name}: ${result.passed} passed, ${result.failed} failed (${seconds} s)`);
  tally.add({ name, ...result });
}

/** All tests of these parts run, and the long ones in a browser are among them. */
const hasBrowserTests = ({ parts, isMore, jestArgs }) => isMore && parts.includes('e2e') && jestArgs.length === 0;

/**
 * A browser is a large package, so it is installed only if a test that drives it is to run.
 * @returns {Promise<{ env: object, args: string[] }>} for the run; args: leave those tests out where there is none
 */
async function browserFor({ projects, env, args, isSure }) {
  if (!projects.some((project) => project === 'e2e' || project === 'alone')) return { env: {}, args: [] };
  // To ask jest takes it two seconds.
  const isWanted = isSure || (await willRun(browserTests, { projects, env, args }));
  if (!isWanted || isEnding()) return { env: {}, args: [] };
  const found = await environmentOf('tests in a browser', async () => {
    await buildConsole();
    return { TEST_BROWSER: await findTestBrowser() };
  });
  if (found) return { env: found, args: [] };
  // Where it counts as a failure, it fails by itself too.
  return { env: {}, args: process.env.CI ? [] : [`--testPathIgnorePatterns=${browserTests}`] };
}

/** Unit, data and end-to-end tests are one run, so that no processor is idle at the end of each. */
async function runSuites(parts, { isMore, services, jestArgs }) {
  const more = isMore ? { TEST_MORE: 'true' } : {};
  const env = await services;
  const possible = parts.filter((part) => part === 'unit' || env);
  if (possible.length === 0 || isEnding()) return;
  const run = {
    projects: possible.flatMap((part) => suites[part]),
    env: { ...(env ?? cleanEnvironment()), ...more },
    // Long tests measure how fast an attacked server answers others.
    args: [`--maxWorkers=${isMore ? WORKERS - 1 : WORKERS}`, ...jestArgs],
  };
  const browser = await browserFor({ ...run, isSure: hasBrowserTests({ parts: possible, isMore, jestArgs }) });
  if (isEnding()) return;
  await runTests({
    name: `${possible.join(', ')} tests${isMore ? ' (more)' : ''}`,
    jestArgs,
    projects: run.projects,
    env: { ...run.env, ...browser.env },
    // Jest takes what follows for more patterns.
    args: [...run.args, ...browser.args],
  });
}

/** What is measured of one server's process, on engines that only remember: each file by itself. */
async function runAlone({ jestArgs }) {
  const tests = readdirSync(join(projectRoot, 'test', 'alone')).filter((file) => file.endsWith('.more-spec.ts'));
  const all = tests.map((file) => [`test/alone/${file}`]);
  for (const args of jestArgs.length > 0 ? [jestArgs] : all) {
    const run = { projects: suites.alone, env: { ...cleanEnvironment(), TEST_MORE: 'true' }, args };
    const browser = await browserFor({ ...run, isSure: false });
    if (isEnding()) return;
    await runTests({
      name: 'tests of one process',
      jestArgs,
      ...run,
      env: { ...run.env, ...browser.env },
      // The file may be one of those that a browser is missing for.
      args: ['--runInBand', ...args, ...(browser.args.length > 0 ? ['--passWithNoTests', ...browser.args] : [])],
    });
  }
}

/** One after the other, so that both the firewall and the processors are those of one run. */
async function runOnNewerDockers({ jestArgs }) {
  // A sample has the last: Docker's default of today.
  for (const [docker, name] of Object.entries(NEWER_DOCKERS).slice(IS_SAMPLE ? -1 : 0)) {
    const env = await environmentOf(`tests on ${name}`, async () => {
      const { api } = await startThrowawayDocker(docker);
      await ensureQuickImages(api);
      const runtimes = { SANDBOX_RUNTIME: runtimeName, TEST_RUNTIMES: `${runtimeName},runc` };
      return { ...cleanEnvironment(), DOCKER_HOST: api.host, ...runtimes, ...testImages };
    });
    if (!env || isEnding()) continue;
    await runTests({
      name: `tests on ${name}`,
      jestArgs,
      projects: suites.newer,
      env,
      args: [`--maxWorkers=${WORKERS}`, '--testPathPatterns', NEWER_TESTS, ...jestArgs],
    });
  }
}

/** One after the other: each compiles an addon. @returns {Promise<object[]>} those that could be installed */
async function prepareOtherNodes() {
  const found = [];
  // A sample has the newest.
  for (const version of NODE_VERSIONS.slice(IS_SAMPLE ? -1 : 0)) {
    if (isEnding()) break;
    const other = await environmentOf(`tests on Node.js ${version}`, () =>
      step(`Node.js ${version} from npm`, (progress) => ensureOtherNode(version, progress)),
    );
    if (other) found.push(other);
  }
  return found;
}

/** One after the other, so that the processors are those of one run. */
async function runOnOtherNodes(others, { jestArgs }) {
  for (const other of others) {
    if (isEnding()) return;
    await runTests({
      name: `tests on Node.js ${other.name}`,
      jestArgs,
      projects: suites.nodejs,
      node: other.node,
      env: { ...cleanEnvironment(), ...other.env },
      args: [`--maxWorkers=${WORKERS}`, '--testPathPatterns', NODEJS_TESTS, ...jestArgs],
    });
  }
}

/** A second cluster and what runs on it, at most. */
const SECOND_CLUSTER_BYTES = 6 * 2 ** 30;

async function startNodes(name) {
  const nodes = await startTestNodes(name);
  return { ...cleanEnvironment(), ...nodes, SANDBOX_RUNTIME: runtimeName, ...testImages };
}

/**
 * What several machines promise, and what an engine promises of one Docker. An argument that begins with `test/e2e/`
 * names files of the latter alone, any other of the former.
 * @returns {object[]} options of runs, the longest first
 */
function runsOnNodes({ jestArgs }) {
  const isOfOne = jestArgs[0]?.startsWith('test/e2e/');
  const ofOne = {
    name: 'tests of the engine on a node',
    projects: ['e2e'],
    args: [`--maxWorkers=${WORKERS}`, ...(isOfOne ? jestArgs : ['--testPathPatterns', NODE_TESTS])],
  };
  if (isOfOne) return [ofOne];
  const ofSeveral = (name, args) => ({
    name,
    projects: suites.nodes,
    more: { TEST_MORE: 'true' },
    args: ['--runInBand', ...args],
    // Clients that ask for containers on a silent node want an answer in time.
    niceness: -5,
  });
  if (jestArgs.length > 0) return [ofSeveral('tests on several nodes', jestArgs)];
  const files = readdirSync(join(projectRoot, 'test', 'nodes')).map((file) => `test/nodes/${file}`);
  const { known } = durations;
  const seconds = (file) => known[`nodes ${file}`] ?? 0;
  files.sort((one, other) => seconds(other) - seconds(one));
  return [...files.map((file) => ofSeveral(`tests on several nodes: ${file}`, [file])), ofOne];
}

/** Each cluster runs one file at a time, as each file may kill any of its nodes. */
async function runOnNodes({ jestArgs }) {
  const queue = runsOnNodes({ jestArgs });
  const count = queue.length > 1 && freemem() > SECOND_CLUSTER_BYTES ? CLUSTERS.length : 1;
  const lanes = [];
  for (const name of CLUSTERS.slice(0, count)) {
    // One after the other: each takes a network that is free.
    const env = await environmentOf('tests on several nodes', () => startNodes(name));
    if (env) lanes.push(runQueue(queue, { env, jestArgs }));
    if (isEnding()) break;
  }
  await allOver(lanes);
}

/** @param {object[]} queue shared with others: each run is taken once */
async function runQueue(queue, { env, jestArgs }) {
  for (let next = queue.shift(); next && !isEnding(); next = queue.shift()) {
    const { more, ...options } = next;
    await runTests({ ...options, jestArgs, env: { ...env, ...more } });
  }
}

async function runFaults({ services, jestArgs }) {
  const env = await services;
  if (!env || isEnding()) return;
  await runTests({
    name: 'tests under faults',
    jestArgs,
    projects: suites.faults,
    env,
    args: ['--runInBand', ...jestArgs],
    // Users, and those who watch, want their answers in time; beside other tests they come first.
    niceness: -5,
  });
}

/** Containers whose end takes Docker minutes, during which it removes no image: on the Docker of {@link runFaults}. */
async function runProcesses({ services, jestArgs }) {
  const env = await services;
  if (!env || isEnding()) return;
  const args = ['--runInBand', ...jestArgs];
  await runTests({ name: 'tests of many processes', jestArgs, projects: suites.processes, env, args });
}

/**
 * The npm packages, then the build.
 * @param {{ onPackages: () => void }} options onPackages: static checks can run
 */
async function prepareBuild({ part, isQuick, onPackages }) {
  await ensureDependencies({ isQuick: true, onPackages });
  if (!part && isQuick) await check('build (npm run build)', build);
  else if (part !== 'check' && part !== 'unit') await ensureBuild();
  if (part !== 'check') await ensureSupervisor();
}

/**
 * Resolves when all work is over; what one begins must be there to be undone.
 * @param {Promise<unknown>[]} work
 * @throws the first error
 */
async function allOver(work) {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}

/**
 * @param {string[]} args of the command line
 * @returns {{ isQuick: boolean, isLong: boolean, part?: string, jestArgs: string[] }} isQuick: what `npm test` runs;
 *   isLong: what `npm run test:more` runs
 * @throws Problem
 */
function readArguments(args) {
  const [first, ...rest] = args;
  if (first === 'all' && rest.length === 0) return { isQuick: true, isLong: true, jestArgs: [] };
  const isLong = first === 'more';
  const [part, ...jestArgs] = isLong ? rest : args;
  const known = ['check', ...Object.keys(suites)];
  if (part && !known.includes(part)) {
    throw new Problem(`There is no part "${part}".`, [`One of: ${known.join(', ')}; none: all`]);
  }
  return { isQuick: !isLong, isLong, part, jestArgs };
}

/** The parts whose tests are one run. */
const suitesOf = (parts) => parts.filter((part) => part in suites && !APART.includes(part));

/** Runs what is wanted. Only a sample under faults, which mostly waits, overlaps with another run. */
async function runParts(args) {
  const { isQuick, isLong, part, jestArgs } = readArguments(args);
  if (isQuick && isLong) tally.mostUnsteady *= 2;
  if (IS_SAMPLE) say(`a sample of the tests: BERTH_TEST_OPERATIONS and TEST_DRAW=${process.env.TEST_DRAW} repeat it`);
  // A sample of everything has every other one of the longest files: jest.config.js.
  if (IS_SAMPLE && !part) process.env.TEST_TURN = String(Math.floor(DRAW / 4) % 2);
  await prepareTestRun();
  const quick = part && isQuick ? [part] : isQuick ? QUICK : [];
  const long = part && isLong ? [part] : isLong ? LONG : [];
  const inTurn = (name) => !IS_SAMPLE || part || !['newer', 'nodejs'].includes(name) || name === OTHER_VERSIONS;
  const has = (name) => (quick.includes(name) || long.includes(name)) && inTurn(name);
  const parts = [...suitesOf(quick), ...suitesOf(long)];
  // Services need no npm package, and most of their start is waiting. One daemon after the other: see
  // firewall-rules.mjs.
  const startAll = () => startServices({ hasBrowser: hasBrowserTests({ parts, isMore: isLong, jestArgs }) });
  const services = parts.some((one) => one !== 'unit') ? environmentOf('data, e2e tests', startAll) : undefined;
  const startFaulty = () => environmentOf('tests under faults', startFaultyServices);
  const faulty = has('faults') || has('processes') ? Promise.resolve(services).then(startFaulty) : undefined;
  // Awaited later: until then it is not unhandled where it fails, which it does while everything ends.
  faulty?.catch(() => {});
  let checks;
  const startChecks = () => {
    checks ??= has('check') ? runChecks() : Promise.resolve();
    // Awaited later, as above.
    checks.catch(() => {});
    return checks;
  };
  await allOver([services, prepareBuild({ part, isQuick, onPackages: startChecks })]);
  if (isEnding()) return;
  const run = { services, jestArgs };
  const quickRun = runSuites(suitesOf(quick), { ...run, isMore: false });
  const runUnderFaults = async () => {
    if (has('faults')) await runFaults({ services: faulty, jestArgs });
    if (has('processes')) await runProcesses({ services: faulty, jestArgs });
  };
  // A sample under faults mostly waits. A whole run wants the processors for itself: it comes last.
  const faultsLast = isLong && !IS_SAMPLE && !part;
  const faultsRun = faultsLast ? Promise.resolve() : runUnderFaults();
  const quickOver = Promise.allSettled([quickRun, faultsRun]);
  const longRun = quickOver.then(() => runSuites(suitesOf(long), { ...run, isMore: true }));
  // Compiles while tests wait.
  const otherNodes = quickOver.then(() => (has('nodejs') ? prepareOtherNodes() : []));
  otherNodes.catch(() => {});
  // Measured by itself.
  const computed = Promise.allSettled([longRun, otherNodes]);
  const aloneRun = computed.then(() => (has('alone') ? runAlone({ jestArgs }) : undefined));
  const aloneOver = Promise.allSettled([aloneRun]);
  // One after the other: three daemons at once, with seven more of the nodes, take five times as long for each test.
  const newerRun = aloneOver.then(() => (has('newer') ? runOnNewerDockers({ jestArgs }) : undefined));
  const newerOver = Promise.allSettled([newerRun]);
  const nodejsRun = newerOver.then(async () => runOnOtherNodes(await otherNodes, { jestArgs }));
  const nodejsOver = Promise.allSettled([nodejsRun]);
  const nodesRun = nodejsOver.then(() => (has('nodes') ? runOnNodes({ jestArgs }) : undefined));
  const runs = [quickRun, faultsRun, aloneRun, longRun, nodesRun, otherNodes, newerRun, nodejsRun];
  await allOver([...runs, startChecks(), faulty]);
  if (faultsLast && !isEnding()) await runUnderFaults();
}

async function main() {
  try {
    await runParts(process.argv.slice(2));
  } catch (error) {
    if (isEnding()) return 1;
    printFailure(error);
    tally.check('preparation', false);
  }
  // The clean-up comes first, so that its lines are not the last.
  await runEnd();
  durations.save();
  for (const file of durations.longest(LONGEST)) say(`  ${file}`);
  for (const reason of notRun) say(`! not run: ${reason}`);
  for (const race of tally.races) say(race);
  for (const failure of tally.details) say(`✗ ${failure}`);
  if (tally.failures.length) say(`✗ failed: ${tally.failures.join(', ')}`);
  say(tally.toString());
  return tally.isGood ? 0 : 1;
}

void runScript(main);
