/** A creation, from the request until it runs, against Docker's own calls with the same options, in turns. */
import { setTimeout as sleep } from 'node:timers/promises';
import { likenessesOf, newVolume } from './lib/docker.mjs';
import { figure } from './lib/report.mjs';
import { median, paired, timed } from './lib/statistics.mjs';

const RUNS = 40;
/** What was started or removed just now keeps both processors busy: neither side is to pay for the other's. */
const REST_MS = 300;

/**
 * @param {{ berth: import('./lib/server.mjs').Berth, docker: import('dockerode'), image: string, database: string,
 *   runtime: string, progress: (line: string) => void }} context
 */
export async function creation({ berth, docker, image, database, runtime, progress }) {
  const token = await berth.token();
  // The first of an image is watched for longer; all that follow are what this is about.
  const first = await berth.running(token, image);
  const create = await likenessesOf(docker, first.id);
  progress('warming up');
  await berth.warmUp(token, first);
  const times = { running: [[], []], accepted: [] };
  for (let run = 1; run <= RUNS; run += 1) {
    progress(`creation ${run}/${RUNS}`);
    let ours;
    let theirs;
    const works = [
      async () => {
        const since = performance.now();
        const { db_id } = await berth.accepted(token, image);
        times.accepted.push(performance.now() - since);
        ours = await berth.call(token, 'GET', `/api/containers/${db_id}/wait?status=running&timeout=60`);
      },
      async () => {
        const volume = await newVolume(docker);
        theirs = await create({ volume });
        await theirs.start();
      },
    ];
    for (const side of run % 2 ? [0, 1] : [1, 0]) {
      await sleep(REST_MS);
      times.running[side].push(await timed(works[side]));
    }
    await berth.call(token, 'DELETE', `/api/containers/${ours.db_id}`);
    await theirs.remove({ force: true, v: true });
  }
  await berth.call(token, 'DELETE', `/api/containers/${first.db_id}`);
  return [
    figure({
      name: `creation until it runs, ${runtime}, ${database} / volume + create + start`,
      ...paired(times.running),
      unit: 'ms',
      bar: 1.1,
    }),
    figure({
      name: `creation: its answer, ${runtime}, ${database}`,
      measured: median(times.accepted),
      limit: 10,
      unit: 'ms',
    }),
  ];
}
