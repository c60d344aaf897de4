/**
 * `npm run cluster [-- --processes N]`: several server processes on PostgreSQL, Redis and one Docker, from a bare
 * machine, and back to nothing at Ctrl-C. Containers and data are there again at the next start.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBuild } from './lib/build.mjs';
import { clusterFolder, startServices } from './lib/cluster-services.mjs';
import { ensureDependencies } from './lib/dependencies.mjs';
import { readSettings } from './lib/environment-file.mjs';
import { creation, sayTable, tokenToTry } from './lib/how-to-call.mjs';
import { checkNodeVersion } from './lib/node-version.mjs';
import { Problem } from './lib/problem.mjs';
import { takeRunLock } from './lib/run-lock.mjs';
import { prepareDocker, watchDocker } from './lib/sandbox-docker.mjs';
import { serverEnvironment } from './lib/server-environment.mjs';
import { ServerFleet } from './lib/server-fleet.mjs';
import { atEnd, runScript } from './lib/shutdown.mjs';
import { say, step } from './lib/steps.mjs';

const PROCESSES = { fewest: 1, usual: 3, most: 20 };

/** @returns {number} @throws Problem */
function processesAsked() {
  const usage = `Usage: npm run cluster -- --processes N, from ${PROCESSES.fewest} to ${PROCESSES.most} (${PROCESSES.usual} if you do not say)`;
  let asked;
  try {
    asked = parseArgs({ options: { processes: { type: 'string', default: String(PROCESSES.usual) } } }).values
      .processes;
  } catch (error) {
    throw new Problem(error.message, [usage]);
  }
  const count = /^\d+$/.test(asked) ? Number(asked) : NaN;
  if (count >= PROCESSES.fewest && count <= PROCESSES.most) return count;
  throw new Problem(`--processes ${asked} is not a number of processes that can be started.`, [usage]);
}

async function startFleet({ count, env, settings, lock }) {
  const fleet = new ServerFleet({
    count,
    env,
    shutdownGraceSeconds: settings.SHUTDOWN_GRACE_SECONDS,
    remember: lock.remember,
  });
  atEnd('stopping the servers', (hurry) =>
    step('stopping the servers', () => fleet.stop({ hurry }), {
      detail: (killed) => (killed.length > 0 ? `killed, as not stopped in time: ${killed.join(', ')}` : undefined),
    }),
  );
  return step(`starting ${count} servers`, () => fleet.start());
}

/** For other commands and programs; a file, so that no password stands on a screen. */
function writeAddresses({ DATABASE_URL, REDIS_URL }) {
  const file = join(clusterFolder, 'addresses');
  writeFileSync(
    file,
    Object.entries({ DATABASE_URL, REDIS_URL })
      .map(([name, url]) => `${name}=${url}\n`)
      .join(''),
    { mode: 0o600 },
  );
  return file;
}

async function sayNext({ servers, settings, env, addresses, ownsDocker }) {
  const [{ url }] = servers;
  const token = await tokenToTry({ url, settings, env, file: join(clusterFolder, 'demo-token') });
  const command = `env $(cat ${addresses}) npm run -s token -- --user NAME --tier TIER`;
  say('');
  sayTable([
    ['APIs', ...servers.map(({ name, pid, ...server }) => `${server.url}/api  (${name}, process ${pid})`)],
    ['Docs', `${url}/api/docs`],
    ...(token ? [['Token', token]] : []),
    [token ? 'More' : 'Token', command],
  ]);
  if (token) {
    say('');
    const listing = `curl ${servers.at(-1).url}/api/containers -H 'Authorization: Bearer ${token}'`;
    const lines = ['Create a container through one, and list it through another:', creation(url, token), listing];
    for (const line of lines) say(`  ${line}`);
  }
  say('');
  const containers = ownsDocker ? 'containers come back at the next start' : 'containers go on running in your Docker';
  sayTable([['Ctrl-C', `stops everything; the data is kept, and ${containers}.`]]);
  say('');
}

async function main() {
  checkNodeVersion();
  const count = processesAsked();
  const lock = await takeRunLock();
  await ensureDependencies();
  await ensureBuild();
  const settings = readSettings();
  const docker = await prepareDocker(settings);
  const services = await startServices({ settings, remember: lock.remember });

  const env = { ...serverEnvironment({ settings, docker }), ...services };
  const servers = await startFleet({ count, env, settings, lock });
  watchDocker(docker, 'npm run cluster');
  const addresses = writeAddresses(services);
  await sayNext({ servers, settings, env, addresses, ownsDocker: docker.own !== undefined });
  // Until a signal ends it: whatever else ends is started again.
  return new Promise(() => {});
}

void runScript(main, { exitCodeOnSignal: 0 });
