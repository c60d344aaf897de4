/**
 * Times the check of the machine's room by the server's own classes, on the database of `DATABASE_URL`: prints one
 * number a line, in milliseconds. A process of its own, as entities are loaded for one kind of database.
 */
import { createRequire } from 'node:module';
import { timed } from './statistics.mjs';

const RUNS = 500;
const NONE = { reservedMemoryMb: 0, reservedCpuShares: 0 };
const SMALL = { reservedMemoryMb: 256, reservedCpuShares: 500 };
const BOUNDS = { memoryMb: 2 ** 30, cpuShares: 2 ** 30, short: [] };

const require = createRequire(import.meta.url);
const { dataSourceOptions } = require('../../dist/ormconfig.js');
const { connect, Database } = require('../../dist/src/database/index.js');
const { ReservedCapacity } = require('../../dist/src/containers/rows/reserved-capacity.js');
const { DockerMachine } = require('../../dist/src/docker/connection/machine.js');

const dataSource = await connect(dataSourceOptions(process.env.DATABASE_URL));
const database = new Database(dataSource);
const reserved = new ReservedCapacity(database);
// The rows were made past the server.
await reserved.recount();
const before = await reserved.sum();
const machine = new DockerMachine('unix:///run/docker.sock');
machine.note({ MemTotal: 2 ** 40, NCPU: 1000, DockerRootDir: '/' });
for (let run = 0; run < RUNS; run += 1) {
  await database.runInTx(async () => {
    const ms = await timed(async () => {
      await machine.resources();
      await reserved.claim(NONE, SMALL, BOUNDS);
    });
    console.log(ms);
  });
}
const { memoryMb } = await reserved.sum();
if (memoryMb - before.memoryMb !== RUNS * 256) throw new Error(`a sum of ${memoryMb} MiB`);
await dataSource.destroy();
