/** The Docker that the end-to-end tests run on: one that is there and has a working gVisor, else a throwaway one. */
import { canInstallPackages, ensurePackages } from './apt.mjs';
import { findForeignDocker } from './find-docker.mjs';
import { checkGvisor } from './gvisor.mjs';
import { ensureQuickImages, ensureSandboxImage } from './sandbox-image.mjs';
import { removeTestRules } from './sandbox-rules.mjs';
import { say } from './steps.mjs';
import { addTestImage, testImage } from './test-image.mjs';
import { query, startThrowawayDocker } from './throwaway-docker.mjs';

/** On a Docker that others use too: longer than any test run, so that a run of another folder keeps its containers. */
const ABANDONED_AFTER_S = 30 * 60;

/** For the tests of copies by reflink, which make a file system that has them. */
export const reflinkPackages = { packages: { xfsprogs: 'mkfs.xfs' } };

/** For the tests of the host firewall, which make a network beyond the machine. */
export const firewallPackages = { packages: { iproute2: 'ip', iptables: 'iptables' } };

const isTests = (thing) => thing.Labels?.['berth.instance']?.startsWith('test-');
const created = (thing) =>
  typeof thing.Created === 'number' ? thing.Created : Date.parse(thing.CreatedAt ?? thing.Created) / 1000;

/**
 * Removes containers, networks and volumes that tests made.
 * @param {import('./docker-api.mjs').DockerApi} api
 * @param {(thing: object) => boolean} isDue
 */
async function sweep(api, isDue) {
  const filters = query({ label: ['berth.managed=true'] });
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

/** @returns the Docker that is there, if gVisor works in it */
async function usableForeign(settings) {
  const foreign = await findForeignDocker(settings);
  if (!foreign) return undefined;
  const { Runtimes: runtimes } = await foreign.api.info();
  if (runtimes?.runsc) {
    await addTestImage(foreign.api);
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
  if (canInstallPackages()) await ensurePackages(firewallPackages.packages);
  let docker = await usableForeign(settings);
  if (docker) {
    const { api } = docker;
    const isAbandoned = (thing) => isTests(thing) && Date.now() / 1000 - created(thing) > ABANDONED_AFTER_S;
    await sweep(api, isAbandoned);
    say(`✓ testing on the Docker at ${api.host}`);
    // What it has under this name is used after the tests too.
    await ensureSandboxImage(api);
  } else {
    docker = await startThrowawayDocker('tests');
    await ensureQuickImages(docker.api);
  }
  return docker.api;
}
