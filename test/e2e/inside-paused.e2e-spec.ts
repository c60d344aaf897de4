import { type Answer, LARGER, type NewContainer } from '../support/clients/api-client';
import type { EventRecorder } from '../support/clients/socket-client';
import { TerminalClient } from '../support/clients/terminal-client';
import { eventually } from '../support/eventually';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(120_000);

const PORT = 8147;

describe('a container that is paused on real Docker under gVisor', () => {
  let server: Berth;
  let user: TestUser;
  let events: EventRecorder;
  let container: NewContainer;

  beforeAll(async () => {
    server = await Berth.start({ subject: 'paused' });
    user = await server.user('pro', ['read', 'write', 'exec']);
    events = await server.record(user);
    const start = { command: ['httpd', '-f', '-p', String(PORT)], ready: { port: PORT, within_seconds: 60 } };
    container = await user.api.running({ start });
    await events.next('container_ready');
  });

  afterAll(() => server.stop());

  const call = (method: string, path: string, body?: unknown): Promise<Answer> =>
    user.api.call(method, `/api/containers/${container.db_id}/${path}`, body);
  const sh = async (script: string): Promise<unknown> =>
    (await call('POST', 'exec', { command: ['sh', '-c', script] })).body['stdout'];
  const pause = async (): Promise<void> => {
    expect(await call('POST', 'pause')).toMatchObject({ status: 200, body: { status: 'paused' } });
    const { id } = (await user.api.get(container.db_id)).body;
    expect((await server.docker.inspect(String(id))).State).toMatchObject({ Status: 'paused' });
  };

  it('must keep its processes and their memory, start none again, and go on at the next command', async () => {
    const count = 'i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.05; done';
    const started = await call('POST', 'processes', { command: ['sh', '-c', count] });
    expect(started.status).toBe(201);
    const counted = async (): Promise<number> => Number(await sh('cat /dev/shm/count'));
    await eventually(async () => expect(await counted()).toBeGreaterThan(2));
    const pid = await sh('pidof httpd');
    events.clear();
    await pause();
    const [stats, list] = [await call('GET', 'stats'), await call('GET', 'processes')];
    expect([stats.status, list.body['count']]).toEqual([200, 2]);
    expect((await user.api.get(container.db_id)).body).toMatchObject({ status: 'paused', ready: true });
    const at = await counted();
    await eventually(async () => expect(await counted()).toBeGreaterThan(at));
    expect(await sh('pidof httpd')).toBe(pid);
    // Nothing was started again, nor ended.
    expect(events.types()).toEqual(['container_paused', 'container_resumed']);
    expect((await call('POST', `processes/${String(started.body['id'])}/signal`, { signal: 'KILL' })).status).toBe(200);
  });

  it('must keep its terminals, whose next key resumes it', async () => {
    const auth = { token: user.token, container: container.db_id, cols: 80, rows: 24 };
    const client = await new TerminalClient(server.url, auth).opened();
    await pause();
    events.clear();
    expect((await call('GET', 'terminals')).body['terminals']).toHaveLength(1);
    client.type('echo "a$((40+2))b"\n');
    await client.says('a42b');
    await events.next('container_resumed');
    await pause();
    expect((await call('DELETE', `terminals/${client.session}`)).status).toBe(200);
    await eventually(() => expect(client.exit).toMatchObject({ reason: 'ended' }));
    client.socket.close();
  });

  it('must be stopped soon, with the signal that its processes wait for, and start again', async () => {
    const trap = 'trap "echo bye > /home/user/bye; exit" TERM; touch /dev/shm/up; while :; do sleep 0.1; done';
    await call('POST', 'processes', { command: ['sh', '-c', trap] });
    await eventually(async () => expect(await sh('ls /dev/shm')).toContain('up'));
    await pause();
    const began = performance.now();
    expect(await user.api.stop(container.db_id)).toMatchObject({ status: 200, body: { resumed: true } });
    // Docker takes 12 s to stop a paused one, and that one could not be started again.
    expect(performance.now() - began).toBeLessThan(9_000);
    expect(await user.api.start(container.db_id)).toMatchObject({ status: 200, body: { status: 'running' } });
    expect(await sh('cat /home/user/bye')).toBe('bye\n');
  });

  it('must be resized and deleted from there, and be followed where Docker was asked past Berth', async () => {
    const { docker } = server.docker;
    events.clear();
    const { id } = (await user.api.get(container.db_id)).body;
    await docker.getContainer(String(id)).pause();
    await events.next('container_paused', { db_id: container.db_id });
    await docker.getContainer(String(id)).unpause();
    await events.next('container_resumed', { db_id: container.db_id });
    await pause();
    const resized = await user.api.update(container.db_id, { name: container.name, ...LARGER });
    expect(resized).toMatchObject({ status: 200, body: { restarted: true, container: { status: 'running' } } });
    expect(await sh('cat /home/user/bye')).toBe('bye\n');
    await pause();
    expect(await user.api.delete(container.db_id)).toMatchObject({ status: 200, body: { resumed: true } });
    expect(await server.docker.containersOf(container.db_id)).toEqual([]);
  });
});
