/** `node_modules`: installed when they are missing or are not those of package-lock.json. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { canInstallPackages, ensurePackages } from './apt.mjs';
import { CommandFailed, findCommand, run } from './command.mjs';
import { preparingAlone } from './preparation.mjs';
import { Problem } from './problem.mjs';
import { projectRoot } from './project.mjs';
import { step } from './steps.mjs';

const lockFile = join(projectRoot, 'package-lock.json');
const stampFile = join(projectRoot, 'node_modules', '.berth-installed');
const npmOwnStamp = join(projectRoot, 'node_modules', '.package-lock.json');
/** Made last: it is missing where an installation was cut off. */
const addon = join(projectRoot, 'node_modules', 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node');

/** What must be the same for an installation to fit; native addons belong to one Node.js ABI. */
function wantedStamp() {
  const lock = existsSync(lockFile) ? readFileSync(lockFile) : '';
  return createHash('sha256').update(lock).update(`${process.versions.modules} ${process.arch}`).digest('hex');
}

function isInstalled() {
  const wanted = wantedStamp();
  if (existsSync(stampFile)) return readFileSync(stampFile, 'utf8') === wanted;
  // Installed by hand with npm: npm's own stamp tells whether it was after the lock file's last change.
  if (!existsSync(npmOwnStamp) || !existsSync(addon)) return false;
  if (statSync(npmOwnStamp).mtimeMs < statSync(lockFile).mtimeMs) return false;
  writeFileSync(stampFile, wanted);
  return true;
}

/**
 * Node's own headers, if they lie beside this Node.js: node-gyp would download them, which fails on a machine
 * that reaches the npm registry alone.
 */
function headersEnvironment() {
  const prefix = dirname(dirname(process.execPath));
  const header = join(prefix, 'include', 'node', 'node_version.h');
  if (process.env.npm_config_nodedir || !existsSync(header)) return {};
  const text = readFileSync(header, 'utf8');
  const part = (name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1];
  const version = ['MAJOR', 'MINOR', 'PATCH'].map(part).join('.');
  return version === process.versions.node ? { npm_config_nodedir: prefix } : {};
}

/**
 * Packages whose binaries are made or chosen after the download; the others' scripts do nothing that is needed here.
 */
const NATIVE = ['better-sqlite3', '@swc/core'];

/** @param {string[]} args */
function npm(args, { onLine, onStart, env = {} }) {
  const command = findCommand('npm');
  if (!command) throw new Problem('npm is not installed.', ['Install npm (it comes with Node.js).']);
  return run(command, args, { cwd: projectRoot, env: { ...process.env, ...env }, onLine, onStart });
}

function unpack(options) {
  // Dev dependencies too, for any NODE_ENV: the build needs them.
  return npm(['ci', '--include=dev', '--no-audit', '--no-fund', '--ignore-scripts'], options);
}

/** gcc takes ten seconds to look for this in the single file that SQLite is. */
const UNASKED = '-Wno-misleading-indentation';

/** @param {{ isQuick: boolean }} options isQuick: what has to be compiled is, in a quarter of the time, with -O0 */
async function buildAddons({ isQuick, ...options }) {
  const flags = [process.env.CFLAGS ?? '', UNASKED, isQuick ? '-O0' : ''].join(' ').trim();
  // What has to be compiled is compiled on all processors.
  const env = { JOBS: 'max', ...headersEnvironment(), CFLAGS: flags, ...(isQuick && { CXXFLAGS: '-O0' }) };
  await npm(['rebuild', ...NATIVE], { ...options, env });
  await npm(['run', '-s', 'prepare'], options);
}

/** What npm has not got over by itself. */
const NETWORK_FAULT = /ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|ERR_SOCKET_TIMEOUT|EINTEGRITY|\b50[234]\b/;

/**
 * better-sqlite3 has no prebuilt binary within reach: then it is compiled.
 * @returns whether there are now compilers that were not
 */
async function withCompilers(error) {
  const commands = { python3: 'python3', make: 'make', 'g++': 'g++' };
  const missing = Object.keys(commands).filter((name) => !findCommand(name));
  const isNativeBuild = error instanceof CommandFailed && /gyp|prebuild/.test(error.output);
  if (!isNativeBuild || missing.length === 0) return false;
  if (!canInstallPackages()) {
    throw new Problem('better-sqlite3 must be compiled here, and the tools for it are missing.', [
      `Install ${missing.join(', ')} and try again.`,
    ]);
  }
  await ensurePackages(commands);
  return true;
}

/** Does it once more where that may help. */
async function persistently(work, options) {
  try {
    await work(options);
  } catch (error) {
    if (await withCompilers(error)) options.onLine('once more, now with a compiler');
    else if (error instanceof CommandFailed && NETWORK_FAULT.test(error.output))
      options.onLine('once more, the network failed');
    else throw error;
    await work(options);
  }
}

/**
 * @param {{ isQuick?: boolean, onPackages?: () => void }} [options]
 *   isQuick: for tests, see above; onPackages: all packages are there, and native addons are yet to be built
 * @throws Problem
 */
export async function ensureDependencies({ isQuick = false, onPackages = () => {} } = {}) {
  if (isInstalled()) return;
  await preparingAlone(async (onStart) => {
    // Another process may have done it while this one waited.
    if (isInstalled()) return;
    await step('installing npm packages (npm ci)', (onLine) => persistently(unpack, { onLine, onStart }));
    onPackages();
    await step('building native addons', (onLine) => persistently(buildAddons, { onLine, onStart, isQuick }));
    writeFileSync(stampFile, wantedStamp());
  });
}
