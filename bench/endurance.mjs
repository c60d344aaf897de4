/** Whether memory stays where it is once the server is warm. */
import autocannon from 'autocannon';
import { figure } from './lib/report.mjs';

const WARM = { requests: 50_000, operations: 1000 };
const MEASURED = { requests: 200_000, operations: 5000 };
const CONTAINERS = 10;

/** @param {{ berth: import('./lib/server.mjs').Berth, progress: (line: string) => void }} context */
export async function endurance({ berth, progress }) {
  const token = await berth.token();
  const ids = [];
  for (let made = 0; made < CONTAINERS; made += 1) ids.push((await berth.running(token, 'berth/test:latest')).db_id);
  progress('warming up');
  await work({ berth, token, ids, ...WARM });
  const warm = await berth.report('memory');
  progress(`${MEASURED.requests} requests and ${MEASURED.operations} operations`);
  await work({ berth, token, ids, ...MEASURED });
  const after = await berth.report('memory');
  const ratio = (name, bytes) => ({
    name: `${name} after ${MEASURED.requests} requests, ${MEASURED.operations} operations / warm`,
    measured: bytes(after) / 2 ** 20,
    limit: bytes(warm) / 2 ** 20,
    unit: 'MB',
  });
  return [
    figure({ ...ratio('live memory', ({ heapUsed, external }) => heapUsed + external), bar: 1.1 }),
    // What V8 keeps for the next garbage: it goes up and down by a third with no more alive.
    figure(ratio('resident memory', ({ rss }) => rss)),
  ];
}

async function work({ berth, token, ids, requests, operations }) {
  const headers = { authorization: `Bearer ${token}` };
  const paths = ['/api/containers', '/api/me', ...ids.map((id) => `/api/containers/${id}`)];
  const { non2xx } = await autocannon({
    url: berth.url,
    headers,
    connections: 16,
    amount: requests,
    requests: paths.map((path) => ({ path })),
  });
  if (non2xx > 0) throw new Error(`${non2xx} answers were not 2xx`);
  const each = operations / ids.length / 2;
  await Promise.all(
    ids.map(async (id) => {
      for (let round = 0; round < each; round += 1) {
        await berth.call(token, 'POST', `/api/containers/${id}/stop`);
        await berth.call(token, 'POST', `/api/containers/${id}/start`);
      }
    }),
  );
}
