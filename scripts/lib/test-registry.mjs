/** The image registry that tests run: a program of Debian's, started by the tests themselves, which also stop it. */
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';

export const registryPackages = {
  packages: { 'docker-registry': 'docker-registry' },
  services: ['docker-registry.service'],
};

/** @returns {Promise<string>} its path */
export async function findTestRegistry() {
  await ensurePackages(registryPackages.packages, registryPackages);
  return findCommand('docker-registry');
}
