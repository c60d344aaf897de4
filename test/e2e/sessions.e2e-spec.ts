import { type Answer, ApiClient } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { TestClock } from '../support/fakes/test-clock';

jest.setTimeout(180_000);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('what ends with its time on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const clock = new TestClock();
  const instance = `test-sessions-${String(process.pid)}`;
  let berth: Berth;

  beforeAll(async () => {
    const often = { LIMIT_CHECK_SECONDS: '1', SWEEP_INTERVAL_SECONDS: '1' };
    const environment = { INSTANCE_ID: instance, VOLUME_RETENTION: '1h', ...often };
    berth = await Berth.start({ clock, environment });
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  it('a guest must get in without an account, and be warned, and stopped with the reason, at the end of the session', async () => {
    const { status, body } = await new ApiClient(berth.url, '').call('POST', '/api/auth/guest', { username: 'ada' });
    expect(status).toBe(201);
    const api = new ApiClient(berth.url, String(body['token']));
    const guest: TestUser = { id: (body['user'] as { id: string }).id, token: api.token, api };
    const events = await berth.record(guest);
    const { id, db_id } = await api.running();
    expect((await api.get(id)).body).toMatchObject({ expires_at: body['expires_at'], runtime: 'runsc' });
    expect((await api.create()).body).toMatchObject({ code: 'container_limit_reached', limit: 1, tier: 'guest' });
    await docker.writeData(id, 'precious');
    clock.forward(50 * HOUR - 5 * MINUTE);
    const { data } = await events.next('container_expiring', { db_id, expires_at: body['expires_at'] });
    expect((data as { seconds_left: number }).seconds_left).toBeLessThanOrEqual(300);
    expect((await docker.inspect(id)).State.Running).toBe(true);
    clock.forward(5 * MINUTE);
    await events.next('container_stopped', { db_id, reason: 'session_expired', status: 'stopped' });
    expect((await docker.inspect(id)).State.Running).toBe(false);
    expect(await api.start(id)).toMatchObject({ status: 403, body: { error: 'guest session expired' } });
    expect((await docker.inspect(id)).State.Running).toBe(false);
    expect(await api.get(id)).toMatchObject({
      status: 200,
      body: { status: 'stopped', status_reason: 'session_expired' },
    });
    expect((await api.stop(id)).status).toBe(200);
    expect((await api.delete(id)).status).toBe(200);
    expect(await docker.containersOf(db_id)).toEqual([]);
    await events.next('container_deleted', { db_id });
    expect(events.types()).toEqual([
      'container_created',
      'container_started',
      'container_expiring',
      'container_stopped',
      'container_deleted',
    ]);
  });

  it('a deleted container must come back with its data under a former id, and be gone for good once its time is over', async () => {
    const user = await berth.user();
    const { id, db_id, name } = await user.api.running({ env: { KEY: 'value' } });
    await docker.writeData(id, 'precious');
    await user.api.delete(db_id);
    expect(await docker.containersOf(db_id)).toEqual([]);
    expect((await restore(user, id.slice(0, 12))).body).toEqual({
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
    const command = ['sh', '-c', 'echo $KEY'];
    expect((await user.api.call('POST', `/api/containers/${db_id}/exec`, { command })).body['stdout']).toBe('value\n');

    await user.api.delete(again);
    // A container of somebody's that has the volume mounted keeps it from going, for a while.
    const { id: reader } = await docker.docker.createContainer({
      Image: process.env['TEST_IMAGE'] ?? 'berth/test:latest',
      Labels: { 'berth.instance': instance },
      HostConfig: { Binds: [`berth-${db_id}:/data`] },
    });
    clock.forward(2 * HOUR);
    expect((await restore(user, db_id)).body).toMatchObject({ code: 'container_not_found' });
    await docker.docker.getContainer(reader).remove();
    await eventually(async () => expect(await docker.volumeExists(`berth-${db_id}`)).toBe(false));
    expect((await restore(user, again)).status).toBe(404);
  });

  function restore(user: TestUser, id: string): Promise<Answer> {
    return user.api.call('POST', `/api/containers/${id}/restore`);
  }
});
