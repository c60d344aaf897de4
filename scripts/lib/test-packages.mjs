/** What the tests need of Debian beside Docker, installed at once: each apt-get takes seconds of its own. */
import { canInstallPackages, ensurePackages } from './apt.mjs';
import { postgresPackages } from './postgres-server.mjs';
import { redisPackages } from './redis-server.mjs';
import { isEnding } from './shutdown.mjs';
import { browserPackages } from './test-browser.mjs';
import { firewallPackages, reflinkPackages } from './test-docker.mjs';
import { registryPackages } from './test-registry.mjs';

/** The programs with which users reach containers over SSH. */
const sshPackages = {
  packages: { 'openssh-client': 'ssh', rsync: 'rsync', sshfs: 'sshfs', git: 'git', curl: 'curl' },
};

/**
 * Does not throw: what is missing afterwards is looked for again, and said, by what needs it.
 * @param {{ hasBrowser: boolean }} options whether a test that drives a browser is to run
 */
export async function installTestPackages({ hasBrowser }) {
  if (!canInstallPackages()) return;
  const all = [postgresPackages, redisPackages, firewallPackages, reflinkPackages, registryPackages, sshPackages];
  if (hasBrowser) all.push(browserPackages);
  try {
    await ensurePackages(Object.assign({}, ...all.map(({ packages }) => packages)), {
      services: all.flatMap(({ services = [] }) => services),
    });
  } catch (error) {
    if (isEnding()) throw error;
  }
}
