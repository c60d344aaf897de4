/**
 * Authenticated `GET /api/containers/:id` against a bare route that does no more than it must; interleaved, on one
 * database.
 */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import autocannon from 'autocannon';
import { projectRoot } from '../scripts/lib/project.mjs';
import { figure } from './lib/report.mjs';
import { median } from './lib/statistics.mjs';

const ROUNDS = 3;
const SECONDS = 5;
const CONNECTIONS = 32;

/**
 * @param {{ berth: import('./lib/server.mjs').Berth, image: string, database: string,
 *   progress: (line: string) => void }} context
 */
export async function reads({ berth, image, database, progress }) {
  const token = await berth.token();
  const { db_id: id } = await berth.running(token, image);
  const answer = JSON.stringify(await berth.call(token, 'GET', `/api/containers/${id}`));
  const env = { DATABASE_URL: berth.settings.DATABASE_URL, ANSWER: answer };
  const bare = await startBare('bare-route.mjs', env);
  const nest = await startBare('bare-nest.mjs', env);
  const rates = { measured: [], bare: [], nest: [] };
  for (let round = 1; round <= ROUNDS; round += 1) {
    progress(`${database}: round ${round}/${ROUNDS}`);
    rates.measured.push(await requestsPerSecond(`${berth.url}/api/containers/${id}`, token));
    rates.bare.push(await requestsPerSecond(`${bare.url}/api/containers/${id}`, token));
    rates.nest.push(await requestsPerSecond(`${nest.url}/api/containers/${id}`, token));
  }
  for (const { child } of [bare, nest]) child.disconnect();
  await berth.call(token, 'DELETE', `/api/containers/${id}`);
  const against = (limit) => ({ measured: median(rates.measured), limit: median(limit), unit: '/s', smaller: false });
  return [
    figure({ name: `GET by id, ${database} / bare Fastify route`, ...against(rates.bare), bar: 0.8 }),
    // Not a bar of anybody's: it says how much of the distance is the frameworks'.
    figure({ name: `GET by id, ${database} / bare Nest route with passport`, ...against(rates.nest) }),
  ];
}

async function requestsPerSecond(url, token) {
  const headers = { authorization: `Bearer ${token}` };
  const { requests, non2xx } = await autocannon({ url, headers, connections: CONNECTIONS, duration: SECONDS });
  if (non2xx > 0) throw new Error(`${non2xx} answers of ${url} were not 2xx`);
  return requests.average;
}

async function startBare(program, env) {
  const child = fork(join(projectRoot, 'bench', program), { env: { ...process.env, ...env } });
  const { url } = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
  });
  return { child, url };
}
