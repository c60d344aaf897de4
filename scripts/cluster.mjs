/**
 * `npm run cluster [-- --processes N] [--nodes N]`: several server processes on PostgreSQL, Redis and one Docker, or
 * several Docker nodes in a Swarm, from a bare machine, and back to nothing at Ctrl-C. Containers and data are there
 * again at the next start.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBuild } from './lib/build.mjs';
import { clusterFolder, startServices } from './lib/cluster-services.mjs';
import { nodesFolder, prepareNodes } from './lib/cluster/sandbox-nodes.mjs';
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
/** Without the option, there are none: one Docker, whichever is there. */
const NODES = { fewest: 1, most: 9 };

const USAGE = [
  `Usage: npm run cluster -- --processes N, from ${PROCESSES.fewest} to ${PROCESSES.most} (${PROCESSES.usual} if you do not say)`,
  `       npm run cluster -- --nodes N, from ${NODES.fewest} to ${NODES.most}: that many Docker nodes in a Swarm`,
];

/** @returns {{ processes: number, nodes?: number }} @throws Problem */
function asked() {
  const options = { processes: { type: 'string', default: String(PROCESSES.usual) }, nodes: { type: 'string' } };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new Problem(error.message, USAGE);
  }
  const processes = numberOf('processes', values.processes, PROCESSES);
  return values.nodes === undefined ? { processes } : { processes, nodes: numberOf('nodes', values.nodes, NODES) };
}

function numberOf(what, text, { fewest, most }) {
  const count = /^\d+$/.test(text) ? Number(text) : NaN;
  if (count >= fewest && count <= most) return count;
  throw new Problem(`--${what} ${text} is not a number of ${what} that can be started.`, USAGE);
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
function writeAddresses(folder, { DATABASE_URL, REDIS_URL }) {
  const file = join(folder, 'addresses');
  writeFileSync(
    file,
    Object.entries({ DATABASE_URL, REDIS_URL })
      .map(([name, url]) => `${name}=${url}\n`)
      .join(''),
    { mode: 0o600 },
  );
  return file;
}

async function sayNext({ servers, settings, env, folder, addresses, nodes, ownsDocker }) {
  const [{ url }] = servers;
  // An administrator's, who may list, drain and forget the nodes too.
  const scopes = ['read', 'write', 'exec', 'admin'];
  const token = await tokenToTry({ url, settings, env, file: join(folder, 'demo-token'), scopes });
  const command = `env $(cat ${addresses}) npm run -s token -- --user NAME --tier TIER`;
  say('');
  sayTable([
    ['APIs', ...servers.map(({ name, pid, ...server }) => `${server.url}/api  (${name}, process ${pid})`)],
    ...(nodes.length > 0 ? [['Nodes', ...nodes.map(({ name, host }) => `${name}  ${host}`)]] : []),
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
  const { processes: count, nodes: wanted } = asked();
  const lock = await takeRunLock();
  await ensureDependencies();
  await ensureBuild();
  const settings = readSettings();
  const made = wanted === undefined ? undefined : await prepareNodes(wanted);
  const docker = made?.docker ?? (await prepareDocker(settings));
  const nodes = made?.cluster.nodes ?? [];
  const folder = made ? nodesFolder : clusterFolder;
  const services = await startServices({ settings, folder, remember: lock.remember });

  const env = { ...serverEnvironment({ settings, docker }), ...made?.env, ...services };
  const servers = await startFleet({ count, env, settings, lock });
  watchDocker(docker, 'npm run cluster');
  const addresses = writeAddresses(folder, services);
  const ownsDocker = made !== undefined || docker.own !== undefined;
  await sayNext({ servers, settings, env, folder, addresses, nodes, ownsDocker });
  // Until a signal ends it: whatever else ends is started again.
  return new Promise(() => {});
}

void runScript(main, { exitCodeOnSignal: 0 });
