import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { type ApiClient, type NewContainer, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

// Under software emulation a container takes its time.
jest.setTimeout(900_000);

const FULL = 'No space left on device';
const DISK_MB = 64;
const KEPT = '/home/user/kept';
const ROOMY = { memory_mb: 256, cpu_shares: 2000 } as const;

const real = new RealDocker();

describe('disk limits, where the kernel can keep them', () => {
  let folder: string;
  let tiersFile: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-test-'));
    tiersFile = join(folder, 'tiers.json');
    // Filling a gigabyte again and again would take most of the time.
    const { memory_mb, cpu_shares } = DEFAULT_TIERS.minimum;
    await writeFile(tiersFile, JSON.stringify({ ...DEFAULT_TIERS, minimum: { memory_mb, cpu_shares, disk_mb: 16 } }));
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  describe.each(['runsc', 'runc'])('under %s', (runtime) => {
    let berth: Berth;
    let user: TestUser;

    beforeAll(async () => {
      berth = await Berth.start({
        environment: {
          SANDBOX_RUNTIME: runtime,
          DISK_QUOTA: 'required',
          TIERS_FILE: tiersFile,
          DOCKER_TIMEOUT_SECONDS: '300',
          VOLUME_COPY_IMAGE: process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest',
        },
      });
      user = await berth.user('pro');
    });

    afterAll(async () => {
      await discardAll(user.api);
      await berth.stop();
    });

    it('must start with DISK_QUOTA=required and say that limits are enforced', async () => {
      const ready = await user.api.call('GET', '/health/ready');
      expect(ready).toMatchObject({ status: 200, body: { runtime, disk_quota: 'enforced' } });
    });

    it('must stop a volume and a writable layer at disk_mb, and no other container', async () => {
      const [greedy, other] = await Promise.all([running(user.api, DISK_MB), running(user.api, DISK_MB)]);

      for (const path of ['/home/user/filler', '/filler']) {
        expect(await write(greedy, path, 2 * DISK_MB)).toContain(FULL);
        const megabytes = await sizeOf(greedy, path);
        // What the file system keeps about the files counts too.
        expect(megabytes).toBeLessThanOrEqual(DISK_MB);
        expect(megabytes).toBeGreaterThan(DISK_MB - 8);
      }

      for (const path of ['/home/user/filler', '/filler']) {
        expect(await write(other, path, DISK_MB / 2)).not.toContain(FULL);
        expect(await sizeOf(other, path)).toBe(DISK_MB / 2);
      }
      await discardAll(user.api);
    });

    it('must hold volumes that an image declares to as much again, and take them away with the container', async () => {
      const plain = await running(user.api, DISK_MB);
      const custom_image = 'berth/with-volumes:test';
      const [repo, tag] = custom_image.split(':');
      const changes = ['VOLUME /one', 'VOLUME /two'];
      await real.docker.getContainer(plain.id).commit({ repo, tag, changes });
      const container = await running(user.api, DISK_MB, { custom_image });
      for (const path of ['/one', '/two']) {
        expect(await real.exec(container.id, ['dd', 'if=/dev/zero', `of=${path}/big`, 'bs=1M', 'count=100'])).toContain(
          FULL,
        );
      }
      const { Mounts } = await real.inspect(container.id);
      const anonymous = Mounts.flatMap(({ Name, Destination }) => (Destination === '/home/user' ? [] : [Name ?? '']));
      expect(anonymous).toHaveLength(2);
      for (const each of [container.db_id, plain.db_id]) await user.api.delete(each);
      for (const name of anonymous) await eventually(async () => expect(await real.volumeExists(name)).toBe(false));
      await real.docker.getImage(custom_image).remove({ force: true });
    });

    it('must hold the smallest container of the default tiers to its 1024 MB', async () => {
      const container = await running(user.api, 1024);
      expect(await write(container, '/home/user/filler', 1100)).toContain(FULL);
      const megabytes = await sizeOf(container, '/home/user/filler');
      expect(megabytes).toBeLessThanOrEqual(1024);
      expect(megabytes).toBeGreaterThan(1000);
      await discardAll(user.api);
    });

    it('must hold to the new limit after disk_mb was changed, up and down, with the data there', async () => {
      const before = await running(user.api, DISK_MB);
      const sum = await keep(before, DISK_MB / 2);

      const larger = await resize(user.api, before, 2 * DISK_MB);
      expect(await checksum(larger)).toBe(sum);
      expect(await write(larger, '/home/user/more', DISK_MB)).not.toContain(FULL);
      expect(await write(larger, '/home/user/filler', 2 * DISK_MB)).toContain(FULL);
      expect(await write(larger, '/filler', 3 * DISK_MB)).toContain(FULL);
      expect(await sizeOf(larger, '/filler')).toBeGreaterThan(DISK_MB);
      await real.exec(larger.id, ['rm', '/home/user/more', '/home/user/filler']);

      const smaller = await resize(user.api, larger, DISK_MB);
      expect(await checksum(smaller)).toBe(sum);
      expect(await write(smaller, '/home/user/filler', DISK_MB)).toContain(FULL);
      // What it has outgrown goes when it is answered already.
      await eventually(async () => expect(await volumesOf(smaller)).toHaveLength(1));
      await discardAll(user.api);
    });

    it('must hold data to its limit again that Docker has in a volume without labels', async () => {
      const container = await running(user.api, DISK_MB);
      const { db_id } = container;
      await user.api.stop(db_id);
      await real.docker.getContainer(container.id).remove();
      const volume = `berth-${db_id}`;
      await real.docker.getVolume(volume).remove();
      await real.docker.createVolume({ Name: volume });
      await writeIn(volume, 'precious');
      const start = async (): Promise<NewContainer> => {
        expect((await user.api.start(db_id)).status).toBe(200);
        return { ...container, id: String((await user.api.get(db_id)).body['id']) };
      };
      const unlimited = await start();
      expect(await write(unlimited, '/home/user/filler', 2 * DISK_MB)).not.toContain(FULL);
      await real.exec(unlimited.id, ['rm', '/home/user/filler']);
      await user.api.stop(db_id);
      // For a moment after a stop Docker still lists it as running.
      await eventually(async () => {
        await berth.app.get(Reconciler).sweepNow();
        expect(await volumesOf(container)).toEqual([expect.stringMatching(/-v\d+-/)]);
      });
      await eventually(async () => expect(await real.volumeExists(volume)).toBe(false));
      const limited = await start();
      expect(await real.exec(limited.id, ['cat', KEPT])).toBe('precious\n');
      expect(await write(limited, '/home/user/filler', 2 * DISK_MB)).toContain(FULL);
      await discardAll(user.api);
    });

    it('must refuse a disk_mb that the data does not fit into, and change nothing', async () => {
      const container = await running(user.api, DISK_MB);
      const sum = await keep(container, DISK_MB / 2);
      const [seen, volumes] = await Promise.all([user.api.get(container.db_id), volumesOf(container)]);

      const refused = await user.api.update(container.db_id, { name: container.name, ...sized(DISK_MB / 4) });

      expect(refused).toMatchObject({ status: 400, body: { error: 'invalid parameters' } });
      expect(JSON.stringify(refused.body['details'])).toContain('disk_mb');
      const { id, status, resources } = seen.body;
      expect((await user.api.get(container.db_id)).body).toMatchObject({ id, status, resources });
      expect(await checksum(container)).toBe(sum);
      await eventually(async () => expect(await volumesOf(container)).toEqual(volumes));
      expect(await real.containersOf(container.db_id)).toHaveLength(1);
      await discardAll(user.api);
    });
  });

  it('must hold nothing to a size with DISK_QUOTA=off, and say so', async () => {
    const berth = await Berth.start({ environment: { DISK_QUOTA: 'off', TIERS_FILE: tiersFile } });
    const user = await berth.user('pro');
    try {
      expect((await user.api.call('GET', '/health/ready')).body).toMatchObject({ disk_quota: 'off' });
      const container = await running(user.api, DISK_MB);
      for (const path of ['/home/user/filler', '/filler']) {
        expect(await write(container, path, 2 * DISK_MB)).not.toContain(FULL);
        expect(await sizeOf(container, path)).toBe(2 * DISK_MB);
      }
    } finally {
      await discardAll(user.api);
      await berth.stop();
    }
  });
});

/** A new container that runs; slower than other tests' can be. */
async function running(api: ApiClient, diskMb: number, more: object = {}): Promise<NewContainer> {
  const { status, body } = await api.create({ ...sized(diskMb), ...more });
  expect(status).toBe(202);
  const path = `/api/containers/${String(body['db_id'])}/wait?status=running&timeout=60`;
  let waited = await api.call('GET', path);
  for (let waits = 1; waited.status === 408 && waits < 5; waits += 1) waited = await api.call('GET', path);
  expect(waited).toMatchObject({ status: 200, body: { status: 'running' } });
  const { db_id, id, name } = waited.body as unknown as NewContainer;
  return { db_id, id, name };
}

const sized = (diskMb: number): Record<string, number> => ({ ...ROOMY, disk_mb: diskMb });

/** Leaves data in a volume that no container has. */
async function writeIn(volume: string, text: string): Promise<void> {
  const container = await real.docker.createContainer({
    Image: testImage(),
    Cmd: ['sh', '-c', `echo ${text} >${KEPT}`],
    HostConfig: { NetworkMode: 'none', Binds: [`${volume}:/home/user`] },
  });
  await container.start();
  await container.wait();
  await container.remove();
}

/** @returns what `dd` says, which is its complaint if the space ended */
async function write(container: NewContainer, path: string, megabytes: number): Promise<string> {
  return real.exec(container.id, ['dd', 'if=/dev/zero', `of=${path}`, 'bs=1M', `count=${String(megabytes)}`]);
}

/** In whole megabytes. */
async function sizeOf(container: NewContainer, path: string): Promise<number> {
  return Math.floor(Number(await real.exec(container.id, ['stat', '-c', '%s', path])) / 1024 ** 2);
}

/** Leaves data in the volume that must survive. @returns its checksum */
async function keep(container: NewContainer, megabytes: number): Promise<string> {
  // Not dd, which counts short reads, and gVisor gives some from /dev/urandom when it is slow.
  await real.exec(container.id, ['sh', '-c', `head -c ${String(megabytes * 1024 ** 2)} /dev/urandom >${KEPT}`]);
  expect(await sizeOf(container, KEPT)).toBe(megabytes);
  return checksum(container);
}

async function checksum(container: NewContainer): Promise<string> {
  const [sum = ''] = (await real.exec(container.id, ['sha256sum', KEPT])).split(' ');
  expect(sum).toMatch(/^[0-9a-f]{64}$/);
  return sum;
}

async function volumesOf({ db_id: id }: NewContainer): Promise<string[]> {
  const filters = { label: [`berth.container_id=${id}`] };
  return (await real.docker.listVolumes({ filters })).Volumes.map(({ Name }) => Name);
}

async function resize(api: ApiClient, container: NewContainer, diskMb: number): Promise<NewContainer> {
  const answer = await api.update(container.db_id, { name: container.name, ...sized(diskMb) });
  expect(answer).toMatchObject({
    status: 200,
    body: { restarted: true, container: { resources: { disk_mb: diskMb } } },
  });
  return { ...container, id: (answer.body['container'] as { id: string }).id };
}

/** Space is scarce where space is what is tested. */
async function discardAll(api: ApiClient): Promise<void> {
  const { body } = await api.call('GET', '/api/containers');
  for (const { db_id: id } of body['containers'] as { db_id: string }[]) {
    await api.delete(id);
    const filters = { label: [`berth.container_id=${id}`] };
    for (const { Name } of (await real.docker.listVolumes({ filters })).Volumes) await discardVolume(Name);
  }
}

/** Unless Berth was quicker. */
async function discardVolume(name: string): Promise<void> {
  try {
    await real.docker.getVolume(name).remove();
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode !== 404) throw error;
  }
}
