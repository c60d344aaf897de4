/** Which Docker is used: the one that is named, the one that is there, or one of our own. */
import { canInstallPackages, ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';
import { DockerApi } from './docker-api.mjs';
import { findGvisor, runtimeName, withGvisor } from './gvisor.mjs';
import { OwnDaemon } from './own-daemon.mjs';
import { Problem } from './problem.mjs';
import { say, step } from './steps.mjs';

export const defaultHost = 'unix:///var/run/docker.sock';

/** For who works on what uses Berth, and needs no containers for that. */
const simulating =
  'Without any Docker: `npm start -- --simulate` runs the whole API on containers that are only simulated.';

const isRoot = () => process.getuid?.() === 0;

async function whyNot(api) {
  try {
    await api.call('GET', '/_ping', { signal: AbortSignal.timeout(5000) });
    return undefined;
  } catch (error) {
    return error.message;
  }
}

/** @returns {Promise<{ api: DockerApi } | undefined>} a Docker that was there before us */
export async function findForeignDocker(settings) {
  const host = settings.DOCKER_HOST ?? defaultHost;
  const api = new DockerApi(host);
  const reason = await whyNot(api);
  if (!reason) return { api };
  if (settings.DOCKER_HOST) {
    throw new Problem(reason, ['Start that Docker, or unset DOCKER_HOST (in the environment or in .env).']);
  }
  if (/EACCES/.test(reason)) {
    throw new Problem(`Docker is there (${defaultHost}), but you may not use it.`, [
      'Let your user: `sudo usermod -aG docker $USER`, then log in again. Or run this command as root.',
      simulating,
    ]);
  }
  return undefined;
}

/**
 * Installs what is missing and starts the daemon that has its data in this folder.
 * @param {string} folder
 * @param {{ onStart: (own: OwnDaemon) => void, programs?: string, config?: object }} options
 *   onStart: called before there is anything to stop, so nothing can be missed; programs: as of OwnDaemon;
 *   config: further settings of the daemon
 * @returns {Promise<{ api: DockerApi, own: OwnDaemon }>}
 */
export async function startOwnDocker(folder, { onStart, programs, config }) {
  const canInstall = canInstallPackages();
  if (!isRoot() || !(findCommand('dockerd') || canInstall)) {
    throw new Problem('There is no Docker, and this user cannot start one.', [
      'Install Docker (https://docs.docker.com/engine/install/) and try again, or name one: DOCKER_HOST=unix:///path/to/docker.sock',
      'As root on a Debian system, this command installs docker.io and runsc and runs a daemon of its own.',
      simulating,
    ]);
  }
  await ensurePackages(
    { 'docker.io': 'dockerd', [runtimeName]: runtimeName, iptables: 'iptables' },
    { services: ['docker.service', 'docker.socket', 'containerd.service'] },
  );
  const own = new OwnDaemon(folder, { programs });
  own.writeConfig(withGvisor({ ...own.readConfig(), ...config }, await findGvisor()));
  onStart(own);
  await step('starting a Docker daemon of its own', () => own.start(), { detail: (how) => `${how}, ${own.host}` });
  return { api: own.api, own };
}

/**
 * @param {{ settings: object, folder: string, onStart: (own: OwnDaemon) => void }} options
 *   folder: where an own daemon's data would lie; onStart: as in startOwnDocker
 * @returns {Promise<{ api: DockerApi, own?: OwnDaemon }>}
 */
export async function findDocker({ settings, folder, onStart }) {
  // Once there are containers in the own daemon, they must be there again, also if a Docker was installed since.
  const keepsOwn = !settings.DOCKER_HOST && isRoot() && new OwnDaemon(folder).hasData();
  const foreign = keepsOwn ? undefined : await findForeignDocker(settings);
  if (!foreign) return startOwnDocker(folder, { onStart });
  say(`✓ using the Docker at ${foreign.api.host}`);
  return foreign;
}
