/** One user's list of 25 containers: whether it matters how many others there are. */
import autocannon from 'autocannon';
import { figure } from './lib/report.mjs';
import { copyContainer } from './lib/rows.mjs';
import { median } from './lib/statistics.mjs';

const OWN = 25;
const FEW = 10;
const MANY = 100_000;
const ROUNDS = 3;
const SECONDS = 3;
const CONNECTIONS = 8;

/** @param {{ berth: import('./lib/server.mjs').Berth, database: string, progress: (line: string) => void }} context */
export async function lists({ berth, database, progress }) {
  const token = await berth.token();
  const { db_id: id, user_id: own } = await berth.running(token, 'berth/test:latest');
  await berth.call(token, 'POST', `/api/containers/${id}/stop`);
  const copies = { databaseUrl: berth.settings.DATABASE_URL, id };
  await copyContainer({ ...copies, count: OWN - 1, change: (index) => ({ user_id: own, name: `own-${index}` }) });
  const answer = await berth.call(token, 'GET', '/api/containers');
  if (answer.containers.length !== OWN) throw new Error(`a list of ${answer.containers.length}`);
  const ms = {};
  let others = 0;
  for (const among of [FEW, MANY]) {
    progress(`${database}: among ${among} others`);
    await copyContainer({ ...copies, count: among - others });
    others = among;
    ms[among] = await msEach({ url: `${berth.url}/api/containers`, token });
  }
  const name = `list of ${OWN}, ${database}: among ${MANY} others / among ${FEW}`;
  return [figure({ name, measured: ms[MANY], limit: ms[FEW], unit: 'ms each', bar: 1.2 })];
}

async function msEach({ url, token }) {
  const headers = { authorization: `Bearer ${token}` };
  const rates = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { requests, non2xx } = await autocannon({ url, headers, connections: CONNECTIONS, duration: SECONDS });
    if (non2xx > 0) throw new Error(`${non2xx} answers of ${url} were not 2xx`);
    rates.push(requests.average);
  }
  return 1000 / median(rates);
}
