/** The verbs through the API against the same work by Docker's own API, each pair interleaved in one run. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { likenessesOf } from './lib/docker.mjs';
import { figure } from './lib/report.mjs';
import { LIMITS } from './lib/server.mjs';
import { median, paired, timed } from './lib/statistics.mjs';

/** Of a start and a stop Berth's own share is a twentieth: so many pairs tell it from chance. */
const RUNS = { verbs: 60, others: 30 };
const AT_ONCE = 20;
const GRACE_S = 10;
/**
 * A sandbox that has just been started or removed keeps both processors busy: neither side is to pay for the other's.
 */
const REST_MS = 300;

/**
 * @param {{ berth: import('./lib/server.mjs').Berth, docker: import('dockerode'), image: string,
 *   progress: (line: string) => void }} context
 */
export async function lifecycle({ berth, docker, image, progress }) {
  const token = await berth.token();
  const ours = await berth.running(token, image);
  const create = await likenessesOf(docker, ours.id);
  const path = `/api/containers/${ours.db_id}`;
  const post = (verb) => berth.call(token, 'POST', `${path}/${verb}`);
  const volume = `berth-bench-${randomUUID()}`;
  let theirs = await create({ volume });
  await theirs.start();

  progress('warming up');
  await berth.warmUp(token, ours);

  const times = { start: [[], []], stop: [[], []], resize: [[], []], down: [[], []], delete: [[], []] };
  for (let run = 1; run <= RUNS.verbs; run += 1) {
    progress(`start and stop ${run}/${RUNS.verbs}`);
    await pair(run, times.stop, [() => post('stop'), () => theirs.stop({ t: GRACE_S })]);
    await pair(run, times.start, [() => post('start'), () => theirs.start()]);
  }
  for (let run = 1; run <= RUNS.others; run += 1) {
    progress(`resize ${run}/${RUNS.others}`);
    const resized = { ...LIMITS, name: ours.name, memory_mb: run % 2 ? 512 : 256 };
    const watch = await watchSwap(docker, ours.db_id);
    const replace = async () => {
      await theirs.stop({ t: GRACE_S });
      await theirs.remove({ v: true });
      theirs = await create({ volume });
      await theirs.start();
    };
    await pair(run, times.resize, [() => berth.call(token, 'PATCH', path, resized), replace]);
    times.down[0].push(await watch.done());
  }
  // Docker's stop and start alone, without what lies between them here.
  times.down[1].push(median(times.stop[1]) + median(times.start[1]));
  await theirs.remove({ force: true, v: true });

  for (let run = 1; run <= RUNS.others; run += 1) {
    progress(`delete ${run}/${RUNS.others}`);
    const victim = await berth.running(token, image);
    const other = await create();
    await other.start();
    const end = async () => {
      await other.stop({ t: GRACE_S });
      await other.remove({ v: true });
    };
    await pair(run, times.delete, [() => berth.call(token, 'DELETE', `/api/containers/${victim.db_id}`), end]);
  }
  await berth.call(token, 'DELETE', path);
  const compared = (sides) => ({ ...paired(sides), unit: 'ms' });
  return [
    figure({ name: 'start', ...compared(times.start), bar: 1.05 }),
    figure({ name: 'stop', ...compared(times.stop), bar: 1.05 }),
    figure({
      name: 'resize of a running container / stop + remove + create + start',
      ...compared(times.resize),
      bar: 0.95,
    }),
    figure({
      name: 'downtime of a resize / stop + start',
      measured: median(times.down[0]),
      limit: times.down[1][0],
      unit: 'ms',
      bar: 1,
    }),
    figure({ name: 'delete / stop + remove', ...compared(times.delete), bar: 1.05 }),
    await startsAtOnce({ berth, image, token, create, progress }),
  ];
}

async function startsAtOnce({ berth, image, token, create, progress }) {
  progress(`${AT_ONCE} starts at once`);
  const ours = [];
  const theirs = [];
  for (let made = 0; made < AT_ONCE; made += 1) {
    ours.push(await berth.running(token, image));
    theirs.push(await create());
    await theirs[made].start();
  }
  const all = { measured: [], limit: [] };
  for (let run = 0; run < 3; run += 1) {
    await Promise.all(ours.map(({ db_id }) => berth.call(token, 'POST', `/api/containers/${db_id}/stop`)));
    await Promise.all(theirs.map((container) => container.stop({ t: GRACE_S })));
    all.measured.push(
      await timed(() =>
        Promise.all(ours.map(({ db_id }) => berth.call(token, 'POST', `/api/containers/${db_id}/start`))),
      ),
    );
    all.limit.push(await timed(() => Promise.all(theirs.map((container) => container.start()))));
  }
  await Promise.all(ours.map(({ db_id }) => berth.call(token, 'DELETE', `/api/containers/${db_id}`)));
  await Promise.all(theirs.map((container) => container.remove({ force: true, v: true })));
  const [measured, limit] = [median(all.measured), median(all.limit)];
  return figure({ name: `${AT_ONCE} starts at once`, measured, limit, unit: 'ms', bar: 1.05 });
}

/**
 * Times both sides, who take turns at being the first.
 *
 * @param {number} run
 * @param {[number[], number[]]} times
 * @param {[() => Promise<unknown>, () => Promise<unknown>]} works
 */
async function pair(run, times, works) {
  for (const side of run % 2 ? [0, 1] : [1, 0]) {
    await sleep(REST_MS);
    times[side].push(await timed(works[side]));
  }
}

/**
 * Follows Docker's own events of one of Berth's containers: how long between the end of the old and the start of the
 * new.
 */
async function watchSwap(docker, id) {
  const label = [`berth.container_id=${id}`];
  const stream = await docker.getEvents({ filters: { type: ['container'], event: ['die', 'start'], label } });
  const swapped = new Promise((resolve) => {
    let diedAt;
    let rest = '';
    stream.on('data', (chunk) => {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const { Action: action, timeNano: at } = JSON.parse(line);
        if (action === 'die') diedAt = at;
        else if (diedAt !== undefined) resolve((at - diedAt) / 1e6);
      }
    });
  });
  return {
    async done() {
      const ms = await swapped;
      stream.destroy();
      return ms;
    },
  };
}
