/** A Docker daemon for one test run, with gVisor and the test image, which leaves nothing behind. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { debianDocker, ensureDebianDocker } from './debian-docker.mjs';
import { startOwnDocker } from './find-docker.mjs';
import { checkGvisor } from './gvisor.mjs';
import { OwnDaemon } from './own-daemon.mjs';
import { clearLeftovers, daemonProcess } from './own-daemon-processes.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf } from './process-identity.mjs';
import { removeFolder, testFolder } from './project.mjs';
import { removeTestRules } from './sandbox-rules.mjs';
import { atEnd } from './shutdown.mjs';
import { step } from './steps.mjs';
import { addTestImage, testImage } from './test-image.mjs';

const folderOf = (name) => join(testFolder, name);

/** Debian's release after the next stable one. */
const NEWER = 'sid';

/** Where the data lies while it is there, and what is special. */
const dockers = {
  tests: { folder: folderOf('docker') },
  /**
   * Restarted and killed beside the others. Without firewall rules, as a starting daemon empties the chains that all
   * share, and with them what keeps the networks of another one apart.
   */
  faulty: { folder: folderOf('docker-faulty'), config: { iptables: false, ip6tables: false } },
  newer: { folder: folderOf('docker-newer'), suite: NEWER },
  /** With containerd's image store, which is the default of a new Docker from 29 on. */
  newerImages: {
    folder: folderOf('docker-newer-images'),
    suite: NEWER,
    config: { features: { 'containerd-snapshotter': true } },
  },
};

const programsOf = ({ suite }) => (suite ? { programs: debianDocker(suite) } : {});

export const query = (filters) => encodeURIComponent(JSON.stringify(filters));

/** Where a daemon's data is while it runs without. */
const awayFolder = ({ paths }) => `${paths.dataRoot}.away`;

/** Networks are removed through the daemon, because their bridges would stay behind on the machine. */
async function removeContainersAndNetworks({ api }) {
  const containers = await api.call('GET', '/containers/json?all=true');
  await Promise.all(containers.map(({ Id: id }) => api.remove(`/containers/${id}?force=true`).catch(() => {})));
  const networks = await api.call('GET', `/networks?filters=${query({ type: ['custom'] })}`);
  for (const { Id: id } of networks) await api.remove(`/networks/${id}`).catch(() => {});
}

/** Starts the daemon again, without anything that it had: a disk that was not mounted. @param {OwnDaemon} own */
export async function emptyDocker(own) {
  await own.stop();
  renameSync(own.paths.dataRoot, awayFolder(own));
  await own.start();
}

/** Starts the daemon again with what it had before it was emptied, and without what it was given since. */
export async function refillDocker(own) {
  await removeContainersAndNetworks(own).catch(() => {});
  await own.stop();
  removeFolder(own.paths.dataRoot);
  renameSync(awayFolder(own), own.paths.dataRoot);
  await own.start();
}

async function discard(own, { hurry } = {}) {
  const hurried = new Promise((resolve) => hurry?.addEventListener('abort', resolve));
  const everything = existsSync(awayFolder(own))
    ? refillDocker(own).then(() => removeContainersAndNetworks(own))
    : removeContainersAndNetworks(own);
  await Promise.race([
    everything.catch(() => {}),
    hurried,
    new Promise((resolve) => setTimeout(resolve, 60_000).unref()),
  ]);
  await removeTestRules();
  await own.stop({ hurry });
  removeFolder(own.paths.folder);
}

/** Every daemon of a killed run. */
export async function discardEarlierDockers() {
  if (process.platform !== 'linux' || process.getuid() !== 0) return;
  for (const docker of Object.values(dockers)) await discardEarlier(docker);
}

/** The daemon of a killed run is started or taken over once more, so that what it left is removed in an orderly way. */
async function discardEarlier(docker) {
  const { folder } = docker;
  const earlier = new OwnDaemon(folder, programsOf(docker));
  if (!earlier.hasData() && !existsSync(awayFolder(earlier))) return;
  await step('removing what an earlier run left', async () => {
    try {
      await earlier.start();
      await discard(earlier);
    } catch {
      const alive = daemonProcess(earlier.paths);
      if (alive) await endProcess(identityOf(alive), { signal: 'SIGKILL' });
      await clearLeftovers(earlier.paths);
      removeFolder(folder);
    }
  });
}

/**
 * @param {keyof typeof dockers} name
 * @returns {Promise<{ api: import('./docker-api.mjs').DockerApi, own: OwnDaemon }>}
 * @throws Problem where gVisor does not work, or Debian's release cannot be reached
 */
export async function startThrowawayDocker(name) {
  const { folder, suite, config } = dockers[name];
  const programs = suite && (await ensureDebianDocker(suite));
  const docker = await startOwnDocker(folder, {
    programs,
    config,
    onStart: (own) =>
      atEnd('removing the Docker daemon', (hurry) => step('removing the Docker daemon', () => discard(own, { hurry }))),
  });
  await addTestImage(docker.api);
  if (await checkGvisor(docker, { image: testImage })) return docker;
  throw new Problem('The tests need gVisor, and it does not work here.', [
    'The reason is above. Unit tests alone: node scripts/test.mjs unit',
  ]);
}
