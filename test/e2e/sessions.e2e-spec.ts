import { ApiClient } from '../support/api-client';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/real-docker';
import { TestClock } from '../support/test-clock';

jest.setTimeout(180_000);

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('sessions, runs and idleness on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const clock = new TestClock();
  const instance = `test-sessions-${String(process.pid)}`;
  let berth: Berth;

  beforeAll(async () => {
    const environment = { INSTANCE_ID: instance, LIMIT_CHECK_SECONDS: '1', IDLE_STOP_AFTER: 'pro=30m' };
    berth = await Berth.start({ clock, environment });
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  it('a guest must get in without an account, and be warned, stopped and told why at the end of the session', async () => {
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

  it('a run of a free user must end after its time, and the next start must begin another with the same data', async () => {
    const user = await berth.user('free');
    const events = await berth.record(user);
    const { id } = await user.api.running();
    await docker.writeData(id, 'precious');
    clock.forward(50 * HOUR);
    await events.next('container_stopped', { reason: 'session_expired' });
    clock.forward(50 * HOUR);
    expect(await user.api.start(id)).toMatchObject({ status: 200, body: { id, status: 'running' } });
    expect(await docker.readData(id)).toBe('precious');
    const { expires_at } = (await user.api.get(id)).body;
    expect(Math.abs(Date.parse(String(expires_at)) - clock.now().getTime() - 50 * HOUR)).toBeLessThan(MINUTE);
    await user.api.delete(id);
  });

  it('a container that nobody uses must be stopped, and one that is used must not', async () => {
    const user = await berth.user('pro');
    const events = await berth.record(user);
    const [unused, used] = await Promise.all([user.api.running(), user.api.running()]);
    clock.forward(20 * MINUTE);
    await user.api.start(used.id);
    clock.forward(20 * MINUTE);
    await events.next('container_stopped', { db_id: unused.db_id, reason: 'idle' });
    await eventually(async () => expect((await docker.inspect(unused.id)).State.Running).toBe(false));
    expect((await user.api.get(used.id)).body).toMatchObject({ status: 'running', expires_at: null });
    expect((await docker.inspect(used.id)).State.Running).toBe(true);
  });

  it('must be refused at the start where idleness is set for a tier that does not exist', async () => {
    const start = Berth.start({ environment: { IDLE_STOP_AFTER: 'gold=30m' } });
    await expect(start).rejects.toThrow('"gold" is not a tier');
  });
});
