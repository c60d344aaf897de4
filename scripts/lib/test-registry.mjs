/** The image registry that tests run: a program of Debian's, started by the tests themselves, which also stop it. */
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';

/** @returns {Promise<string>} its path */
export async function findTestRegistry() {
  await ensurePackages({ 'docker-registry': 'docker-registry' }, { services: ['docker-registry.service'] });
  return findCommand('docker-registry');
}
