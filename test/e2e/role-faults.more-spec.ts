import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient, SMALL } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { EventRecorder } from '../support/clients/socket-client';
import { range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(600_000);

const ROLES = [{ name: 'tool', packages: { apk: ['tool'] }, probe: ['tool'] }];
/** An apk that takes its time. */
const APK = 'sleep 1; cp /bin/apk /bin/tool';
const CONTAINERS = 2;

/** What becomes of a server and of a container where the installation of a role meets what it does not expect. */
describe('the installation of a role', () => {
  const docker = new RealDocker();
  const instance = `test-role-faults-${String(process.pid)}`;
  const flooding = `berth/test:${instance}-flood`;
  const installable = `berth/test:${instance}-apk`;
  let folder: string;
  let database: TestDatabase;
  let berth: BerthProcess;
  let api: ApiClient;
  let events: EventRecorder;

  beforeAll(async () => {
    await docker.makeImageWithFloodingShell(flooding);
    await docker.makeImage(installable, `printf '#!/bin/sh\n%s\n' '${APK}' > /bin/apk && chmod 755 /bin/apk`);
    folder = await mkdtemp(join(tmpdir(), 'berth-roles-'));
    await writeFile(join(folder, 'roles.json'), JSON.stringify({ roles: ROLES }));
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      ROLES_FILE: join(folder, 'roles.json'),
      SWEEP_INTERVAL_SECONDS: '1',
      OPERATION_WAIT_SECONDS: '60',
    });
    await berth.start();
    api = await berth.user();
    events = await new EventRecorder(berth.url, { token: api.token, after: 0 }).connected();
  });

  afterAll(async () => {
    events.close();
    await berth.stop();
    await docker.removeInstance(instance);
    for (const image of [flooding, installable]) await docker.docker.getImage(image).remove();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  it('must not cost the server its memory where the shell of an image writes without end, nor go on for ever', async () => {
    const before = await berth.peakMemoryMb();
    const { db_id, id } = await api.running({ custom_image: flooding, role: 'tool' });
    const { data } = await events.next('container_error', { db_id }, 120_000);
    expect(data).toMatchObject({ reason: 'role_failed', message: expect.stringMatching(/produces endless output/) });
    expect(JSON.stringify(data)).not.toMatch(/OCI|BERTH_ROLE|\/bin\/|command -v/);
    expect((await berth.peakMemoryMb()) - before).toBeLessThan(128);
    // The sandbox has ended what wrote, and goes on.
    expect((await docker.inspect(id)).State.Running).toBe(true);
    expect((await api.get(db_id)).body).toMatchObject({ status: 'running', role_status: 'failed' });
    const listed: unknown = await docker.docker.getContainer(id).top({ ps_args: '-eo pid,args' });
    expect(JSON.stringify(listed)).not.toContain('/bin/sh');
  });

  it('must not be emitted as failed where resizes replace its container, but be done in the last one', async () => {
    const resizing = async (index: number): Promise<void> => {
      const { db_id } = await api.running({ custom_image: installable, role: 'tool' });
      const sizes = [{ memory_mb: 300 }, { memory_mb: 320 }];
      const resized = await Promise.all(
        sizes.map((size) => api.update(db_id, { name: `resized-${String(index)}`, ...SMALL, ...size })),
      );
      expect(resized.map(({ status }) => status)).toEqual([200, 200]);
      await eventually(
        async () => expect((await api.get(db_id)).body).toMatchObject({ status: 'running', role_status: 'installed' }),
        { timeoutMs: 60_000, what: () => JSON.stringify(events.events.slice(-3)) },
      );
      const told = events.events.filter(
        ({ type, data }) => type === 'container_error' && 'db_id' in data && data.db_id === db_id,
      );
      expect(told).toEqual([]);
    };
    await Promise.all(range(1, CONTAINERS).map(resizing));
  });
});
