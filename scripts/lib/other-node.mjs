/** Other versions of Node.js, for tests: npm has the programs and their headers as packages. */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findCommand, run } from './command.mjs';
import { projectRoot, removeFolder, userCacheFolder } from './project.mjs';

/** Besides the one that runs the tests: the supported ones, and the newest that there is. */
export const NODE_VERSIONS = ['22', '24', 'latest'];

/** Releases within a version are wanted too, but not at each run. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;

/** Makes a program load the addon that belongs to it: the one of the project is for the Node.js that installed it. */
const LOADER = join(projectRoot, 'scripts', 'lib', 'other-node-addon.cjs');

/** Nothing waits for the compiler before all else has run. */
const COMPILER_NICENESS = 10;

/**
 * Installed once for all checkouts of this user.
 *
 * @param {string} version a range of npm's @param {(line: string) => void} onLine
 * @returns {Promise<{ node: string, env: object, name: string }>} the program; what tests need in their environment
 *   to run on it; its whole version
 */
export async function ensureOtherNode(version, onLine) {
  const folder = join(userCacheFolder, `node-${version}`);
  const program = `node-linux-${process.arch}`;
  const addon = `better-sqlite3@${versionOf(join(projectRoot, 'node_modules', 'better-sqlite3'))}`;
  // Written last: it is missing where the installation was cut off.
  const stamp = join(folder, 'installed');
  const isFresh =
    existsSync(stamp) && readFileSync(stamp, 'utf8') === addon && Date.now() - statSync(stamp).mtimeMs < MAX_AGE_MS;
  const packageFolder = join(folder, 'node_modules', program);
  if (!isFresh) {
    // Of this process alone: a run in another checkout may install the same.
    const part = `${folder}.${process.pid}.part`;
    removeFolder(part);
    mkdirSync(part, { recursive: true });
    const npm = (args, env = {}) =>
      run(findCommand('npm'), [...args, '--prefix', part], {
        cwd: part,
        env: { ...process.env, ...env },
        onLine,
        niceness: COMPILER_NICENESS,
      });
    await npm(['install', '--no-audit', '--no-fund', '--ignore-scripts', `${program}@${version}`, addon]);
    // The program is `node` in the folder's `.bin`, so npm builds the addon by it and for it.
    const quick = { JOBS: 'max', CFLAGS: '-O0', CXXFLAGS: '-O0' };
    await npm(['rebuild', 'better-sqlite3'], { ...quick, npm_config_nodedir: join(part, 'node_modules', program) });
    writeFileSync(join(part, 'installed'), addon);
    removeFolder(folder);
    renameSync(part, folder);
  }
  const built = join(folder, 'node_modules', 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node');
  return {
    node: join(packageFolder, 'bin', 'node'),
    env: { NODE_OPTIONS: `--require ${LOADER}`, BERTH_TEST_SQLITE_ADDON: built },
    name: versionOf(packageFolder),
  };
}

function versionOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
}
