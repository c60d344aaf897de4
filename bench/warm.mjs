/**
 * A creation that takes a warm slot, from the request to its answer, in which it runs already, and to the output of its
 * first command; Docker's own volume, create and start with the same options beside it. Then bursts of more creations
 * than there are slots. On PostgreSQL two processes serve the requests in turns.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { likenessesOf, newVolume } from './lib/docker.mjs';
import { figure } from './lib/report.mjs';
import { LIMITS, startBerth } from './lib/server.mjs';
import { median, quantile, timed } from './lib/statistics.mjs';

const RUNS = Number(process.env.BENCH_WARM_RUNS ?? 50);
const EVERY_MS = 3_000;
const COUNT = 2;
/** Docker's own creation is measured after every so many, once the slot has been made again. */
const THEIRS_EVERY = 5;
const BURST = { times: 3, creations: 20, slots: 10 };
const REST_MS = 300;

/** Resolves once the slots are ready and the process that makes them has nothing left to do. */
async function filled(berth, admin, count) {
  const deadline = performance.now() + 120_000;
  for (;;) {
    const { slots, waiting_for: why } = await berth.call(admin, 'GET', '/api/admin/warm');
    if (slots[0]?.ready === count && slots[0].making === 0) return;
    if (performance.now() > deadline) throw new Error(`the pool does not fill: ${why} ${JSON.stringify(slots)}`);
    await sleep(100);
  }
}

/** Starts the servers with a pool of `count` slots, and calls `work` with them and an administrator's token. */
async function withPool(count, { env, databaseUrl, image }, work) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bench-warm-'));
  const file = join(folder, 'slots.json');
  writeFileSync(file, JSON.stringify({ slots: [{ image, tier: 'enterprise', ...LIMITS, count }] }));
  const own = { WARM_POOL: file, WARM_POOL_MEMORY_MB: '8192' };
  const servers = [];
  try {
    for (let process = 0; process < (databaseUrl ? 2 : 1); process += 1) {
      servers.push(await startBerth({ env, databaseUrl, own }));
    }
    const admin = await servers[0].token('enterprise', 'read,write,admin,exec');
    await filled(servers[0], admin, count);
    return await work(servers, admin);
  } finally {
    for (const server of servers) await server.stop();
    rmSync(folder, { recursive: true });
  }
}

async function removeAll(berth, token, containers) {
  for (const { db_id } of containers) await berth.call(token, 'DELETE', `/api/containers/${db_id}`);
}

/** @returns {Promise<import('dockerode').Container>} */
async function dockersOwn(docker, create) {
  const theirs = await create({ volume: await newVolume(docker) });
  await theirs.start();
  return theirs;
}

/** One creation every three seconds. */
async function creations({ servers: [first, ...others], token, docker, image, progress }) {
  const times = { running: [], output: [], outputOfOther: [], docker: [] };
  const all = [first, ...others];
  // A server that has just begun runs code that nothing has compiled yet.
  for (const berth of all) {
    const created = await berth.accepted(token, image);
    await berth.warmUp(token, created);
    await berth.call(token, 'POST', `/api/containers/${created.id}/exec`, { command: ['true'] });
    await removeAll(berth, token, [created]);
    await filled(first, token, COUNT);
  }
  for (let run = 1; run <= RUNS; run += 1) {
    progress(`creation ${run}/${RUNS}`);
    const berth = all[run % all.length];
    const next = performance.now() + EVERY_MS;
    const since = performance.now();
    const created = await berth.accepted(token, image);
    times.running.push(performance.now() - since);
    if (created.status !== 'running') throw new Error(`creation ${run} took no slot: ${JSON.stringify(created)}`);
    await berth.call(token, 'POST', `/api/containers/${created.id}/exec`, { command: ['true'] });
    const isFirst = berth === first;
    (isFirst ? times.output : times.outputOfOther).push(performance.now() - since);
    if (run % THEIRS_EVERY === 0) {
      await filled(first, token, COUNT);
      await sleep(REST_MS);
      const create = await likenessesOf(docker, created.id);
      let theirs;
      times.docker.push(await timed(async () => (theirs = await dockersOwn(docker, create))));
      await theirs.remove({ force: true, v: true });
    }
    await removeAll(berth, token, [created]);
    await sleep(Math.max(0, next - performance.now()));
  }
  return times;
}

/** Creations at once; those that find no slot, beside as many of Docker's own at once. */
async function bursts({ servers, token, docker, image, progress }) {
  const times = { cold: [], docker: [] };
  let warm = 0;
  for (let burst = 1; burst <= BURST.times; burst += 1) {
    progress(`burst ${burst}/${BURST.times}`);
    await filled(servers[0], token, BURST.slots);
    await sleep(REST_MS);
    const one = async (_none, at) => {
      const berth = servers[at % servers.length];
      const since = performance.now();
      const created = await berth.accepted(token, image);
      if (created.status === 'running') warm += 1;
      else {
        await berth.call(token, 'GET', `/api/containers/${created.db_id}/wait?status=running&timeout=120`);
        times.cold.push(performance.now() - since);
      }
      return created;
    };
    const made = await Promise.all(Array.from({ length: BURST.creations }, one));
    await filled(servers[0], token, BURST.slots);
    await sleep(REST_MS);
    const warmOne = made.find(({ status }) => status === 'running');
    const create = await likenessesOf(docker, warmOne.id);
    const theirs = await Promise.all(
      Array.from({ length: BURST.creations - BURST.slots }, async () => {
        const since = performance.now();
        const container = await dockersOwn(docker, create);
        times.docker.push(performance.now() - since);
        return container;
      }),
    );
    for (const container of theirs) await container.remove({ force: true, v: true });
    await removeAll(servers[0], token, made);
  }
  return { ...times, warm: warm / BURST.times };
}

/** @param {{ env: object, docker: import('dockerode'), image: string, database: string, runtime: string,
 *   databaseUrl?: string, progress: (line: string) => void }} context */
export async function warm({ env, docker, image, database, runtime, databaseUrl, progress }) {
  const pool = { env, databaseUrl, image };
  const context = { docker, image, progress };
  const times = await withPool(COUNT, pool, (servers, token) => creations({ servers, token, ...context }));
  const burst = await withPool(BURST.slots, pool, (servers, token) => bursts({ servers, token, ...context }));
  const of = `${runtime}, ${database}`;
  const running = median(times.running);
  const unit = 'ms';
  const inTime = (name, measured, limit) => figure({ name: `${name}, ${of}`, measured, limit, unit, bar: 1 });
  // The session in the slot is one of the first server's, which fills the pool.
  const ofOther = times.outputOfOther.length
    ? [figure({ name: `the same on another server, ${of}`, measured: median(times.outputOfOther), limit: 80, unit })]
    : [];
  return [
    inTime('warm creation until it runs, p50', running, 50),
    inTime('warm creation until it runs, p99', quantile(times.running, 0.99), 150),
    inTime('warm creation with its first command, p50', median(times.output), 80),
    ...ofOther,
    figure({
      name: `warm creation, ${of} / volume + create + start`,
      measured: running,
      limit: median(times.docker),
      unit,
      bar: 0.15,
    }),
    figure({
      name: `warm among ${BURST.creations} creations at once, ${of}`,
      measured: burst.warm,
      limit: BURST.slots,
      unit: '',
      bar: 1,
      smaller: false,
    }),
    figure({
      name: `the other creations until they run, ${of} / as many of volume + create + start at once`,
      measured: median(burst.cold),
      limit: median(burst.docker),
      unit,
      bar: 1.1,
    }),
  ];
}
