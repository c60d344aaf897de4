/**
 * A preview of a port, against a bare proxy before the same server and against that server itself, in turns; and the
 * memory of WebSockets at rest.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import autocannon from 'autocannon';
import { projectRoot } from '../scripts/lib/project.mjs';
import { figure } from './lib/report.mjs';
import { median, quantile, slope } from './lib/statistics.mjs';

const ROUNDS = 3;
const SECONDS = 5;
const CONNECTIONS = 32;
const REQUESTS = 2_000;
/** That of every container of `lib/memory-docker.mjs`. */
const CONTAINER_ADDRESS = '127.0.0.2';
/** So many users, as each may have no more than 200 connections. */
const RESTING = { users: 5, each: 100 };

/**
 * @param {{ berth: import('./lib/server.mjs').Berth, image: string, database: string,
 *   progress: (line: string) => void }} context
 */
export async function previews({ berth, image, database, progress }) {
  const upstream = await start('bare-upstream.mjs', { ADDRESS: CONTAINER_ADDRESS });
  const proxy = await start('bare-proxy.mjs', { UPSTREAM: upstream.url });
  try {
    const port = Number(new URL(upstream.url).port);
    const preview = await previewOf({ berth, image, port });
    const sides = { preview, proxy: { url: proxy.url, headers: {} }, server: { url: upstream.url, headers: {} } };
    return [
      ...(await latencies({ sides, database, progress })),
      await rates({ sides, database, progress }),
      await resting({ berth, image, port, database, progress }),
    ];
  } finally {
    for (const { child } of [proxy, upstream]) child.disconnect();
  }
}

/** One request after the other on one connection. Who is first takes turns. */
async function latencies({ sides, database, progress }) {
  const times = { preview: [], proxy: [], server: [] };
  const agents = new Map(Object.keys(times).map((side) => [side, new Agent({ keepAlive: true, maxSockets: 1 })]));
  const names = Object.keys(times);
  for (let turn = 1; turn <= REQUESTS; turn += 1) {
    if (turn % 500 === 0) progress(`requests ${turn}/${REQUESTS}`);
    for (let place = 0; place < names.length; place += 1) {
      const side = names[(turn + place) % names.length];
      const since = performance.now();
      await answered({ ...sides[side], agent: agents.get(side) });
      times[side].push(performance.now() - since);
    }
  }
  for (const agent of agents.values()) agent.destroy();
  const [ours, bare, direct] = [times.preview, times.proxy, times.server].map((each) => quantile(each, 0.5));
  const about = `a preview's request, ${database}`;
  return [
    figure({
      name: `${about}: added to the server's own, median`,
      measured: ours - direct,
      limit: 3,
      unit: 'ms',
      bar: 1,
    }),
    figure({ name: `${about} / bare proxy, median`, measured: ours, limit: bare, unit: 'ms' }),
  ];
}

async function rates({ sides, database, progress }) {
  const found = { preview: [], proxy: [] };
  for (let round = 1; round <= ROUNDS; round += 1) {
    progress(`throughput: round ${round}/${ROUNDS}`);
    for (const side of Object.keys(found)) found[side].push(await requestsPerSecond(sides[side]));
  }
  const [measured, limit] = [median(found.preview), median(found.proxy)];
  const name = `previews' throughput, ${database} / bare proxy`;
  return figure({ name, measured, limit, unit: '/s', bar: 0.7, smaller: false });
}

async function resting({ berth, image, port, database, progress }) {
  const sockets = [];
  const points = [];
  for (let user = 1; user <= RESTING.users; user += 1) {
    const preview = await previewOf({ berth, image, port });
    const opened = Array.from({ length: RESTING.each }, () => upgraded(preview));
    sockets.push(...(await Promise.all(opened)));
    progress(`WebSockets at rest: ${sockets.length}`);
    points.push([sockets.length, await alive(berth)]);
  }
  for (const socket of sockets) socket.destroy();
  const name = `memory of a preview's WebSocket at rest, ${database}`;
  return figure({ name, measured: slope(points) / 1024, limit: 60, unit: 'KB', bar: 1 });
}

/** The preview of a new user's new container. */
async function previewOf({ berth, image, port }) {
  const token = await berth.token();
  const { db_id: id } = await berth.running(token, image);
  const body = { access: 'private' };
  const { url } = await berth.call(token, 'PUT', `/api/containers/${id}/ports/${port}`, body);
  const { host, port: listener } = new URL(url);
  return { url: `http://127.0.0.1:${listener}/`, headers: { host, 'berth-token': token } };
}

async function answered({ url, headers, agent }) {
  const asked = request(url, { headers, agent }).end();
  const [answer] = await once(asked, 'response');
  if (answer.statusCode !== 200) throw new Error(`${url}: ${answer.statusCode}`);
  answer.resume();
  await once(answer, 'end');
}

async function upgraded({ url, headers }) {
  const handshake = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
  const asked = request(url, {
    headers: { ...headers, ...handshake, 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
  }).end();
  const [, socket] = await once(asked, 'upgrade');
  return socket;
}

async function requestsPerSecond({ url, headers }) {
  const { requests, non2xx } = await autocannon({ url, headers, connections: CONNECTIONS, duration: SECONDS });
  if (non2xx > 0) throw new Error(`${non2xx} answers of ${url} were not 2xx`);
  return requests.average;
}

/** What is left after two collections, in bytes: the second one frees what finalizers of the first have freed. */
async function alive(berth) {
  await berth.report('memory');
  const { heapUsed, external } = await berth.report('memory');
  return heapUsed + external;
}

async function start(program, env) {
  const child = fork(join(projectRoot, 'bench', program), { env: { ...process.env, ...env } });
  const { url } = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
  });
  return { child, url };
}
