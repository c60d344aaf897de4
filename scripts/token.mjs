/**
 * `npm run -s token -- --user NAME --tier TIER [--scopes read,write,exec] [--expires-in DAYS]`
 * Prints a new token, and nothing else, on stdout. It is one of the server that `npm start` runs here, if any.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureBuild } from './lib/build.mjs';
import { ensureDependencies } from './lib/dependencies.mjs';
import { defaultsFor, readSettings } from './lib/environment-file.mjs';
import { checkNodeVersion } from './lib/node-version.mjs';
import { makeDataFolder, projectRoot } from './lib/project.mjs';
import { databaseInUse } from './lib/run-lock.mjs';
import { runScript } from './lib/shutdown.mjs';
import { printStepsTo } from './lib/steps.mjs';

async function main() {
  printStepsTo(process.stderr);
  checkNodeVersion();
  makeDataFolder();
  await ensureDependencies();
  await ensureBuild();
  const settings = readSettings();
  const database = settings.DATABASE_URL ?? databaseInUse();
  const { status } = spawnSync(process.execPath, [join('dist', 'src', 'cli', 'token.js'), ...process.argv.slice(2)], {
    cwd: projectRoot,
    env: { ...process.env, ...defaultsFor(settings), ...(database && { DATABASE_URL: database }) },
    stdio: 'inherit',
  });
  return status ?? 1;
}

void runScript(main);
