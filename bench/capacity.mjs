/** What the check of the machine's room adds to a creation or a start, among ten thousand containers that run. */
import { createRequire } from 'node:module';
import { figure } from './lib/report.mjs';
import { copyContainer } from './lib/rows.mjs';
import { median, timed } from './lib/statistics.mjs';

const ROWS = 10_000;
const RUNS = 500;
const NONE = { reservedMemoryMb: 0, reservedCpuShares: 0 };
const SMALL = { reservedMemoryMb: 256, reservedCpuShares: 500 };

/**
 * The server's own classes on its database, as a request shows the check together with all else that it does.
 *
 * @param {{ berth: import('./lib/server.mjs').Berth, database: string, progress: (line: string) => void }} context
 */
export async function capacity({ berth, database, progress }) {
  const token = await berth.token('enterprise', 'admin');
  const { db_id: id } = await berth.running(token, 'berth/test:latest');
  const databaseUrl = berth.settings.DATABASE_URL;
  progress(`${database}: making ${ROWS} containers`);
  await copyContainer({ databaseUrl, id, count: ROWS - 1 });
  // Built only when benchmarks run.
  const require = createRequire(import.meta.url);
  const { dataSourceOptions } = require('../dist/ormconfig.js');
  const { connect, Database } = require('../dist/src/database/index.js');
  const { ReservedCapacity } = require('../dist/src/containers/capacity/reserved-capacity.js');
  const { DockerMachine } = require('../dist/src/docker/machine.js');
  const dataSource = await connect(dataSourceOptions(databaseUrl));
  try {
    const db = new Database(dataSource);
    const reserved = new ReservedCapacity(db);
    // The rows were made past the server.
    await reserved.recount();
    const machine = new DockerMachine(berth.settings.DOCKER_HOST);
    machine.note({ MemTotal: 2 ** 40, NCPU: 1000, DockerRootDir: '/' });
    const bounds = { memoryMb: 2 ** 30, cpuShares: 2 ** 30, short: [] };
    const times = [];
    for (let run = 0; run < RUNS; run += 1) {
      await db.runInTx(async () => {
        times.push(
          await timed(async () => {
            await machine.resources();
            await reserved.claim(NONE, SMALL, bounds);
          }),
        );
      });
    }
    const { memoryMb } = await reserved.sum();
    if (memoryMb < (ROWS + RUNS) * 256) throw new Error(`a sum of ${memoryMb} MiB`);
    const name = `check of the machine’s room at ${ROWS} running rows, ${database}`;
    return [figure({ name, measured: median(times), limit: 1, unit: 'ms', bar: 1 })];
  } finally {
    await dataSource.destroy();
  }
}
