/** Debian packages: installs those whose command is missing, and starts no service. */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandFailed, findCommand, run } from './command.mjs';
import { Problem } from './problem.mjs';
import { step } from './steps.mjs';

const policyFile = '/usr/sbin/policy-rc.d';
const policyMark = '# made by Berth: no service starts while its packages are installed';
const listsFolder = '/var/lib/apt/lists';
const LISTS_MAX_AGE_MS = 24 * 3600 * 1000;
const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', LC_ALL: 'C.UTF-8' };

export function canInstallPackages() {
  return process.getuid?.() === 0 && findCommand('apt-get') !== undefined;
}

/** A machine that has just booted may be upgrading itself. */
const LOCK_WAIT_MS = 10 * 60_000;
/**
 * `DPkg::Lock::Timeout` is for dpkg's own locks: where another apt has the lists or the archives, apt gives up at once.
 */
const LOCKED = /Could not get lock/;

/**
 * Runs apt-get, after any other that is at work.
 * @param {string[]} args @param {(line: string) => void} [onLine] @param {{ cwd?: string }} [options]
 * @throws CommandFailed
 */
export async function aptGet(args, onLine, { cwd } = {}) {
  const options = ['-o', `DPkg::Lock::Timeout=${LOCK_WAIT_MS / 1000}`, '-o', 'Acquire::Retries=5', '-y'];
  const until = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      // Whole: a package installation that is cut off half way leaves dpkg broken for everybody.
      return await run('apt-get', [...options, ...args], { env: environment, cwd, onLine, whole: true });
    } catch (error) {
      const isLocked = error instanceof CommandFailed && LOCKED.test(error.output);
      if (!isLocked || performance.now() > until) throw error;
      onLine?.('waiting for another apt on this machine');
      await sleep(2000);
    }
  }
}

function listsAreOld() {
  const lists = existsSync(listsFolder) ? readdirSync(listsFolder).filter((name) => /Packages/.test(name)) : [];
  return lists.length === 0 || Date.now() - statSync(listsFolder).mtimeMs > LISTS_MAX_AGE_MS;
}

/** Debian starts a server when its package is installed, unless this file says no. */
async function withoutServiceStarts(work) {
  const mine = !existsSync(policyFile) || readFileSync(policyFile, 'utf8').includes(policyMark);
  if (mine) writeFileSync(policyFile, `#!/bin/sh\n${policyMark}\nexit 101\n`, { mode: 0o755 });
  try {
    return await work();
  } finally {
    if (mine) rmSync(policyFile, { force: true });
  }
}

/** They must not start at the next boot either: the user did not ask for a server on the machine. */
async function disableServices(services) {
  if (!existsSync('/run/systemd/system') || services.length === 0) return;
  await run('systemctl', ['disable', '--now', ...services]).catch(() => {});
}

async function install(packages, progress) {
  try {
    if (listsAreOld()) await aptGet(['update'], progress);
    await aptGet(['install', '--no-install-recommends', ...packages], progress);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    // Lists that are a little too old name versions that the mirror no longer has; a killed run leaves dpkg unfinished.
    if (error.output.includes('dpkg --configure -a')) {
      await run('dpkg', ['--configure', '-a'], { env: environment, onLine: progress, whole: true });
    }
    await aptGet(['update'], progress);
    await aptGet(['install', '--no-install-recommends', ...packages], progress);
  }
}

/** Debian's PostgreSQL package makes a database cluster of its own, unless this file, written before, says no. */
function withoutMainCluster() {
  const file = '/etc/postgresql-common/createcluster.conf';
  if (existsSync(file)) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, 'create_main_cluster = false\n');
}

/**
 * @param {Record<string, string>} wanted package → a command (or a function that tells whether it is there)
 * @param {{ services?: string[] }} [options] services that these packages bring and that must not run
 * @throws Problem if something is missing and cannot be installed
 */
export async function ensurePackages(wanted, { services = [] } = {}) {
  const isThere = (what) => (typeof what === 'function' ? what() : findCommand(what) !== undefined);
  const missing = Object.keys(wanted).filter((name) => !isThere(wanted[name]));
  if (missing.length === 0) return;
  if (!canInstallPackages()) {
    throw new Problem(`Not installed: ${missing.join(', ')}.`, [
      `Install it: \`sudo apt-get install --no-install-recommends ${missing.join(' ')}\` (or your system's packages of that name),`,
      'or run this command as root on a Debian system, where it does so itself.',
    ]);
  }
  await step(`installing Debian packages: ${missing.join(', ')}`, async (progress) => {
    if (missing.includes('postgresql')) withoutMainCluster();
    await withoutServiceStarts(() => install(missing, progress));
    await disableServices(services);
  });
}
