import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UnusedImages } from '../../src/containers/reconcile/unused-images';
import type { BerthEvent } from '../../src/events';
import { SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { BerthProcess } from '../support/servers/berth-process';
import { DockerRegistry, REGISTRY_USER } from '../support/docker/docker-registry';
import type { TcpProxy } from '../support/faults/tcp-proxy';
import { EventRecorder } from '../support/clients/socket-client';
import { range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { inMore, onlyQuick as it } from '../support/extent';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase } from '../support/databases/test-database';

jest.setTimeout(120_000);

describe('images of a private registry', () => {
  const { docker } = new RealDocker();
  const instance = `test-registry-${process.pid}`;
  let folder: string;
  let registry: DockerRegistry;
  let door: TcpProxy;
  let image: string;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-registries-'));
    registry = await DockerRegistry.start();
    door = await registry.door();
    image = `${door.host}/team/tool:1`;
    await registry.push(image, 8);
    await allow(door.host);
    const catalogue = join(folder, 'images.json');
    await writeFile(catalogue, JSON.stringify({ images: [{ name: 'tool', reference: image, default: true }] }));
    berth = await Berth.start({
      environment: {
        REGISTRY_AUTH_FILE: file(),
        INSTANCE_ID: instance,
        // The image is Docker's, whatever it then runs under.
        SANDBOX_RUNTIME: 'runc',
        CUSTOM_IMAGE_REGISTRIES: '127.0.0.1:*',
        IMAGES_FILE: catalogue,
        IMAGE_RETENTION: '0',
        VOLUME_RETENTION: '0',
      },
    });
  });

  beforeEach(async () => {
    await removeImage();
    await allow(door.host);
    door.speed = null;
    registry.clearLog();
    user = await berth.user('enterprise');
    events = await berth.record(user);
  });

  afterAll(async () => {
    await registry.stop();
    await berth.stop();
    await new RealDocker().removeInstance(instance);
    await removeImage();
    await rm(folder, { recursive: true });
  });

  const file = (): string => join(folder, 'config.json');

  /** As an operator should: never half written. */
  async function write(auths: object): Promise<void> {
    await writeFile(`${file()}.new`, JSON.stringify({ auths }));
    await rename(`${file()}.new`, file());
  }

  async function allow(host: string, password: string = REGISTRY_USER.password): Promise<void> {
    await write({ [host]: { auth: Buffer.from(`${REGISTRY_USER.username}:${password}`).toString('base64') } });
  }

  /** Whatever uses it. */
  async function removeImage(): Promise<void> {
    const containers = await docker.listContainers({ all: true, filters: { ancestor: [image] } }).catch(() => []);
    for (const { Id } of containers) await docker.getContainer(Id).remove({ force: true });
    await docker
      .getImage(image)
      .remove({ force: true })
      .catch(() => undefined);
  }

  const create = async (reference = image): Promise<string> =>
    String((await user.api.create({ custom_image: reference })).body['db_id']);

  const running = (id: string): Promise<BerthEvent> => events.next('container_started', { db_id: id }, 60_000);

  /** Waits until the creation has failed. @returns why */
  async function failed(id: string): Promise<unknown> {
    const { data } = await events.next('container_error', { db_id: id }, 60_000);
    expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: (data as Failed).reason });
    expect((data as Failed).message).not.toMatch(/127\.0\.0\.1|Head|http/);
    return (data as Failed).reason;
  }

  /** The registry says it after the answer, so a moment after whoever asked has it. */
  const answered = (part: string): string[] => registry.answered.filter((line) => line.includes(part));

  it('must be pulled once for all that are created at once, with the credentials and progress that moves, and run', async () => {
    door.speed = 2_000_000;
    const ids = await Promise.all(range(1, 3).map(() => create()));
    await Promise.all(ids.map(running));
    door.speed = null;
    for (const id of ids) {
      const told = events.events.flatMap(({ data }) => ('progress' in data && data.db_id === id ? [data] : []));
      const percents = told.map(({ progress }) => progress);
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      const downloading = told.filter(({ message }) => message === 'downloading the image');
      expect(new Set(downloading.map(({ progress }) => progress)).size).toBeGreaterThan(3);
    }
    await eventually(() => expect(answered('GET /v2/team/tool/blobs/')).not.toEqual([]));
    const blobs = answered('/team/tool/blobs/');
    expect(new Set(blobs).size).toBe(2);
    // Each creation may ask for the image, of which Docker then reads the configuration; one pulls the layer.
    expect(blobs.filter((line) => blobs.indexOf(line) === blobs.lastIndexOf(line))).toHaveLength(1);
    expect(answered('HEAD /v2/team/tool/manifests/1 200').length).toBeLessThanOrEqual(ids.length + 1);
    await Promise.all(ids.map((id) => user.api.delete(id)));
  });

  inMore(
    'must be refused with a clear reason where the credentials are wrong, and start once they are right',
    async () => {
      await allow(door.host, 'wrong');
      const id = await create();
      expect(await failed(id)).toBe('image_access_denied');
      expect((await user.api.start(id)).body).toMatchObject({
        error: 'failed to start container',
        code: 'image_access_denied',
      });
      // Before the creation, and once for each of the two pulls: what is refused is not tried again.
      expect(answered('HEAD /v2/team/tool/manifests/').length).toBeLessThanOrEqual(3);
      await allow(door.host);
      expect(await user.api.start(id)).toMatchObject({ status: 200, body: { status: 'running' } });
    },
  );

  inMore('must not be pulled with credentials that are for another registry', async () => {
    const other = await registry.door();
    expect(await failed(await create(`${other.host}/team/tool:1`))).toBe('image_access_denied');
    expect(registry.answered.filter((line) => !line.endsWith(' 401'))).toEqual([]);
  });

  it('refuses a creation at once where there is no such tag or repository', async () => {
    for (const reference of [`${door.host}/team/tool:none`, `${door.host}/team/none:1`]) {
      const { status, body } = await user.api.create({ custom_image: reference });
      const details = [{ field: 'custom_image', message: `is in no registry: ${reference}` }];
      expect([status, body]).toMatchObject([400, { code: 'invalid_parameters', details }]);
    }
  });

  inMore('must be unavailable while the registry is stopped, and start when it is back', async () => {
    await registry.halt();
    const id = await create();
    expect(await failed(id)).toBe('image_unavailable');
    await registry.run();
    expect((await user.api.start(id)).status).toBe(200);
  });

  inMore('must be asked for again by itself when the registry fails for a moment', async () => {
    door.gone = true;
    door.turnedAway = 0;
    const id = await create();
    await eventually(() => expect(door.turnedAway).toBeGreaterThan(0));
    door.gone = false;
    await running(id);
  });

  inMore('must not be pulled on when the container is deleted', async () => {
    door.speed = 200_000;
    const id = await create();
    await events.next('container_progress', { db_id: id, message: 'downloading the image' });
    await eventually(() => expect(door.connections).toBeGreaterThan(0));
    expect(await user.api.delete(id)).toMatchObject({ status: 200, body: { message: 'container deleted' } });
    // Docker itself has hung up.
    await eventually(() => expect(door.connections).toBe(0));
    door.speed = null;
    await expect(docker.getImage(image).inspect()).rejects.toMatchObject({ statusCode: 404 });
    await events.next('container_deleted', { db_id: id });
  });

  inMore('must be pulled again for a container whose image and Docker container were removed', async () => {
    const id = await create();
    const { data } = await running(id);
    await docker.getContainer(data.id).remove({ force: true });
    await events.next('container_stopped', { db_id: id, reason: 'missing' });
    await docker.getImage(image).remove();
    registry.clearLog();
    const started = await user.api.start(id);
    expect(started).toMatchObject({ status: 200, body: { recreated: true, old_id: data.id, volume_kept: true } });
    await eventually(() => expect(answered('GET /v2/team/tool/blobs/')).not.toEqual([]));
  });

  inMore(
    'must keep their version for containers, be renewed when an administrator asks, and go when nothing needs them',
    async () => {
      const versionOf = async (id: string): Promise<string> => (await docker.getContainer(id).inspect()).Image;
      // Of no other test's.
      await registry.push(image, 1);
      const id = await create();
      const first = await versionOf((await running(id)).data.id);
      // A newer one under the same tag. It takes the tag from the first, which the container uses.
      await registry.push(image, 1);
      const admin = await berth.user('pro', ['admin']);
      const pulled = await admin.api.call('POST', '/api/admin/images/tool/pull');
      const second = String(pulled.body['image_id']);
      expect(pulled).toMatchObject({ status: 200, body: { state: 'updated', reference: image } });
      expect(second).not.toBe(first);
      const { body } = await user.api.update(id, { name: 'kept', ...SMALL, memory_mb: 512 });
      expect(await versionOf((body['container'] as { id: string }).id)).toBe(first);
      await docker.getContainer((body['container'] as { id: string }).id).remove({ force: true });
      const started = await user.api.start(id);
      expect(started.body).toMatchObject({ recreated: true });
      expect(started.body).not.toHaveProperty('image_changed');
      expect(await versionOf(String(started.body['id']))).toBe(first);
      const newer = await create();
      expect(await versionOf((await running(newer)).data.id)).toBe(second);
      await docker.getImage(second).tag({ repo: 'berth-test/operator', tag: String(process.pid) });
      const sweep = (): Promise<void> => berth.app.get(UnusedImages).sweep();
      await sweep();
      expect((await docker.getImage(image).inspect()).Id).toBe(second);
      await Promise.all([id, newer].map((each) => user.api.delete(each)));
      await eventually(async () => {
        await sweep();
        for (const gone of [first, image]) {
          await expect(docker.getImage(gone).inspect()).rejects.toMatchObject({ statusCode: 404 });
        }
      });
      // By the name that somebody else gave it.
      await docker.getImage(`berth-test/operator:${process.pid}`).remove();
    },
  );

  it('must never be pulled in a way that leaves the password in a log', async () => {
    const database = await openTestDatabase();
    const environment = {
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      SANDBOX_RUNTIME: 'runc',
      REGISTRY_AUTH_FILE: file(),
      CUSTOM_IMAGE_REGISTRIES: '127.0.0.1:*',
    };
    const { output } = await new BerthProcess(environment).recorded(async (api) => {
      for (const password of ['secret-that-is-wrong', REGISTRY_USER.password]) {
        await allow(door.host, password);
        const { body } = await api.create({ custom_image: image });
        await eventually(async () => {
          expect(['error', 'running']).toContain((await api.get(String(body['db_id']))).body['status']);
        });
      }
      await writeFile(file(), '{"auths": {"x": {"password": "secret-that-is-cut');
      await api.create({ custom_image: `${door.host}/team/none:1` });
    });
    await database.drop();
    expect(output).toContain('image_access_denied');
    expect(output).toContain('REGISTRY_AUTH_FILE');
    for (const secret of ['secret-that-is', 'correct:horse', 'battery', 'X-Registry-Auth']) {
      expect(output).not.toContain(secret);
      expect(output).not.toContain(Buffer.from(secret).toString('base64').slice(0, -4));
    }
  });
});

interface Failed {
  readonly reason: string;
  readonly message: string;
}
