/** How long the server takes from its start until it is ready, on a database that is there already. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { figure } from './lib/report.mjs';
import { startBerth } from './lib/server.mjs';
import { median } from './lib/statistics.mjs';

const RUNS = 5;

/** @param {{ env: NodeJS.ProcessEnv, progress: (line: string) => void }} context */
export async function serverStart({ env, progress }) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
  const databaseUrl = `sqlite:${join(folder, 'berth.sqlite')}`;
  const times = [];
  for (let run = 0; run <= RUNS; run += 1) {
    progress(`start ${run}/${RUNS}`);
    const berth = await startBerth({ env, databaseUrl });
    const ready = await fetch(`${berth.url}/health/ready`);
    if (!ready.ok) throw new Error(`not ready: ${ready.status}`);
    // The first makes the schema.
    if (run > 0) times.push(berth.readyMs);
    await berth.stop();
  }
  rmSync(folder, { recursive: true });
  const name = 'start of the server, warm';
  return [figure({ name, measured: median(times), limit: 2000, unit: 'ms', bar: 1 })];
}
