/**
 * Nodes that only remember, a thousand containers each, by how many there are: sixteen creations at once and their
 * placements, in turns with those on one machine, a list of all that is on the nodes, a sweep, and the memory that the
 * server has afterwards.
 */
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryDocker, MemoryNodes } from './lib/memory-docker-process.mjs';
import { figure } from './lib/report.mjs';
import { copyContainer } from './lib/rows.mjs';
import { startBerth } from './lib/server.mjs';
import { median, timed } from './lib/statistics.mjs';

const COUNTS = [10, 30, 100];
const OF_EACH = 1000;
const CLIENTS = 16;
const PLACEMENT_MS = 30;
const ROUNDS = 10;
const LISTS = 5;
const SWEEPS = 3;
/** What runs on after an answer is not to be paid for by the next. */
const REST_MS = 500;
const ENDED_MS = 60_000;
const IMAGE = 'berth/test:latest';
const BODY = { image: 'custom', custom_image: IMAGE, memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
const MB = 2 ** 20;

/** What has been built. */
const require = createRequire(import.meta.url);

/**
 * @param {{ env: NodeJS.ProcessEnv, quiet: object, newDatabase: () => Promise<string>,
 *   progress: (line: string) => void }} context
 * @returns {Promise<object[]>} figures
 */
export async function clusterGrowth({ env, quiet, newDatabase, progress }) {
  const figures = [];
  let smallest;
  const docker = await MemoryDocker.start();
  const settings = { ...env, ...quiet };
  const single = await startBerth({
    env: { ...settings, DOCKER_HOST: docker.host },
    databaseUrl: await newDatabase(),
    selfReport: true,
  });
  try {
    for (const count of COUNTS) {
      const say = (line) => progress(`${count} nodes: ${line}`);
      const databaseUrl = await newDatabase();
      const measured = await measure({ count, env: settings, databaseUrl, single, progress: say });
      smallest ??= measured;
      figures.push(...figuresOf({ count, measured, smallest }));
    }
  } finally {
    await single.stop();
    await docker.stop();
  }
  return figures;
}

/**
 * @param {object} of `smallest`: those with the fewest nodes; without a bar, how much more it is than for each there
 */
function figuresOf({ count, measured, smallest }) {
  const name = `${count} nodes × ${OF_EACH}`;
  const grown = count / COUNTS[0];
  const against = (what, key, unit) =>
    figure({
      name: `${name}: ${what} / ${COUNTS[0]} nodes’ × ${grown}`,
      measured: measured[key],
      limit: smallest[key] * grown,
      unit,
    });
  return [
    figure({
      name: `${name}: placement, of ${CLIENTS} at once / ${PLACEMENT_MS} ms more than on one machine`,
      measured: measured.placement,
      limit: measured.onOne + PLACEMENT_MS,
      unit: 'ms',
      bar: 1,
    }),
    figure({
      name: `${name}: answer to a creation, of ${CLIENTS} at once / ${COUNTS[0]} nodes’`,
      measured: measured.creation,
      limit: smallest.creation,
      unit: 'ms',
    }),
    against('list', 'list', 'ms'),
    against('sweep', 'sweep', 'ms'),
    figure({
      name: `${name}: event loop blocked at most by a sweep`,
      measured: measured.blocked,
      limit: 50,
      unit: 'ms',
      bar: 1,
    }),
    against('live memory', 'memory', 'MB'),
  ];
}

/** @param {object} of `single`: a server on one machine */
async function measure({ count, env, databaseUrl, single, progress }) {
  progress('starting');
  const nodes = await MemoryNodes.start(count);
  // Their rows come after them.
  const settings = { ...env, ...nodes.env, ORPHAN_GRACE_SECONDS: '3600' };
  const berth = await startBerth({ env: settings, databaseUrl, selfReport: true });
  try {
    const token = await berth.token('enterprise', 'read,write,admin');
    const reconcile = () => berth.call(token, 'POST', '/api/admin/reconcile');
    // Or each container of a node that begins to be watched later would be looked at.
    await allAnswer({ berth, token, count });
    await reconcile();
    progress('making containers');
    await fill({ nodes, berth, token });
    // What was put there by hand is counted.
    await reconcile();
    const noted = berth.log.length;
    progress('placements');
    const placed = await placements({ berth, single });
    progress('sweeps');
    const times = [];
    const blocked = [];
    await berth.report('blocked');
    for (let run = 0; run < SWEEPS; run += 1) {
      const before = await berth.metric('berth_sweep_duration_seconds_sum');
      const report = await reconcile();
      blocked.push(await berth.report('blocked'));
      times.push(1000 * ((await berth.metric('berth_sweep_duration_seconds_sum')) - before));
      if (JSON.stringify(report).match(/[1-9]/))
        throw new Error(`a sweep found differences: ${JSON.stringify(report)}`);
    }
    const faults = berth.log.slice(noted);
    if (faults.length > 0) throw new Error(`the server logged ${faults.length} faults, first: ${faults[0]}`);
    const { heapUsed, external } = await berth.report('memory');
    progress('lists');
    const list = await lists({ nodes, berth, total: count * OF_EACH });
    return {
      ...placed,
      list,
      sweep: median(times),
      blocked: Math.max(...blocked),
      memory: (heapUsed + external) / MB,
    };
  } finally {
    await berth.stop();
    await nodes.stop();
  }
}

async function allAnswer({ berth, token, count }) {
  for (const end = performance.now() + ENDED_MS; performance.now() < end; await sleep(200)) {
    // While all of them begin to answer, the database may be busy.
    const { nodes } = await berth.call(token, 'GET', '/api/admin/nodes').catch(() => ({ nodes: [] }));
    if (nodes.length === count && nodes.every(({ state }) => state === 'reachable')) return;
  }
  throw new Error('not all nodes answer');
}

/** Rows, containers and volumes that agree, a thousand on each node. */
async function fill({ nodes, berth, token }) {
  const { db_id: id } = await berth.running(token, IMAGE);
  const placed = [];
  for (const node of nodes.nodes) {
    const ids = Array.from({ length: OF_EACH }, () => randomUUID());
    const labels = { 'berth.managed': 'true', 'berth.instance': berth.settings.INSTANCE_ID };
    const containers = ids.map((own) => ({
      name: `berth-${own}`,
      Labels: { ...labels, 'berth.container_id': own },
    }));
    const engineIds = await nodes.add(node, containers);
    placed.push(...ids.map((own, at) => ({ own, node: node.id, engineId: `${node.id}/${engineIds[at]}` })));
  }
  const change = (index) => {
    const { own, node, engineId } = placed[index];
    return { id: own, node_id: node, docker_id: engineId, volume_name: `berth-${own}` };
  };
  await copyContainer({ databaseUrl: berth.settings.DATABASE_URL, id, count: placed.length, change });
}

/**
 * @returns {Promise<{ creation: number, placement: number, onOne: number }>} how long the answer to a creation takes
 *   where as many clients ask at once, of it what the server takes to place and insert, and that on one machine
 */
async function placements({ berth, single }) {
  const sides = [];
  for (const server of [berth, single]) {
    const names = Array.from({ length: CLIENTS }, () => `client-${randomUUID().slice(0, 8)}`);
    const tokens = await Promise.all(names.map(async (name) => (await server.guest(name)).token));
    await server.report('placements');
    sides.push({ server, tokens, answers: [], inserts: [] });
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const { server, tokens, answers, inserts } of round % 2 ? sides : sides.toReversed()) {
      const { times, placed } = await createAtOnce(server, tokens);
      // The first ones run code that nothing has compiled yet.
      if (round > 1) answers.push(...times);
      if (round > 1) inserts.push(...placed);
    }
  }
  const [many, one] = sides;
  return { creation: median(many.answers), placement: median(many.inserts), onOne: median(one.inserts) };
}

/** A container of each client, which is deleted afterwards. */
async function createAtOnce(server, tokens) {
  const times = [];
  const made = await Promise.all(
    tokens.map(async (token) => {
      let answer;
      times.push(await timed(async () => (answer = await server.call(token, 'POST', '/api/containers', BODY))));
      return answer.db_id;
    }),
  );
  const placed = await server.report('placements');
  if (placed.length !== CLIENTS) throw new Error(`${placed.length} placements of ${CLIENTS} creations`);
  const all = (work) => Promise.all(tokens.map((token, at) => work(token, made[at])));
  await all((token, id) => server.call(token, 'GET', `/api/containers/${id}/wait?status=running&timeout=60`));
  await all((token, id) => server.call(token, 'DELETE', `/api/containers/${id}`));
  await sleep(REST_MS);
  return { times, placed };
}

/** @returns {Promise<number>} how long the engine's list of all nodes takes, in this process */
async function lists({ nodes, berth, total }) {
  const { Logger } = require('@nestjs/common');
  Logger.overrideLogger(['error', 'fatal']);
  const { EngineCalls } = require('../dist/src/engine/engine-calls.js');
  const { clusterEngine } = require('../dist/src/docker/cluster/cluster-settings.js');
  const { parseConfig } = require('../dist/src/config.js');
  const engine = clusterEngine(parseConfig({ ...berth.settings, ...nodes.env }), new EngineCalls());
  const instance = berth.settings.INSTANCE_ID;
  await engine.host.prepare(instance);
  try {
    const times = [];
    for (let run = 0; run < LISTS; run += 1) {
      const since = performance.now();
      const { items, silent } = await engine.containers.list({ instance });
      times.push(performance.now() - since);
      if (silent.length > 0 || items.length < total) throw new Error(`${silent.length} nodes did not list`);
    }
    return median(times);
  } finally {
    await engine.onApplicationShutdown();
  }
}
