/** The Docker that the end-to-end tests run on: one that is there and has a working gVisor, else a throwaway one. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { canInstallPackages, ensurePackages } from './apt.mjs';
import { findForeignDocker, startOwnDocker } from './find-docker.mjs';
import { checkGvisor } from './gvisor.mjs';
import { OwnDaemon } from './own-daemon.mjs';
import { clearLeftovers, daemonProcess } from './own-daemon-processes.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf } from './process-identity.mjs';
import { testFolder } from './project.mjs';
import { ensureSandboxImage } from './sandbox-image.mjs';
import { removeTestRules } from './sandbox-rules.mjs';
import { atEnd } from './shutdown.mjs';
import { say, step } from './steps.mjs';
import { buildTestImage, testImage } from './test-image.mjs';

const folder = join(testFolder, 'docker');

/** On a Docker that others use too: longer than any test run, so that a run of another folder keeps its containers. */
const ABANDONED_AFTER_S = 30 * 60;

const query = (filters) => encodeURIComponent(JSON.stringify(filters));
const isTests = (thing) => thing.Labels?.['berth.instance']?.startsWith('test-');
const created = (thing) =>
  typeof thing.Created === 'number' ? thing.Created : Date.parse(thing.CreatedAt ?? thing.Created) / 1000;

/**
 * Removes containers, networks and volumes that tests made.
 * @param {import('./docker-api.mjs').DockerApi} api
 * @param {(thing: object) => boolean} isDue
 */
async function sweep(api, isDue) {
  const filters = query({ label: ['berth.managed'] });
  const containers = await api.call('GET', `/containers/json?all=true&filters=${filters}`);
  const due = containers.filter(isDue);
  await Promise.all(due.map(({ Id: id }) => api.remove(`/containers/${id}?force=true&v=true`).catch(() => {})));
  for (const { Id: id } of (await api.call('GET', `/networks?filters=${filters}`)).filter(isDue)) {
    // In use by a live run: not ours to remove.
    await api.remove(`/networks/${id}`).catch(() => {});
  }
  const { Volumes: volumes } = await api.call('GET', `/volumes?filters=${filters}`);
  for (const { Name: name } of (volumes ?? []).filter(isDue)) await api.remove(`/volumes/${name}`).catch(() => {});
  await removeTestRules();
}

/** Networks are removed through the daemon, because their bridges would stay behind on the machine. */
async function discard(own, { hurry } = {}) {
  const everything = own.api.call('GET', '/containers/json?all=true').then(async (containers) => {
    await Promise.all(containers.map(({ Id: id }) => own.api.remove(`/containers/${id}?force=true`).catch(() => {})));
    const networks = await own.api.call('GET', `/networks?filters=${query({ type: ['custom'] })}`);
    for (const { Id: id } of networks) await own.api.remove(`/networks/${id}`).catch(() => {});
  });
  const hurried = new Promise((resolve) => hurry?.addEventListener('abort', resolve));
  await Promise.race([
    everything.catch(() => {}),
    hurried,
    new Promise((resolve) => setTimeout(resolve, 60_000).unref()),
  ]);
  await removeTestRules();
  await own.stop({ hurry });
  rmSync(folder, { recursive: true, force: true });
}

/** The daemon of a killed run is started or taken over once more, so that what it left is removed in an orderly way. */
async function discardEarlier() {
  const earlier = new OwnDaemon(folder);
  if (!earlier.hasData()) return;
  await step('removing what an earlier run left', async () => {
    try {
      await earlier.start();
      await discard(earlier);
    } catch {
      const alive = daemonProcess(earlier.paths);
      if (alive) await endProcess(identityOf(alive), { signal: 'SIGKILL' });
      await clearLeftovers(earlier.paths);
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

async function addImages(docker) {
  await step(`building ${testImage}`, (progress) => buildTestImage(docker.api, progress));
  return docker;
}

/** @returns the Docker that is there, if gVisor works in it */
async function usableForeign(settings) {
  const foreign = await findForeignDocker(settings);
  if (!foreign) return undefined;
  const { Runtimes: runtimes } = await foreign.api.info();
  if (runtimes?.runsc) {
    await addImages(foreign);
    if (await checkGvisor(foreign, { image: testImage })) return foreign;
  }
  say(`! the Docker at ${foreign.api.host} has no working gVisor; the tests run on one of their own`);
  return undefined;
}

/**
 * @param {object} settings
 * @returns {Promise<import('./docker-api.mjs').DockerApi>} with gVisor, the test image and the sandbox image
 * @throws Problem where gVisor does not work
 */
export async function startTestDocker(settings) {
  if (process.platform === 'linux' && process.getuid() === 0) await discardEarlier();
  // For the tests of the host firewall, which make a network beyond the machine.
  if (canInstallPackages()) await ensurePackages({ iproute2: 'ip', iptables: 'iptables' });
  let docker = await usableForeign(settings);
  if (docker) {
    const { api } = docker;
    const isAbandoned = (thing) => isTests(thing) && Date.now() / 1000 - created(thing) > ABANDONED_AFTER_S;
    await sweep(api, isAbandoned);
    say(`✓ testing on the Docker at ${api.host}`);
  } else {
    docker = await startOwnDocker(folder, {
      onStart: (own) =>
        atEnd('removing the Docker daemon', (hurry) =>
          step('removing the Docker daemon', () => discard(own, { hurry })),
        ),
    });
    await addImages(docker);
    if (!(await checkGvisor(docker, { image: testImage }))) {
      throw new Problem('The tests need gVisor, and it does not work here.', [
        'The reason is above. Unit tests alone: node scripts/test.mjs unit',
      ]);
    }
  }
  await ensureSandboxImage(docker.api);
  return docker.api;
}
