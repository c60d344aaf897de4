/**
 * Docker of another Debian release, unpacked into the cache and not installed: it runs beside the system's own, whose
 * runc, gVisor and `docker-init` it uses where its release has none here.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { aptGet } from './apt.mjs';
import { findCommand, run } from './command.mjs';
import { Problem } from './problem.mjs';
import { cacheFolder, makeDataFolder } from './project.mjs';
import { debianMirror } from './sandbox-image.mjs';
import { step } from './steps.mjs';

/** Not runc: sid's needs a newer libc than a stable release has. */
const packages = ['docker.io', 'containerd'];
const programs = ['dockerd', 'docker-proxy', 'containerd', 'containerd-shim', 'containerd-shim-runc-v2'];
const places = ['usr/sbin', 'usr/bin'];
/** A release that moves has newer versions by then. */
const CACHE_MAX_AGE_MS = 30 * 24 * 3600 * 1000;
/** Where the machine's own mirror is not known to be one of Debian's. */
const DEFAULT_MIRROR = 'http://deb.debian.org/debian';
const keyrings = ['pgp', 'gpg'].map((ending) => `/usr/share/keyrings/debian-archive-keyring.${ending}`);

const folderOf = (suite) => join(cacheFolder, `docker-${suite}`);

/** @returns {string} the folder of the programs, which leads a daemon's PATH; it may not be there */
export const debianDocker = (suite) => join(folderOf(suite), 'bin');

/** apt with sources and lists of its own; the machine's other settings (proxies, retries) hold. */
async function privateApt(folder, suite) {
  const uri = (await debianMirror())[0]?.split(' ')[1] ?? DEFAULT_MIRROR;
  const keyring = keyrings.find((path) => existsSync(path));
  const at = (name) => join(folder, name);
  mkdirSync(at('lists/partial'), { recursive: true });
  mkdirSync(at('cache/archives/partial'), { recursive: true });
  writeFileSync(at('status'), '');
  writeFileSync(at('sources.list'), `deb ${keyring ? `[signed-by=${keyring}] ` : ''}${uri} ${suite} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': at('sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': at('lists'),
    'Dir::State::status': at('status'),
    'Dir::Cache': at('cache'),
    // The folder is not open to apt's own user.
    'APT::Sandbox::User': 'root',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

async function unpackIn(folder, suite, progress) {
  const apt = makeDataFolder(join(folder, 'apt'));
  const options = await privateApt(apt, suite);
  await aptGet([...options, 'update', '--error-on=any'], progress);
  await aptGet([...options, 'download', ...packages], progress, { cwd: apt });
  const root = makeDataFolder(join(folder, 'root'));
  for (const archive of readdirSync(apt).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['--extract', join(apt, archive), root]);
  }
  rmSync(apt, { recursive: true, force: true });
  const bin = makeDataFolder(join(folder, 'bin'));
  for (const program of programs) {
    const place = places.find((path) => existsSync(join(root, path, program)));
    if (place) symlinkSync(join('..', 'root', place, program), join(bin, program));
  }
}

/**
 * @param {string} suite a release of Debian
 * @returns {Promise<string>} as `debianDocker`, made now or lately
 * @throws Problem where Debian cannot be reached
 */
export async function ensureDebianDocker(suite) {
  if (process.getuid?.() !== 0 || !findCommand('apt-get')) {
    throw new Problem(`Docker of Debian's ${suite} runs as root, on a Debian or Ubuntu.`);
  }
  const folder = folderOf(suite);
  if (existsSync(folder) && Date.now() - statSync(folder).mtimeMs < CACHE_MAX_AGE_MS) return debianDocker(suite);
  // Whole or not there, whenever this run is killed.
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  makeDataFolder(part);
  try {
    await step(`unpacking Docker of Debian's ${suite}`, (progress) => unpackIn(part, suite, progress));
  } catch (error) {
    throw new Problem(`Docker of Debian's ${suite} could not be had: ${error.message}`, error.advice);
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
  return debianDocker(suite);
}
