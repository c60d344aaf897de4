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

/** What must be the same for an installation to fit; native addons belong to one Node.js ABI. */
function wantedStamp() {
  const lock = existsSync(lockFile) ? readFileSync(lockFile) : '';
  return createHash('sha256').update(lock).update(`${process.versions.modules} ${process.arch}`).digest('hex');
}

function isInstalled() {
  const wanted = wantedStamp();
  if (existsSync(stampFile)) return readFileSync(stampFile, 'utf8') === wanted;
  // Installed by hand with npm: npm's own stamp tells whether it was after the lock file's last change.
  if (!existsSync(npmOwnStamp) || statSync(npmOwnStamp).mtimeMs < statSync(lockFile).mtimeMs) return false;
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

function install({ onLine, onStart }) {
  const npm = findCommand('npm');
  if (!npm) throw new Problem('npm is not installed.', ['Install npm (it comes with Node.js).']);
  // Dev dependencies too, whatever NODE_ENV says: the build needs them.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund'];
  // What has to be compiled is compiled on all processors.
  const env = { ...process.env, JOBS: 'max', ...headersEnvironment() };
  return run(npm, args, { cwd: projectRoot, env, onLine, onStart });
}

/** What npm has not got over by itself. */
const NETWORK_FAULT = /ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|ERR_SOCKET_TIMEOUT|EINTEGRITY|\b50[234]\b/;

/** better-sqlite3 has no prebuilt binary within reach: then it is compiled. @returns whether there are now compilers that were not */
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

async function installWithProgress({ progress, onStart }) {
  const options = { onLine: progress, onStart };
  try {
    await install(options);
  } catch (error) {
    if (await withCompilers(error)) progress('once more, now with a compiler');
    else if (error instanceof CommandFailed && NETWORK_FAULT.test(error.output))
      progress('once more, the network failed');
    else throw error;
    await install(options);
  }
  writeFileSync(stampFile, wantedStamp());
}

/** @throws Problem */
export async function ensureDependencies() {
  if (isInstalled()) return;
  await preparingAlone(async (onStart) => {
    // Another process may have done it while this one waited.
    if (isInstalled()) return;
    await step('installing npm packages (npm ci)', (progress) => installWithProgress({ progress, onStart }));
  });
}
