/** What the check of the machine's room adds to a creation or a start, among ten thousand containers that run. */
import { run } from '../scripts/lib/command.mjs';
import { projectRoot } from '../scripts/lib/project.mjs';
import { figure } from './lib/report.mjs';
import { copyContainer } from './lib/rows.mjs';
import { median } from './lib/statistics.mjs';

const ROWS = 10_000;

/** @param {{ berth: import('./lib/server.mjs').Berth, database: string, progress: (line: string) => void }} context */
export async function capacity({ berth, database, progress }) {
  const token = await berth.token();
  const { db_id: id } = await berth.running(token, 'berth/test:latest');
  progress(`${database}: making ${ROWS} containers`);
  await copyContainer({ databaseUrl: berth.settings.DATABASE_URL, id, count: ROWS - 1 });
  progress(`${database}: checking`);
  const printed = await run(process.execPath, ['bench/lib/capacity-check.mjs'], {
    cwd: projectRoot,
    env: berth.settings,
  });
  const times = printed.split('\n').filter(Boolean).map(Number);
  const name = `check of the machine’s room at ${ROWS} running rows, ${database}`;
  return [figure({ name, measured: median(times), limit: 1, unit: 'ms', bar: 1 })];
}
