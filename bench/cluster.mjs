/**
 * The engine of a cluster over TLS against the engine of one Docker over its socket, both on the same node, in turns;
 * and lists of all nodes against that of the slowest one, and against bare requests whose answers are not parsed.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Agent, get } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTestNodes } from '../scripts/lib/cluster/test-nodes.mjs';
import { testImage } from '../scripts/lib/test-image.mjs';
import { askNode, describedNodes } from './lib/nodes.mjs';
import { figure } from './lib/report.mjs';
import { median, timed } from './lib/statistics.mjs';

const RUNS = 15;
const EXECS = 5;
const LISTS = 60;
/** Lists before anything is measured: the first ones connect and run code that nothing has compiled yet. */
const FIRST_LISTS = 20;
const GRACE_S = 10;
const REST_MS = 200;
const ENDED_MS = 20_000;

/** What has been built. */
const require = createRequire(import.meta.url);

/** @param {{ progress: (line: string) => void }} context @returns {Promise<object[]>} figures */
export async function cluster({ progress }) {
  const { Logger } = require('@nestjs/common');
  Logger.overrideLogger(['error', 'fatal']);
  const { DockerEngine } = require('../dist/src/docker/docker-engine.js');
  const { EngineCalls } = require('../dist/src/engine/engine-calls.js');
  const { clusterEngine } = require('../dist/src/docker/cluster/cluster-settings.js');
  const { parseConfig } = require('../dist/src/config.js');

  progress('starting the nodes');
  const env = await startTestNodes();
  const nodes = describedNodes(env);
  const settings = { SANDBOX_RUNTIME: 'runsc', SANDBOX_FIREWALL: 'off', DISK_QUOTA: 'off' };
  const config = parseConfig({ ...env, ...settings, DATABASE_URL: env.TEST_POSTGRES_URL, SECRETS_KEY: '0'.repeat(64) });
  const near = new DockerEngine({ ...config, DOCKER_HOST: nodes[0].socket }, new EngineCalls());
  const far = clusterEngine(config, new EngineCalls());
  const instance = `test-bench-${process.pid}`;
  await near.host.prepare(instance);
  await far.host.prepare(instance);
  await until(() => far.nodes.list().every(({ isReachable }) => isReachable));
  const idOf = (name) => far.nodes.list().find((node) => node.name === name).id;

  const sides = [
    { engine: near, place: {} },
    { engine: far, place: { node: idOf(nodes[0].name) } },
  ];
  const times = { create: [[], []], start: [[], []], exec: [[], []], stop: [[], []] };
  for (let run = 1; run <= RUNS; run += 1) {
    progress(`verbs ${run}/${RUNS}`);
    for (const side of run % 2 ? [0, 1] : [1, 0]) {
      const { engine, place } = sides[side];
      const note = async (verb, work) => void times[verb][side].push(await timed(work));
      const { spec, make } = sandbox(engine, { instance, place });
      let id;
      await note('create', async () => (id = await make()));
      await note('start', () => engine.containers.start(id));
      const command = { command: ['true'], timeoutMs: 20_000, maxOutputBytes: 1024 };
      for (let exec = 0; exec < EXECS; exec += 1) await note('exec', () => engine.programs.run(id, command));
      await note('stop', () => engine.containers.stop(id, GRACE_S));
      await engine.containers.remove(id);
      await engine.volumes.remove(spec.volumeName, place.node);
      await sleep(REST_MS);
    }
  }

  for (const { name } of nodes) await sandbox(far, { instance, place: { node: idOf(name) } }).make();
  progress('lists');
  const list = (node) => far.containers.list({ instance, ...(node && { node: idOf(node.name) }) });
  const bare = bareLists({ nodes: far.nodes.list(), folder: config.CLUSTER_CERT_PATH, instance });
  const lists = { ours: nodes.map(() => []), bare: nodes.map(() => []), oursTogether: [], bareTogether: [] };
  for (let run = 0; run < FIRST_LISTS + LISTS; run += 1) {
    const note = async (times, work) => {
      const time = await timed(work);
      if (run >= FIRST_LISTS) times.push(time);
    };
    for (const [at, node] of nodes.entries()) {
      await note(lists.ours[at], () => list(node));
      await note(lists.bare[at], () => bare.ask(node.name));
    }
    const both = [
      () => note(lists.oursTogether, () => list()),
      () => note(lists.bareTogether, () => Promise.all(nodes.map(({ name }) => bare.ask(name)))),
    ];
    for (const each of run % 2 ? both : both.reverse()) await each();
  }
  bare.close();
  progress('a node is cut off');
  const last = nodes.at(-1);
  await askNode(env, last.name, 'cut');
  await until(() => far.nodes.list().some(({ name, isReachable }) => name === last.name && !isReachable));
  const silent = [];
  for (let run = 0; run < LISTS; run += 1) silent.push(await timed(() => list()));
  await askNode(env, last.name, 'heal');
  await far.onApplicationShutdown();
  near.onApplicationShutdown();

  const verb = (name, bar) => {
    const [limit, measured] = times[name].map(median);
    return figure({ name: `${name} over TLS / over the socket`, measured, limit, unit: 'ms', bar });
  };
  const slowest = (times) => Math.max(...times.map(median));
  const listed = median(lists.oursTogether);
  const bareListed = median(lists.bareTogether);
  return [
    verb('create', 1.15),
    verb('start', 1.15),
    verb('stop', 1.15),
    verb('exec', 1.3),
    figure({
      name: 'list of three nodes / of the slowest',
      measured: listed,
      limit: slowest(lists.ours),
      unit: 'ms',
      bar: 1.5,
    }),
    figure({
      name: 'three bare requests at once / the slowest alone',
      measured: bareListed,
      limit: slowest(lists.bare),
      unit: 'ms',
    }),
    figure({
      name: 'list of three nodes / three bare requests at once',
      measured: listed,
      limit: bareListed,
      unit: 'ms',
    }),
    figure({
      name: 'list with one of them silent / 50 ms more',
      measured: median(silent),
      limit: listed + 50,
      unit: 'ms',
      bar: 1,
    }),
  ];
}

/** What a list of each node takes at least: the same request over connections that are kept, whose answer is read. */
function bareLists({ nodes, folder, instance }) {
  const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => readFileSync(join(folder, `${name}.pem`)));
  const filters = JSON.stringify({ label: [`berth.instance=${instance}`] });
  const path = `/containers/json?all=true&filters=${encodeURIComponent(filters)}`;
  const agents = new Map(nodes.map(({ name }) => [name, new Agent({ ca, cert, key, keepAlive: true })]));
  const ask = async (name) => {
    const { hostname, port } = new URL(nodes.find((node) => node.name === name).address);
    const [answer] = await once(get({ agent: agents.get(name), hostname, port, path }), 'response');
    if (answer.statusCode !== 200) throw new Error(`a list was answered with ${answer.statusCode}`);
    await once(answer.resume(), 'end');
  };
  return { ask, close: () => agents.forEach((agent) => agent.destroy()) };
}

function sandbox(engine, { instance, place }) {
  const containerId = randomUUID();
  const owner = { instance, containerId, userId: randomUUID() };
  const name = `berth-${containerId}`;
  const limits = { memoryMb: 256, cpuShares: 500, diskMb: 1024, processes: 1024 };
  const spec = {
    name,
    image: testImage,
    network: 'internet',
    volumeName: name,
    owner,
    generation: 1,
    ...limits,
  };
  const make = async () => {
    await engine.volumes.ensure({ name, diskMb: limits.diskMb, owner, ...place });
    return engine.containers.create({ ...spec, ...place });
  };
  return { spec, make };
}

async function until(holds) {
  for (const end = performance.now() + ENDED_MS; !holds(); await sleep(50))
    if (performance.now() > end) throw new Error('the nodes are not as they should be');
}
