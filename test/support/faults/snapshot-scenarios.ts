import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectSettled } from '../databases/expect-settled';
import { type ApiClient, LARGER, SMALL } from '../clients/api-client';
import type { RealDocker } from '../docker/real-docker';
import { eventually } from '../eventually';

/** The origin and the user's other containers and snapshots. */
export interface SnapshotWorld {
  readonly api: ApiClient;
  readonly docker: RealDocker;
  readonly instance: string;
  /** The container that snapshots are made of; `db_id`. */
  readonly origin: string;
  /** A ready snapshot of the origin. */
  readonly base: string;
}

/** One use of snapshots. Tests disturb it at each of its calls to Docker. */
export interface SnapshotScenario {
  readonly name: string;
  /** The status of the origin before and after. */
  readonly status: 'running' | 'stopped';
  prepare?(world: SnapshotWorld): Promise<unknown>;
  /** @returns once the work has ended, well or not; the cleanup may still go on */
  act(world: SnapshotWorld): Promise<unknown>;
}

interface Listed {
  readonly id: string;
  readonly db_id: string;
  readonly status: string;
}

export async function take({ api, origin }: SnapshotWorld): Promise<string> {
  const made = await api.call('POST', `/api/containers/${origin}/snapshots`, {});
  expect(made).toEqual({ ...made, status: 202 });
  const id = String(made.body['id']);
  await api.call('GET', `/api/snapshots/${id}/wait?timeout=60`);
  return id;
}

const untilRunning = (api: ApiClient, id: unknown): Promise<unknown> =>
  api.call('GET', `/api/containers/${String(id)}/wait?status=running&timeout=60`);

const list = async (api: ApiClient, what: 'containers' | 'snapshots'): Promise<readonly Listed[]> =>
  (await api.call('GET', `/api/${what}`)).body[what] as Listed[];

const disposable = async ({ api, base }: SnapshotWorld): Promise<readonly Listed[]> =>
  (await list(api, 'snapshots')).filter(({ id }) => id !== base);

export const SNAPSHOT_SCENARIOS: readonly SnapshotScenario[] = [
  { name: 'snapshot of a running container', status: 'running', act: take },
  { name: 'snapshot of a stopped container', status: 'stopped', act: take },
  {
    name: 'creation from a snapshot',
    status: 'running',
    async act({ api, base }) {
      const { body } = await api.call('POST', '/api/containers', { ...SMALL, snapshot: base });
      await untilRunning(api, body['db_id']);
    },
  },
  {
    name: 'fork of two',
    status: 'running',
    async act({ api, origin }) {
      const { body } = await api.call('POST', `/api/containers/${origin}/fork`, { count: 2 });
      const copies = (body['containers'] ?? []) as Listed[];
      await Promise.all(copies.map(({ db_id }) => untilRunning(api, db_id)));
    },
  },
  {
    name: 'return to a snapshot',
    status: 'running',
    act: ({ api, origin, base }) =>
      api.call('POST', `/api/containers/${origin}/restore-snapshot`, { snapshot: base, keep: false }),
  },
  {
    name: 'resize that keeps the layer',
    status: 'running',
    async act({ api, origin }) {
      const { resources } = (await api.get(origin)).body as { resources: { memory_mb: number } };
      await api.patch(origin, resources.memory_mb === SMALL.memory_mb ? LARGER : SMALL);
    },
  },
  {
    name: 'deletion of a snapshot',
    status: 'running',
    prepare: take,
    async act(world) {
      const [snapshot] = await disposable(world);
      await world.api.call('DELETE', `/api/snapshots/${String(snapshot?.id)}`);
    },
  },
];

/** What every file of the origin, and every copy of it, has. */
const MARK = 'precious';

/** Writes what must survive, into the data and outside of it. */
export async function writeMarks({ api, docker, origin }: Omit<SnapshotWorld, 'base'>): Promise<void> {
  const { id } = (await api.get(origin)).body;
  await docker.writeData(String(id), MARK);
  await docker.exec(String(id), ['sh', '-c', `mkdir -p /opt; echo ${MARK} >/opt/mark; rm /etc/group`]);
}

/**
 * Checks what must hold after any fault: the origin is as it was, every container has all files, every snapshot is
 * ready and whole or has failed, and Docker has nothing else.
 *
 * @param timeoutMs how long that may take; 0: it must hold now
 */
export async function expectWhole(
  world: SnapshotWorld,
  { status }: Pick<SnapshotScenario, 'status'>,
  timeoutMs = 60_000,
): Promise<void> {
  const { api, docker, origin } = world;
  expect(await expectSettled(api, docker, origin, timeoutMs)).toMatchObject({ status });
  await eventually(() => expectNothingElse(world), { timeoutMs });
  for (const { id, db_id, status: reached } of await list(api, 'containers')) {
    if (reached !== 'running') continue;
    const found = await docker.exec(id, ['sh', '-c', 'cat /home/user/mark /opt/mark; [ -e /etc/group ] || echo gone']);
    expect([db_id, found]).toEqual([db_id, `${MARK}\n${MARK}\ngone\n`]);
  }
}

async function expectNothingElse({ api, docker, instance, origin }: SnapshotWorld): Promise<void> {
  const containers = await list(api, 'containers');
  const snapshots = await list(api, 'snapshots');
  for (const { db_id, status } of containers) {
    if (db_id !== origin) expect(['running', 'error']).toContain(status);
  }
  for (const { status } of snapshots) expect(['ready', 'failed']).toContain(status);
  const ready = snapshots.filter(({ status }) => status === 'ready').map(({ id }) => id);
  const there = containers.filter(({ status }) => status !== 'error').map(({ id }) => id);
  const label = `berth.instance=${instance}`;
  expect((await docker.containers(label)).map(({ id }) => id).sort()).toEqual([...there].sort());
  const volumes = await docker.volumes(label);
  const ofSnapshots = volumes.filter((name) => name.startsWith('berth-snapshot-'));
  expect([...ofSnapshots].sort()).toEqual(ready.map((id) => `berth-snapshot-${id}`).sort());
  for (const name of ofSnapshots) {
    const { Mountpoint } = await docker.docker.getVolume(name).inspect();
    expect((await readFile(join(Mountpoint, 'mark'), 'utf8')).trim()).toBe(MARK);
  }
  // A container that could not be created has an empty volume, or none, until it is deleted.
  const others = volumes.filter((name) => !ofSnapshots.includes(name));
  const known = new Set(containers.map(({ db_id }) => db_id));
  for (const name of others) expect(known).toContain(name.slice('berth-'.length, 'berth-'.length + 36));
  expect(others.length).toBeGreaterThanOrEqual(there.length);
  expect(others.length).toBeLessThanOrEqual(containers.length);
  const named = (await layers({ docker, instance })).filter((name) => !/-g\d+$/.test(name));
  const inUse = await Promise.all(there.map(async (id) => (await docker.inspect(id)).Image));
  for (const name of named) if (!ready.includes(name)) expect(inUse).toContain(await imageId(docker, name));
  for (const id of ready) expect(named).toContain(id);
}

/** The tags, or the ids, of the images of an instance's layers. */
export async function layers({ docker, instance }: Pick<SnapshotWorld, 'docker' | 'instance'>): Promise<string[]> {
  const images = await docker.docker.listImages({ filters: { label: [`berth.layer=${instance}`] } });
  return images.flatMap(({ RepoTags, Id }) =>
    RepoTags?.length ? RepoTags.map((tag) => tag.replace('berth/layer:', '')) : [`${Id}-g0`],
  );
}

async function imageId(docker: RealDocker, name: string): Promise<string> {
  return (await docker.docker.getImage(`berth/layer:${name}`).inspect()).Id;
}

/** Deletes all but the origin and its base, and brings the origin into the status that a scenario begins with. */
export async function clear(world: SnapshotWorld, status: SnapshotScenario['status'] = 'running'): Promise<void> {
  const { api, origin, base } = world;
  for (const { db_id } of await list(api, 'containers')) {
    if (db_id !== origin) expect((await api.delete(db_id)).status).toBe(200);
  }
  for (const { id } of await disposable(world)) await api.call('DELETE', `/api/snapshots/${id}`);
  const reached = (await api.get(origin)).body['status'];
  if (reached !== status) await (status === 'running' ? api.start(origin) : api.stop(origin));
  await eventually(async () => {
    await expectNothingElse(world);
    expect((await list(api, 'snapshots')).map(({ id }) => id)).toEqual([base]);
    expect(await list(api, 'containers')).toHaveLength(1);
  });
}
