import { Reconciler } from '../../src/containers/reconcile/reconciler';
import type { EngineCapabilities } from '../../src/engine';
import { SandboxHost } from '../../src/docker/host/sandbox-host';
import { Answer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { SANDBOX_IMAGE, VolumeWorkbench } from '../support/docker/volume-workbench';

jest.setTimeout(120_000);

const LARGER = { ...SMALL, disk_mb: 2048 } as const;

/**
 * In a sandbox: what a user works with, and a look at all of it. gVisor keeps no fifo, in a volume or not, over a
 * restart.
 */
const WORK = `cd /home/user && mkdir -p src/.git empty && echo precious > mark && echo '#!/bin/sh' > run && chmod 4750 run &&
  chown 1000:1000 src && ln mark src/linked && ln -s ../mark src/link && head -c 30000000 /dev/urandom > blob &&
  printf x > "$(printf 'odd\\n\\377name')" && touch -d 2001-02-03T04:05:06 mark && sync`;
const LOOK = `cd /home/user && find . | LC_ALL=C sort | while IFS= read -r f; do stat -c '%N %F %a %u:%g %h' "$f" 2>&1; done;
  stat -c %Y mark; md5sum blob mark`;

describe('a changed disk_mb on a real Docker where data is moved', () => {
  const docker = new RealDocker();
  const instance = `test-move-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    const environment = { INSTANCE_ID: instance, VOLUME_COPY_IMAGE: SANDBOX_IMAGE };
    // As test/support/servers/moving-server.js does in a process.
    const getter = Object.getOwnPropertyDescriptor(SandboxHost.prototype, 'capabilities')?.get;
    jest.spyOn(SandboxHost.prototype, 'capabilities', 'get').mockImplementation(function (this: SandboxHost) {
      return { ...(getter?.call(this) as EngineCapabilities), volumeResize: 'move' };
    });
    berth = await Berth.start({ environment });
    user = await berth.user('enterprise');
    events = await berth.record(user);
  });
  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
    jest.restoreAllMocks();
  });

  it('must keep all of it, running and stopped, on one volume, with its progress', async () => {
    const { id, db_id, name } = await user.api.running();
    await docker.exec(id, ['sh', '-c', WORK]);
    const data = await docker.exec(id, ['sh', '-c', LOOK]);
    expect(data).toMatch(/4750/);
    const first = `berth-${db_id}`;
    events.clear();

    const updated = await user.api.update(id, { name, ...LARGER });
    expect(updated).toMatchObject({ status: 200, body: { restarted: true, container: { resources: LARGER } } });
    const { id: newId } = updated.body['container'] as { id: string };
    expect(newId).not.toBe(id);
    expect((await docker.inspect(`berth-${db_id}`)).Id).toBe(newId);
    const second = await expectMoved(db_id, first);
    expect((await docker.inspect(newId)).HostConfig.Runtime).toBe('runsc');
    expect(await docker.exec(newId, ['sh', '-c', LOOK])).toBe(data);
    await events.next('container_updated', { id: newId, old_id: id, restarted: true });
    const progress = events.events.flatMap((event) => (event.type === 'container_progress' ? [event.data] : []));
    expect(new Set(progress.map(({ stage }) => stage))).toEqual(new Set(['disk']));
    const percents = progress.map((told) => told.progress);
    expect([percents[0], percents.at(-1)]).toEqual([0, 100]);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect(events.events.at(-1)?.type).toBe('container_updated');

    await docker.exec(newId, ['sh', '-c', 'echo later > /home/user/mark; sync']);
    const later = await docker.exec(newId, ['sh', '-c', LOOK]);
    await user.api.stop(newId);
    const back = await user.api.update(newId, { name, ...SMALL });
    expect(back).toMatchObject({ status: 200, body: { restarted: false, container: { status: 'stopped' } } });
    await expectMoved(db_id, second);
    const started = await user.api.start(db_id);
    expect(started.body).not.toHaveProperty('recreated');
    expect(await docker.exec(String(started.body['id']), ['sh', '-c', LOOK])).toBe(later);
  });

  it('must move the data of a stopped container out of a volume that has lost its labels', async () => {
    const { id, db_id } = await user.api.running();
    const volume = `berth-${db_id}`;
    await user.api.stop(id);
    await docker.docker.getContainer(id).remove();
    await docker.docker.getVolume(volume).remove();
    await docker.docker.createVolume({ Name: volume });
    const maker = { Image: SANDBOX_IMAGE, Cmd: ['sh', '-c', 'echo precious >/home/user/mark'] };
    const made = await docker.docker.createContainer({ ...maker, HostConfig: { Binds: [`${volume}:/home/user`] } });
    await made.start();
    await made.wait();
    await made.remove();
    await eventually(async () => {
      await berth.app.get(Reconciler).sweepNow();
      expect(await docker.volumesOf(db_id)).toEqual([expect.stringMatching(/-v\d+-/)]);
    });
    await eventually(async () => expect(await docker.volumeExists(volume)).toBe(false));
    expect((await user.api.start(db_id)).status).toBe(200);
    expect(await docker.readData(String((await user.api.get(db_id)).body['id']))).toBe('precious');
  });

  it('must refuse what the data does not fit into, and touch nothing', async () => {
    const { id, db_id, name } = await user.api.running(LARGER);
    const workbench = new VolumeWorkbench({ instance: `${instance}-other`, containerId: db_id, userId: user.id });
    await workbench.perl(`berth-${db_id}`, `system('fallocate', '-l', '1100M', '/d/large') == 0 or die`);
    const before = await docker.inspect(id);
    events.clear();
    const refused: Answer = await user.api.update(id, { name, ...SMALL });
    expect(refused.status).toBe(400);
    const min = expect.any(Number);
    expect(refused.body).toMatchObject({ error: 'invalid parameters', details: [{ field: 'disk_mb', min }] });
    const [{ min: least = 0 } = {}] = refused.body['details'] as { min?: number }[];
    expect(least).toBeGreaterThan(1100);
    expect(least).toBeLessThan(1200);
    expect((await docker.inspect(id)).State).toEqual(before.State);
    expect(await docker.volumesOf(db_id)).toEqual([`berth-${db_id}`]);
    expect(await docker.containersOf(db_id)).toHaveLength(1);
    expect(events.types()).toEqual([]);
  });

  /** @returns the one volume that is left, which is the container's and not the old one */
  async function expectMoved(dbId: string, old: string): Promise<string> {
    let volume = '';
    await eventually(async () => {
      const [only, ...others] = await docker.volumesOf(dbId);
      expect(others).toEqual([]);
      expect(only).not.toBe(old);
      const [container, ...more] = await docker.containersOf(dbId);
      expect([container?.name, more]).toEqual([`berth-${dbId}`, []]);
      const { Mounts } = await docker.inspect(container?.id ?? '');
      expect(Mounts.filter(({ RW }) => RW)).toEqual([
        expect.objectContaining({ Name: only, Destination: '/home/user' }),
      ]);
      volume = only ?? '';
    });
    return volume;
  }
});
