import type { NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import type { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(120_000);

const PORT = 8137;
const RESIZED = { memory_mb: 384, cpu_shares: 500, disk_mb: 1024 };

describe('a server as the start command on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const instance = `test-start-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user('pro');
    events = await berth.record(user);
    container = await user.api.running({
      start: {
        command: ['httpd', '-f', '-p', String(PORT), '-h', '/home/user'],
        ready: { port: PORT, within_seconds: 60 },
      },
    });
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  const servers = async (): Promise<number> => {
    const { id } = (await user.api.get(container.db_id)).body;
    return (await docker.exec(String(id), ['ps'])).split('\n').filter((line) => line.includes('httpd -f')).length;
  };

  /** Waits until it has become ready after what is done, and runs once. */
  async function becomesReady(done: () => Promise<unknown>): Promise<void> {
    events.clear();
    await done();
    await isReady();
  }

  async function isReady(): Promise<void> {
    await events.next('container_ready', { db_id: container.db_id });
    expect((await user.api.get(container.db_id)).body['ready']).toBe(true);
    expect(await servers()).toBe(1);
  }

  it('must become ready once its port is listened on, and run again after every start of the container', async () => {
    await isReady();
    await becomesReady(() => docker.docker.getContainer(container.id).restart({ t: 0 }));
    await becomesReady(() => user.api.update(container.db_id, { name: container.name, ...RESIZED }));
  });

  it('must be run again where it is killed, after a pause', async () => {
    const { id } = (await user.api.get(container.db_id)).body;
    await becomesReady(() => docker.exec(String(id), ['killall', '-9', 'httpd']));
    expect(await events.next('process_exited', { exit_code: 137, reason: 'exited' })).toBeDefined();
  });

  it('must end where another one, which is not there, takes its place, and that one not be tried for ever', async () => {
    events.clear();
    const start = { command: ['no-such-program'], restart: 'never' };
    const answer = await user.api.update(container.db_id, { name: container.name, ...RESIZED, start });
    expect(answer).toMatchObject({ status: 200, body: { restarted: false } });
    await events.next('process_exited', { reason: 'ended', program: 'httpd' });
    await events.next('process_exited', { reason: 'command_not_started', program: 'no-such-program' });
    await eventually(async () => expect(await servers()).toBe(0));
    expect((await user.api.get(container.db_id)).body['ready']).toBeNull();
  });
});
