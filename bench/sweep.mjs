/** A sweep over ten thousand rows that agree with Docker, as a sweep mostly finds them. */
import { randomUUID } from 'node:crypto';
import { figure } from './lib/report.mjs';
import { copyContainer } from './lib/rows.mjs';
import { median } from './lib/statistics.mjs';

const ROWS = 10_000;
const RUNS = 5;

/**
 * @param {{ berth: import('./lib/server.mjs').Berth, docker: import('./lib/memory-docker-process.mjs').MemoryDocker,
 *   database: string, progress: (line: string) => void }} context
 */
export async function sweep({ berth, docker, database, progress }) {
  const token = await berth.token('enterprise', 'admin');
  const { db_id: id } = await berth.running(token, 'berth/test:latest');
  const ids = Array.from({ length: ROWS - 1 }, () => randomUUID());
  progress(`${database}: making ${ROWS} containers`);
  const instance = berth.settings.INSTANCE_ID;
  const labels = (own) => ({ 'berth.managed': 'true', 'berth.instance': instance, 'berth.container_id': own });
  const engineIds = await docker.add(ids.map((own) => ({ name: `berth-${own}`, Labels: labels(own) })));
  const change = (index) => ({ id: ids[index], docker_id: engineIds[index], volume_name: `berth-${ids[index]}` });
  await copyContainer({ databaseUrl: berth.settings.DATABASE_URL, id, count: ids.length, change });

  const times = [];
  const blocked = [];
  await berth.report('blocked');
  const listsBefore = await docker.lists();
  for (let run = 1; run <= RUNS; run += 1) {
    progress(`${database}: sweep ${run}/${RUNS}`);
    const before = await berth.metric('berth_sweep_duration_seconds_sum');
    const report = await berth.call(token, 'POST', '/api/admin/reconcile');
    blocked.push(await berth.report('blocked'));
    times.push(1000 * ((await berth.metric('berth_sweep_duration_seconds_sum')) - before));
    if (JSON.stringify(report).match(/[1-9]/)) throw new Error(`a sweep found differences: ${JSON.stringify(report)}`);
  }
  const lists = ((await docker.lists()) - listsBefore) / RUNS;
  const { rss } = await berth.report('memory');
  const name = `sweep over ${ROWS} rows, ${database}`;
  return [
    figure({ name: `${name}: list calls`, measured: lists, limit: 1, unit: '', bar: 1 }),
    figure({ name: `${name}: time`, measured: median(times), limit: 1000, unit: 'ms', bar: 1 }),
    figure({
      name: `${name}: event loop blocked at most`,
      measured: Math.max(...blocked),
      limit: 50,
      unit: 'ms',
      bar: 1,
    }),
    figure({ name: `${name}: resident memory`, measured: rss / 2 ** 20, limit: 250, unit: 'MiB', bar: 1 }),
  ];
}
