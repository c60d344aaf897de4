import type { Answer } from '../support/api-client';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/real-docker';
import { TestClock } from '../support/test-clock';

jest.setTimeout(180_000);

const HOUR = 3_600_000;

describe('a deleted container on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const instance = `test-restore-${String(process.pid)}`;
  const clock = new TestClock();
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    const environment = { INSTANCE_ID: instance, VOLUME_RETENTION: '1h', SWEEP_INTERVAL_SECONDS: '1' };
    berth = await Berth.start({ clock, environment });
    user = await berth.user();
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  it('must come back with its data under a former id, and be gone for good once its time is over', async () => {
    const { id, db_id, name } = await user.api.running({ env: { KEY: 'value' } });
    await docker.writeData(id, 'precious');
    await user.api.delete(db_id);
    expect(await docker.containersOf(db_id)).toEqual([]);
    expect((await restore(id.slice(0, 12))).body).toEqual({
      message: 'container restored',
      id,
      db_id,
      name,
      status: 'stopped',
    });
    const started = await user.api.start(id);
    expect(started.body).toMatchObject({ recreated: true, old_id: id, volume_kept: true, status: 'running' });
    const again = String(started.body['id']);
    expect(await docker.readData(again)).toBe('precious');
    expect((await docker.inspect(again)).HostConfig.Runtime).toBe('runsc');
    expect(await docker.exec(again, ['sh', '-c', 'echo $KEY'])).toBe('value\n');

    await user.api.delete(again);
    // A container of somebody's that has the volume mounted keeps it from going, for a while.
    const { id: reader } = await docker.docker.createContainer({
      Image: process.env['TEST_IMAGE'] ?? 'berth/test:latest',
      Labels: { 'berth.instance': instance },
      HostConfig: { Binds: [`berth-${db_id}:/data`] },
    });
    clock.forward(2 * HOUR);
    expect((await restore(db_id)).body).toMatchObject({ code: 'container_not_found' });
    await docker.docker.getContainer(reader).remove();
    await eventually(async () => expect(await docker.volumeExists(`berth-${db_id}`)).toBe(false));
    expect((await restore(again)).status).toBe(404);
  });

  function restore(id: string): Promise<Answer> {
    return user.api.call('POST', `/api/containers/${id}/restore`);
  }
});
