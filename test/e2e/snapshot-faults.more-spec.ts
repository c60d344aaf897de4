import { ContainerEngine } from '../../src/engine';
import { type Answer, testImage } from '../support/clients/api-client';
import { RealDocker } from '../support/docker/real-docker';
import { ReflinkDisk } from '../support/docker/reflink-disk';
import { SecondDocker } from '../support/docker/second-docker';
import { eventually } from '../support/eventually';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(300_000);

const SANDBOX_IMAGE = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
/** What takes Docker a second or more to read and write. */
const LARGE_MIB = 150;
/** Room for a container's own files on a disk that is full. */
const LEFT_MIB = 40;

describe('snapshots, where Docker is killed or its disk is full', () => {
  // Copies by reflink would take neither time nor space.
  const disk = new ReflinkDisk({ sizeMb: 2048, hasReflinks: false });
  let second: SecondDocker;
  let berth: Berth;
  let user: NewUser;
  let id: string;

  const run = async (of: string, script: string): Promise<string> => {
    const answer = await user.api.call('POST', `/api/containers/${of}/exec`, { command: ['sh', '-c', script] });
    expect(answer).toMatchObject({ status: 200, body: { exit_code: 0 } });
    return String(answer.body['stdout']).trim();
  };
  const take = (): Promise<Answer> => user.api.call('POST', `/api/containers/${id}/snapshots`, {});
  const get = async (snapshot: unknown): Promise<unknown> =>
    (await user.api.call('GET', `/api/snapshots/${String(snapshot)}`)).body;
  const ready = async (snapshot: unknown): Promise<unknown> =>
    (await user.api.call('GET', `/api/snapshots/${String(snapshot)}/wait?timeout=60`)).status;
  const write = (path: string): Promise<string> =>
    run(id, `head -c ${String(LARGE_MIB * 2 ** 20)} /dev/urandom >${path}`);
  const sums = (of = id): Promise<string> => run(of, 'cd /; find home/user opt -type f | sort | xargs sha256sum');

  /** The images of snapshots; those that a start or a resize kept are removed an hour later. */
  async function images(): Promise<string[]> {
    const filters = { label: [`berth.layer=${berth.instance}`] };
    const tags = (await second.docker.listImages({ filters })).flatMap(({ RepoTags }) => RepoTags ?? []);
    return tags.filter((tag) => !/-g\d+$/.test(tag));
  }

  /** Fills the disk once the first layer or volume is about to be copied, until `work` is over. */
  async function whileFull(work: () => Promise<void>): Promise<void> {
    const { layers, volumes } = berth.app.get(ContainerEngine);
    const { commit, copy } = { commit: layers.commit.bind(layers), copy: volumes.copy.bind(volumes) };
    let free: (() => void) | null = null;
    layers.commit = (given) => {
      free ??= disk.fill(LEFT_MIB);
      return commit(given);
    };
    volumes.copy = (given) => {
      free ??= disk.fill(LEFT_MIB);
      return copy(given);
    };
    try {
      await work();
      expect(free).not.toBeNull();
    } finally {
      Object.assign(layers, { commit });
      Object.assign(volumes, { copy });
      (free as (() => void) | null)?.();
    }
  }

  /** Docker has the container, with its volume, and nothing else. */
  async function expectNothingElse(): Promise<void> {
    await eventually(
      async () => {
        const { body } = await user.api.get(id);
        const containers = await second.docker.listContainers({ all: true });
        expect(containers.map(({ Id }) => Id)).toEqual([body['id']]);
        expect(await second.dataVolumes()).toEqual([`berth-${id}`]);
        expect(await images()).toEqual([]);
      },
      { timeoutMs: 90_000 },
    );
  }

  beforeAll(async () => {
    const { docker } = new RealDocker();
    const { Runtimes } = (await docker.info()) as { Runtimes: Readonly<Record<string, object>> };
    second = await SecondDocker.start('data', { runtimes: { runsc: Runtimes['runsc'] } }, disk.mountPoint);
    await second.take(testImage(), docker);
    await second.take(SANDBOX_IMAGE, docker);
    berth = await Berth.start({
      environment: {
        DOCKER_HOST: second.host,
        INSTANCE_ID: 'snapshot-faults',
        SANDBOX_FIREWALL: 'off',
        DISK_QUOTA: 'off',
        VOLUME_COPY_IMAGE: SANDBOX_IMAGE,
        VOLUME_RETENTION: '0',
        SWEEP_INTERVAL_SECONDS: '1',
        OPERATION_WAIT_SECONDS: '60',
      },
    });
    user = await berth.user('enterprise', ['read', 'write', 'exec']);
  });

  beforeEach(async () => {
    id = (await user.api.running()).db_id;
    await run(id, 'mkdir -p /opt; echo tool >/home/user/mark');
  });

  afterEach(async () => {
    for (const { db_id } of (await user.api.call('GET', '/api/containers')).body['containers'] as { db_id: string }[])
      await user.api.delete(db_id);
    for (const { id: each } of (await user.api.call('GET', '/api/snapshots')).body['snapshots'] as { id: string }[])
      await user.api.call('DELETE', `/api/snapshots/${each}`);
    await eventually(async () => {
      expect(await second.dataVolumes()).toEqual([]);
      expect(await second.docker.listContainers({ all: true })).toEqual([]);
    });
  });

  afterAll(async () => {
    await berth.stop();
    await second.discard(['data']);
    disk.remove();
  });

  it.each([
    ['a commit', '/opt/big', 'commit'],
    ['a copy', '/home/user/big', 'copy'],
  ] as const)('must lose nothing and leave nothing where Docker is killed during %s', async (_what, path, call) => {
    await write(path);
    const before = await sums();
    const begun = new Promise<void>((resolve) => {
      const { layers, volumes } = berth.app.get(ContainerEngine);
      const [commit, copy] = [layers.commit.bind(layers), volumes.copy.bind(volumes)];
      layers.commit = (given) => {
        if (call === 'commit') resolve();
        return commit(given);
      };
      volumes.copy = (given) => {
        if (call === 'commit') return copy(given);
        // At its first report, the helper has begun.
        return copy({ ...given, onProgress: () => resolve() });
      };
    });
    const { body } = await take();
    await begun;
    // Docker has the call by the time that it answers another.
    await second.docker.ping();
    await second.stop('SIGKILL');
    await second.startAgain();
    await eventually(async () => expect(await get(body['id'])).toMatchObject({ status: 'failed' }), {
      timeoutMs: 90_000,
    });
    await expectNothingElse();
    // The next start of Docker stops what ran, or may have stopped it before the row follows.
    await eventually(async () => {
      if ((await user.api.get(id)).body['status'] === 'stopped') await user.api.start(id);
      expect(await sums()).toBe(before);
    });
    const again = String((await take()).body['id']);
    expect(await ready(again)).toBe(200);
    expect(await get(again)).toMatchObject({ root: true });
  });

  it('must fail, lose nothing and leave nothing where the disk has no room for them', async () => {
    await write('/opt/big');
    await write('/home/user/big');
    const snapshot = String((await take()).body['id']);
    expect(await ready(snapshot)).toBe(200);
    await run(id, 'echo newer >/opt/mark; echo newer >/home/user/mark');
    const before = await sums();
    const containerId = (await user.api.get(id)).body['id'];
    const refused = { code: expect.stringMatching(/^(data_too_large|docker_error|copy_failed)$/) as unknown };
    const fails = async (containers: unknown): Promise<void> => {
      for (const { db_id } of containers as { db_id: string }[]) {
        await eventually(async () => expect((await user.api.get(db_id)).body).toMatchObject({ status: 'error' }));
        await user.api.delete(db_id);
      }
    };
    await whileFull(async () => {
      const { status, body } = await take();
      expect(status).toBe(202);
      await eventually(async () => expect(await get(body['id'])).toMatchObject({ status: 'failed' }));
    });
    await whileFull(async () => {
      const { body } = await user.api.call('POST', `/api/containers/${id}/fork`, { count: 2 });
      await fails(body['containers']);
    });
    await whileFull(async () => {
      const { body } = await user.api.call('POST', '/api/containers', { snapshot });
      await fails([body]);
    });
    await whileFull(async () => {
      const body = { snapshot, keep: false };
      const restored = await user.api.call('POST', `/api/containers/${id}/restore-snapshot`, body);
      expect(restored).toMatchObject({ status: 500, body: refused });
    });
    await whileFull(async () => {
      expect(await user.api.patch(id, { memory_mb: 512 })).toMatchObject({ status: 500, body: refused });
    });
    await eventually(async () =>
      expect((await user.api.get(id)).body).toMatchObject({ id: containerId, status: 'running' }),
    );
    expect(await sums()).toBe(before);
    await eventually(async () => {
      const names = await second.dataVolumes();
      expect(names.sort()).toEqual([`berth-${id}`, `berth-snapshot-${snapshot}`].sort());
      expect(await second.docker.listContainers({ all: true })).toHaveLength(1);
      expect(await images()).toEqual([`berth/layer:${snapshot}`]);
    });
    const restored = await user.api.call('POST', `/api/containers/${id}/restore-snapshot`, { snapshot, keep: false });
    expect(restored).toMatchObject({ status: 200 });
    expect(await run(id, 'cat /home/user/mark; ls /opt')).toBe('tool\nbig');
  });
});
