import { readdirSync, readFileSync } from 'node:fs';
import { ContainerEngine } from '../../src/engine';
import type { DockerDaemon } from '../../src/docker/connection/daemon';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(240_000);

/** A sandbox whose processes on the host are stopped, as if gVisor hung. Docker answers all the while. */
describe('a container that does not respond', () => {
  let server: Berth;
  let user: TestUser;
  let container: NewContainer;
  let stopped: number[] = [];

  beforeAll(async () => {
    server = await Berth.start({ subject: 'hung', environment: { STOP_GRACE_SECONDS: '1' } });
    user = await server.user('enterprise', ['read', 'write', 'exec']);
    container = await user.api.running();
  });
  afterEach(() => goOn());
  afterAll(() => server.stop());

  const path = (rest: string): string => `/api/containers/${container.db_id}${rest}`;

  function hang(): void {
    stopped = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        const line = commandOf(pid);
        return line.includes(container.id) && /\0(boot|gofer)\0/.test(line);
      })
      .map(Number);
    expect(stopped.length).toBeGreaterThanOrEqual(1);
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  }

  function goOn(): void {
    for (const pid of stopped) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It was killed.
      }
    }
  }

  it('must be named as what hangs, in about the time that a command has', async () => {
    hang();
    const began = performance.now();
    const answer = await user.api.call('POST', path('/exec'), { command: ['true'], timeout_ms: 2_000 });
    const took = performance.now() - began;
    expect(answer).toMatchObject({
      status: 503,
      body: { error: 'the container does not respond', code: 'container_not_responding' },
    });
    expect(took).toBeGreaterThan(1_500);
    expect(took).toBeLessThan(12_000);
    // Once it goes on, so does everything in it.
    goOn();
    expect(await user.api.call('POST', path('/exec'), { command: ['true'] })).toMatchObject({ status: 200 });
  });

  it('must be killed by a stop once its grace is over, and start again', async () => {
    hang();
    const began = performance.now();
    const { daemon } = server.app.get<{ daemon: DockerDaemon }>(ContainerEngine);
    const { timeoutMs } = daemon;
    // A stop waits that much longer than its grace. Berth reads it at each call.
    Object.assign(daemon, { timeoutMs: 3_000 });
    const answer = await user.api.call('POST', path('/stop'));
    Object.assign(daemon, { timeoutMs });
    expect(answer).toMatchObject({ status: 200, body: { status: 'stopped' } });
    expect(performance.now() - began).toBeLessThan(40_000);
    expect((await user.api.start(container.db_id)).status).toBe(200);
    expect(await user.api.call('POST', path('/exec'), { command: ['true'] })).toMatchObject({ status: 200 });
  });
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
