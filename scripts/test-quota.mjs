/**
 * `npm run test:quota`: proves that disk limits are enforced, on a Docker whose data lies on XFS with project quotas,
 * in a virtual machine that is made for it. Its last line is always `N passed, N failed`.
 */
import { ensureDependencies } from './lib/dependencies.mjs';
import { cleanEnvironment } from './lib/environment-file.mjs';
import { runtimeName } from './lib/gvisor.mjs';
import { runJest } from './lib/jest-run.mjs';
import { printFailure } from './lib/problem.mjs';
import { startQuotaVm } from './lib/quota-vm.mjs';
import { ensureQuickImages, sandboxImage } from './lib/sandbox-image.mjs';
import { isEnding, runEnd, runScript } from './lib/shutdown.mjs';
import { say } from './lib/steps.mjs';
import { Tally } from './lib/tally.mjs';
import { addTestImage, testImage } from './lib/test-image.mjs';
import { prepareTestRun } from './lib/test-preparation.mjs';

const tally = new Tally();

async function startDocker() {
  const api = await startQuotaVm();
  await addTestImage(api);
  await ensureQuickImages(api);
  return api;
}

async function runTests(jestArgs) {
  await prepareTestRun();
  await ensureDependencies();
  const { host } = await startDocker();
  const env = { ...cleanEnvironment(), DOCKER_HOST: host, SANDBOX_RUNTIME: runtimeName };
  Object.assign(env, { TEST_IMAGE: testImage, TEST_SANDBOX_IMAGE: sandboxImage });
  const result = await runJest({ projects: ['quota'], args: ['--runInBand', ...jestArgs], env });
  tally.add({ name: 'quota tests', ...result });
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
  say(tally.toString());
  return tally.isGood ? 0 : 1;
}

void runScript(main);
