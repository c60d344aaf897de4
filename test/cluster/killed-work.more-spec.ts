import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type NewContainer, SMALL, testImage } from '../support/clients/api-client';
import { DockerRegistry, REGISTRY_USER } from '../support/docker/docker-registry';
import type { TcpProxy } from '../support/faults/tcp-proxy';
import { TAKEN_UP_WITHIN_MS, VictimAndSurvivor } from '../support/servers/victim-and-survivor';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';
import { RealDocker } from '../support/docker/real-docker';
import { SANDBOX_IMAGE } from '../support/docker/volume-workbench';

jest.setTimeout(300_000);

const LARGER = { ...SMALL, disk_mb: 2048 } as const;

/** A package manager that says which attempt it is, and is not done before it is let. */
const APK = `#!/bin/sh
echo "$BERTH_SESSION" >>/home/user/attempts
until [ -e /home/user/go ]; do sleep 1; done
printf '#!/bin/sh\\n' >/bin/tool && chmod 755 /bin/tool
`;

/** What takes long, and goes on in Docker without the process that began it. */
describe('another process must take up, when one is killed in the midst of', () => {
  const { docker } = new RealDocker();
  const roleImage = `berth/test-role:${process.pid}`;
  let folder: string;
  let registry: DockerRegistry;
  let door: TcpProxy;
  let pulled: string;
  let server: VictimAndSurvivor;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-killed-'));
    registry = await DockerRegistry.start();
    door = await registry.door();
    pulled = `${door.host}/team/slow:1`;
    await registry.push(pulled, 8);
    await buildRoleImage();
    const login = Buffer.from(`${REGISTRY_USER.username}:${REGISTRY_USER.password}`).toString('base64');
    const roles = [{ name: 'tool', packages: { apk: ['tool'] }, probe: ['tool'] }];
    server = await VictimAndSurvivor.start('killed-work', {
      survivors: 2,
      environment: {
        REGISTRY_AUTH_FILE: await file('auths.json', { auths: { [door.host]: { auth: login } } }),
        CUSTOM_IMAGE_REGISTRIES: 'docker.io,127.0.0.1:*',
        ROLES_FILE: await file('roles.json', { roles }),
        VOLUME_COPY_IMAGE: SANDBOX_IMAGE,
        NODE_OPTIONS: `--require=${join(process.cwd(), 'test/support/servers/moving-server.js')}`,
      },
    });
  });

  afterAll(async () => {
    await server.stop();
    await registry.stop();
    for (const image of [pulled, roleImage]) {
      await docker
        .getImage(image)
        .remove({ force: true })
        .catch(() => undefined);
    }
    await rm(folder, { recursive: true });
  });

  it('a pull, and create the container', async () => {
    const { victim, survivor } = await server.user();
    const events = await server.cluster.record(survivor);
    door.speed = 1_000_000;
    const { body } = await victim.create({ custom_image: pulled });
    await events.next('container_progress', { message: 'downloading the image' });
    await server.die();
    door.speed = null;
    const { data } = await events.next('container_started', {}, TAKEN_UP_WITHIN_MS);
    expect(data).toMatchObject({ db_id: body['db_id'], status: 'running' });
    await expectSettled(survivor, server.cluster.docker, String(body['db_id']));
    expect(events.types()).toEqual(['container_created', 'container_started']);
  });

  it('a move of data, give it up, and leave the container running on its data', async () => {
    const { victim, survivor } = await server.user();
    const { id, db_id, name } = await survivor.running();
    await server.cluster.docker.exec(id, ['sh', '-c', 'head -c 100000000 /dev/urandom > /home/user/blob; sync']);
    const sum = await server.cluster.docker.exec(id, ['md5sum', '/home/user/blob']);
    // The first worker that is started measures, and the next container shows whether layers can be kept.
    const died = server.dieAt({ fault: 'kill_before', call: /\/containers\/:id\/start$/, nth: 3 });
    const asked = victim.update(db_id, { name, ...LARGER }).catch(() => null);
    await died;
    // A copy that takes longer than the lease lasts: started here, and slow, so that it can be held before it is
    // through.
    const worker = docker.getContainer(`berth-${db_id}-move`);
    await worker.update({ CpuQuota: 25_000 });
    await worker.start();
    await worker.pause();
    expect(await server.cluster.docker.volumesOf(db_id)).toHaveLength(2);
    expect(await asked).toBeNull();
    await eventually(
      async () => {
        expect(await server.cluster.docker.volumesOf(db_id)).toEqual([`berth-${db_id}`]);
        expect((await survivor.get(db_id)).body).toMatchObject({ id, status: 'running', resources: SMALL });
      },
      { timeoutMs: TAKEN_UP_WITHIN_MS },
    );
    await expectSettled(survivor, server.cluster.docker, db_id);
    const moved = await survivor.update(db_id, { name, ...LARGER });
    expect(moved).toMatchObject({ status: 200, body: { restarted: true, container: { resources: LARGER } } });
    const { id: movedId } = moved.body['container'] as { id: string };
    expect(await server.cluster.docker.exec(movedId, ['md5sum', '/home/user/blob'])).toBe(sum);
  });

  it('the installation of a role, end what is left of it, and install it once', async () => {
    const { victim, survivor } = await server.user();
    const begin = async (): Promise<NewContainer> => {
      const made = await victim.running({ custom_image: roleImage, role: 'tool' });
      await eventually(async () => expect(await attempts(made.id)).toHaveLength(1));
      return made;
    };
    const attempts = async (id: string): Promise<string[]> => {
      const text = await server.cluster.docker.exec(id, ['sh', '-c', 'cat /home/user/attempts 2>/dev/null']);
      return text.split('\n').filter(Boolean);
    };
    let made = await begin();
    while (!server.runsPrograms) {
      // One that looks every second was faster than the one that made it.
      await survivor.delete(made.db_id);
      made = await begin();
    }
    const { id, db_id } = made;
    await server.die();
    await eventually(async () => expect(await attempts(id)).toHaveLength(2), { timeoutMs: TAKEN_UP_WITHIN_MS });
    const count = 'cat /proc/[0-9]*/cmdline | tr "\\0" "\\n" | grep -c "^/bin/apk$"';
    // For a moment, what it runs bears its name.
    await eventually(async () => expect((await server.cluster.docker.exec(id, ['sh', '-c', count])).trim()).toBe('1'));
    expect((await survivor.get(db_id)).body).toMatchObject({ id, status: 'running', role_status: 'installing' });
    await server.cluster.docker.exec(id, ['touch', '/home/user/go']);
    await eventually(async () => expect((await survivor.get(db_id)).body).toMatchObject({ role_status: 'installed' }));
    expect(new Set(await attempts(id)).size).toBe(2);
    await expectSettled(survivor, server.cluster.docker, db_id);
  });

  async function file(name: string, content: object): Promise<string> {
    await writeFile(join(folder, name), JSON.stringify(content));
    return join(folder, name);
  }

  /** The test image with a package manager. */
  async function buildRoleImage(): Promise<void> {
    const write = `printf '%s' "$0" >/bin/apk && chmod 755 /bin/apk`;
    const container = await docker.createContainer({
      Image: testImage(),
      Cmd: ['sh', '-c', write, APK],
      HostConfig: { NetworkMode: 'none' },
    });
    await container.start();
    await container.wait();
    const [repo, tag] = roleImage.split(':');
    await container.commit({ repo, tag, changes: 'CMD ["/bin/sh"]' });
    await container.remove();
  }
});
