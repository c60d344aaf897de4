/**
 * `npm run bench`: how close Berth comes to what it stands on. Sets up what it needs like the tests do, and writes the
 * results to `bench/results/` and the table in `bench/README.md`. `npm run bench -- reads lifecycle` runs a part;
 * `--against REVISION` measures an earlier revision too, in turns, and prints both.
 */
import { parseArgs } from 'node:util';
import { build } from '../scripts/lib/build.mjs';
import { readSettings } from '../scripts/lib/environment-file.mjs';
import { runtimeName } from '../scripts/lib/gvisor.mjs';
import { printFailure, Problem } from '../scripts/lib/problem.mjs';
import { isEnding, runEnd, runScript } from '../scripts/lib/shutdown.mjs';
import { say, step } from '../scripts/lib/steps.mjs';
import { ensureSupervisor } from '../scripts/lib/supervisor-build.mjs';
import { startPostgres } from '../scripts/lib/test-databases.mjs';
import { startTestDocker } from '../scripts/lib/test-docker.mjs';
import { testImage } from '../scripts/lib/test-image.mjs';
import { prepareTestRun } from '../scripts/lib/test-preparation.mjs';
import { buildRevision, compare, comparison } from './lib/against.mjs';
import { connect } from './lib/docker.mjs';
import { MemoryDocker } from './lib/memory-docker-process.mjs';
import { machine, write } from './lib/report.mjs';
import { startBerth } from './lib/server.mjs';
import { capacity } from './capacity.mjs';
import { clusterGrowth } from './cluster-growth.mjs';
import { cluster } from './cluster.mjs';
import { creation } from './creation.mjs';
import { endurance } from './endurance.mjs';
import { inside, transfers } from './inside.mjs';
import { lifecycle } from './lifecycle.mjs';
import { lists } from './lists.mjs';
import { liveEvents } from './live-events.mjs';
import { outsideEvents } from './outside-events.mjs';
import { previews } from './previews.mjs';
import { reads } from './reads.mjs';
import { serverStart } from './server-start.mjs';
import { snapshots } from './snapshots.mjs';
import { sweep } from './sweep.mjs';
import { warm } from './warm.mjs';

/** Nothing but what is asked for: what goes on by itself is measured on its own. */
const QUIET = { SWEEP_INTERVAL_SECONDS: '3600', LIMIT_CHECK_SECONDS: '3600', SANDBOX_FIREWALL: 'off' };

/**
 * On SQLite, and where it could differ on PostgreSQL too. On a Docker that only remembers, or `real`: on Docker with
 * gVisor; `own`: there too, on servers that it starts itself; `alone`: elsewhere, likewise. A part brings the parts
 * that belong to it (`with`) with it.
 */
const PARTS = {
  lifecycle: { name: 'the verbs', on: ['SQLite'], real: true, measure: lifecycle },
  creation: { name: 'creations', on: ['SQLite', 'PostgreSQL'], real: true, measure: creation },
  creationRunc: {
    name: 'creations under runc',
    on: ['SQLite', 'PostgreSQL'],
    real: true,
    runtime: 'runc',
    measure: creation,
  },
  warm: { name: 'warm creations', on: ['SQLite', 'PostgreSQL'], own: true, measure: warm },
  events: { name: 'events from outside', on: ['SQLite'], real: true, measure: outsideEvents },
  inside: { name: 'inside containers', on: ['SQLite'], real: true, selfReport: true, measure: inside },
  transfers: { name: 'files of containers', on: ['SQLite'], real: true, measure: transfers },
  reads: { name: 'reads', on: ['SQLite', 'PostgreSQL'], measure: reads },
  live: { name: 'live events', on: ['SQLite', 'PostgreSQL'], selfReport: true, measure: liveEvents },
  lists: { name: 'lists', on: ['SQLite', 'PostgreSQL'], measure: lists },
  sweep: { name: 'sweeps', on: ['SQLite', 'PostgreSQL'], selfReport: true, measure: sweep },
  capacity: { name: 'room on the machine', on: ['SQLite', 'PostgreSQL'], measure: capacity },
  endurance: { name: 'endurance', on: ['SQLite'], selfReport: true, measure: endurance },
  cluster: { name: 'several machines', on: ['PostgreSQL'], alone: true, with: 'clusterGrowth', measure: cluster },
  clusterGrowth: { name: 'many machines', on: ['PostgreSQL'], alone: true, measure: clusterGrowth },
  snapshots: { name: 'snapshots and forks', on: ['SQLite'], own: true, measure: snapshots },
  previews: {
    name: 'previews',
    on: ['SQLite', 'PostgreSQL'],
    selfReport: true,
    settings: { PREVIEW_PORT: '0' },
    measure: previews,
  },
  start: { name: 'starts of the server', on: ['SQLite'], alone: true, measure: serverStart },
};

async function withBerth(options, work) {
  const berth = await startBerth(options);
  try {
    return await work(berth);
  } finally {
    await berth.stop();
  }
}

/** Runs a part against a server of its own. */
async function measurePart(part, { database, env, docker, databaseUrl, newDatabase, progress }) {
  const { runtime = runtimeName } = part;
  const context = { docker, image: testImage, database, runtime, progress };
  if (part.own) return part.measure({ ...context, env: { ...env, SANDBOX_RUNTIME: runtime }, databaseUrl });
  if (part.alone) return part.measure({ env, quiet: QUIET, newDatabase, progress });
  if (part.real) {
    const options = { env: { ...env, SANDBOX_RUNTIME: runtime }, databaseUrl, selfReport: part.selfReport };
    return withBerth(options, (berth) => part.measure({ ...context, berth }));
  }
  const memoryDocker = await MemoryDocker.start();
  try {
    const options = { env: { ...env, ...QUIET, DOCKER_HOST: memoryDocker.host }, databaseUrl };
    return await withBerth({ ...options, selfReport: part.selfReport, own: part.settings }, (berth) =>
      part.measure({ ...context, berth, docker: memoryDocker }),
    );
  } finally {
    await memoryDocker.stop();
  }
}

/**
 * @returns {Promise<object[]>} figures, or the rows of a comparison with the checkout at `against`. A comparison leaves
 *   out what fails, such as a part that an earlier revision cannot run, and says so.
 */
async function measure({ parts, env, docker, against }) {
  const figures = [];
  let postgres;
  for (const part of parts.map((name) => PARTS[name])) {
    for (const database of part.on) {
      if (database === 'PostgreSQL') postgres ??= await step('starting PostgreSQL', startPostgres);
      const once = async (progress) => {
        const databaseUrl = database === 'PostgreSQL' ? await newDatabase(postgres) : undefined;
        const settings = { database, env, docker, databaseUrl, newDatabase: () => newDatabase(postgres) };
        return measurePart(part, { ...settings, progress });
      };
      const name = `${part.name}, ${database}`;
      if (!against) {
        figures.push(...(await step(name, once)));
        continue;
      }
      try {
        figures.push(...(await compare(against, (side) => step(`${name}, ${side}`, once))));
      } catch (error) {
        if (isEnding()) throw error;
        say(`! left out: ${name}: ${error.message}`);
      }
    }
  }
  return figures;
}

/** Each part begins with an empty one. */
async function newDatabase(server) {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  const name = `bench_${Date.now()}`;
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return Object.assign(new URL(server), { pathname: `/${name}` }).href;
}

async function bench(asked, revision) {
  const unknown = asked.find((part) => !(part in PARTS));
  if (unknown)
    throw new Problem(`There is no part "${unknown}".`, [`Parts: ${Object.keys(PARTS).join(', ')}; none: all`]);
  await prepareTestRun();
  await step('building', build);
  await ensureSupervisor();
  const other = revision && (await step(`building ${revision}`, (progress) => buildRevision(revision, progress)));
  const api = await startTestDocker(readSettings());
  const env = { ...process.env, DOCKER_HOST: api.host, SANDBOX_RUNTIME: runtimeName };
  const docker = connect(api.host);
  const wanted = asked.flatMap((part) => [part, PARTS[part].with ?? []].flat());
  const parts = asked.length > 0 ? [...new Set(wanted)] : Object.keys(PARTS);
  const figures = await measure({ parts, env, docker, against: other?.root });
  if (other) return say(comparison(figures, other.name));
  const { ServerVersion: version } = await docker.info();
  say(write({ figures, about: machine({ docker: version }), isWhole: asked.length === 0 }));
}

void runScript(async () => {
  try {
    const { positionals, values } = parseArgs({ allowPositionals: true, options: { against: { type: 'string' } } });
    await bench(positionals, values.against);
    return 0;
  } catch (error) {
    printFailure(error);
    return 1;
  } finally {
    await runEnd();
  }
});
