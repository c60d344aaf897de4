/**
 * From the commit of an operation to its event in a client, while a thousand other sockets are idle; and what those
 * cost.
 */
import { io } from 'socket.io-client';
import { figure } from './lib/report.mjs';
import { LIMITS } from './lib/server.mjs';
import { quantile } from './lib/statistics.mjs';

const IDLE_USERS = 20;
const SOCKETS_EACH = 50;
const CHANGES = 500;

async function connect(url, token) {
  const socket = io(url, { auth: { token }, transports: ['websocket'], forceNew: true });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  return socket;
}

async function idleSockets(berth) {
  const sockets = [];
  for (let user = 0; user < IDLE_USERS; user += 1) {
    const { token } = await berth.guest(`idle-${user}`);
    sockets.push(...(await Promise.all(Array.from({ length: SOCKETS_EACH }, () => connect(berth.url, token)))));
  }
  return sockets;
}

/** @param {{ berth: import('./lib/server.mjs').Berth, database: string, progress: (line: string) => void }} context */
export async function liveEvents({ berth, database, progress }) {
  const token = await berth.token();
  const { db_id: id } = await berth.running(token, 'berth/test:latest');
  const socket = await connect(berth.url, token);
  const before = await berth.report('memory');
  progress(`${database}: connecting ${IDLE_USERS * SOCKETS_EACH} idle sockets`);
  const idle = await idleSockets(berth);
  const each = ((await berth.report('memory')).rss - before.rss) / idle.length / 1024;
  const late = [];
  for (let change = 1; change <= CHANGES; change += 1) {
    if (change % 50 === 0) progress(`${database}: change ${change}/${CHANGES}`);
    const told = new Promise((resolve) =>
      // Its timestamp is of just before the commit, in whole milliseconds rounded down: this is never too little.
      socket.once('container_updated', ({ timestamp }) =>
        resolve(performance.timeOrigin + performance.now() - Date.parse(timestamp)),
      ),
    );
    await berth.call(token, 'PATCH', `/api/containers/${id}`, { name: `changed-${change}`, ...LIMITS });
    late.push(await told);
  }
  for (const one of [socket, ...idle]) one.close();
  const name = `commit → client among ${idle.length} idle sockets, ${database}`;
  return [
    figure({ name: `${name}, median`, measured: quantile(late, 0.5), limit: 3, unit: 'ms', bar: 1 }),
    figure({ name: `${name}, p99`, measured: quantile(late, 0.99), limit: 20, unit: 'ms', bar: 1 }),
    figure({
      name: `memory of an idle socket, ${database}`,
      measured: each,
      limit: 25,
      unit: 'KB',
      bar: 1,
    }),
  ];
}
