/**
 * `npm run agent -- --url URL --token TOKEN` (or BERTH_URL and BERTH_AGENT_TOKEN)
 * Makes this machine an agent of a Berth until it is stopped.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensureBuild } from './lib/build.mjs';
import { ensureDependencies } from './lib/dependencies.mjs';
import { checkNodeVersion } from './lib/node-version.mjs';
import { makeDataFolder, projectRoot } from './lib/project.mjs';
import { atEnd, runScript } from './lib/shutdown.mjs';

async function main() {
  checkNodeVersion();
  makeDataFolder();
  await ensureDependencies();
  await ensureBuild();
  const child = spawn(process.execPath, [join('dist', 'src', 'cli', 'agent.js'), ...process.argv.slice(2)], {
    cwd: projectRoot,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = new Promise((resolve) => {
    child.once('exit', (code) => resolve(code ?? 1));
    child.once('error', () => resolve(1));
  });
  atEnd('stopping the agent', async (hurry) => {
    hurry.addEventListener('abort', () => child.kill('SIGKILL'));
    child.kill('SIGTERM');
    await ended;
  });
  return ended;
}

void runScript(main, { exitCodeOnSignal: 0 });
