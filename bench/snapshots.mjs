/**
 * Forks, snapshots and creations from them, against a cold creation of the same kind: each run takes one of each, one
 * after the other, and the order changes. The small container has one file in its home; the written one a file outside
 * of it too, so that a fork needs an image of its layer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sandboxImage } from '../scripts/lib/sandbox-image.mjs';
import { figure } from './lib/report.mjs';
import { startBerth } from './lib/server.mjs';
import { median, paired, timed } from './lib/statistics.mjs';

const RUNS = 12;
const LARGE_RUNS = 3;
const LARGE_MB = 200;
/** What was started or removed just now keeps both processors busy: neither side is to pay for the other's. */
const REST_MS = 300;

/**
 * @param {{ image: string, env: NodeJS.ProcessEnv, progress: (line: string) => void }} context
 */
export async function snapshots({ image, env, progress }) {
  const berth = await startBerth({ env, own: { VOLUME_COPY_IMAGE: sandboxImage } });
  try {
    return await measure({ berth, image, progress });
  } finally {
    await berth.stop();
  }
}

async function measure({ berth, image, progress }) {
  const token = await berth.token('enterprise', 'read,write,exec');
  const call = (method, path, body) => berth.call(token, method, path, body);
  const running = async ({ db_id }) => call('GET', `/api/containers/${db_id}/wait?status=running&timeout=60`);
  const prepared = async (script) => {
    const { db_id } = await berth.running(token, image);
    await call('POST', `/api/containers/${db_id}/exec`, { command: ['sh', '-c', script] });
    return db_id;
  };
  const small = await prepared('echo data >/home/user/file');
  const written = await prepared('echo data >/home/user/file; echo program >/tool');
  const taken = async (container) => {
    const { id } = await call('POST', `/api/containers/${container}/snapshots`, {});
    return call('GET', `/api/snapshots/${id}/wait?timeout=60`);
  };
  const { id: snapshot } = await taken(written);
  progress('warming up');
  await berth.warmUp(token, { db_id: small });

  const made = [];
  const creating = (begin) => async () => void made.push(await running(await begin()));
  const fork = (container) => creating(() => call('POST', `/api/containers/${container}/fork`, {}));
  const downtimes = { small: [], written: [] };
  const snapshotOf = (name, container) => async () => {
    downtimes[name].push((await taken(container)).downtime_ms);
  };
  const works = {
    cold: creating(() => berth.accepted(token, image)),
    fork: fork(small),
    forkOfWritten: fork(written),
    fromSnapshot: creating(() => call('POST', '/api/containers', { snapshot })),
    snapshot: snapshotOf('small', small),
    snapshotOfWritten: snapshotOf('written', written),
  };
  const removeSnapshots = async (except = snapshot) => {
    const { snapshots: listed } = await call('GET', '/api/snapshots');
    for (const { id } of listed) if (id !== except) await call('DELETE', `/api/snapshots/${id}`);
  };
  const about = { made, removeSnapshots, progress, call };
  const times = await inTurns(works, { runs: RUNS, ...about });
  const large = await prepared(`head -c ${LARGE_MB}m /dev/urandom >/home/user/file`);
  const ofLarge = await inTurns({ cold: works.cold, fork: fork(large) }, { runs: LARGE_RUNS, ...about });
  await removeSnapshots('');
  for (const id of [small, written, large]) await call('DELETE', `/api/containers/${id}`);

  const against = (name, which, bar) =>
    figure({ name: `${name} / cold creation`, ...paired([times[which], times.cold]), unit: 'ms', bar });
  const downtime = (name, which, limit) =>
    figure({ name: `downtime of a snapshot, ${name}`, measured: median(downtimes[which]), limit, unit: 'ms' });
  return [
    against('fork of a small running container', 'fork', 2),
    against('fork of one with files outside its home', 'forkOfWritten', 2),
    against('creation from a snapshot', 'fromSnapshot', 2),
    against('snapshot of a small running container', 'snapshot'),
    against('snapshot of one with files outside its home', 'snapshotOfWritten'),
    downtime('small', 'small', median(times.snapshot)),
    downtime('files outside the home', 'written', median(times.snapshotOfWritten)),
    figure({
      name: `fork of ${LARGE_MB} MB / cold creation`,
      ...paired([ofLarge.fork, ofLarge.cold]),
      unit: 'ms',
    }),
  ];
}

/** @returns {Promise<Record<string, number[]>>} how long each took, in each run */
async function inTurns(works, { runs, made, removeSnapshots, progress, call }) {
  const names = Object.keys(works);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let run = 0; run < runs; run += 1) {
    progress(`run ${run + 1}/${runs}`);
    for (let turn = 0; turn < names.length; turn += 1) {
      const name = names[(run + turn) % names.length];
      await sleep(REST_MS);
      times[name].push(await timed(works[name]));
    }
    for (const { db_id } of made.splice(0)) await call('DELETE', `/api/containers/${db_id}`);
    await removeSnapshots();
  }
  return times;
}
