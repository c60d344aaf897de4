import { TokenService } from '../../src/auth';
import { ContainerEngine } from '../../src/engine';
import type { StatsView } from '../../src/sandbox/stats/dto';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(120_000);

const MIB = 2 ** 20;

describe('statistics of a container on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const instance = `test-stats-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user();
    container = await user.api.running();
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  const follow = (token = user.token): Promise<EventStreamClient> =>
    EventStreamClient.open({ url: berth.url, token, path: `/api/containers/${container.db_id}/stats` });
  const statsOf = ({ told }: EventStreamClient): StatsView[] =>
    told.filter(({ name }) => name === 'stats').map(({ data }) => data as StatsView);
  const last = (stream: EventStreamClient): StatsView => {
    const stats = statsOf(stream).at(-1);
    if (!stats) throw new Error('nothing was told yet');
    return stats;
  };
  const ended = (stream: EventStreamClient, reason: string) =>
    eventually(() => {
      expect(stream.told.at(-1)).toMatchObject({ name: 'end', data: { reason } });
      expect(stream.ending).toBe('complete');
    });

  it('must be told at once, with the limits that the container has', async () => {
    const { status, body } = await user.api.call('GET', `/api/containers/${container.db_id}/stats`);
    expect(status).toBe(200);
    expect(body).toEqual({
      at: expect.any(String),
      cpu: { percent_of_limit: expect.any(Number), throttled_percent: expect.any(Number) },
      memory: { used_bytes: expect.any(Number), limit_bytes: 256 * MIB },
      pids: null,
      network: { rx_bytes: expect.any(Number), tx_bytes: expect.any(Number) },
      disk_used_bytes: null,
    });
    expect(Math.abs(Date.parse(String(body['at'])) - Date.now())).toBeLessThan(30_000);
  });

  it('must follow what the container does: CPU, memory and network', async () => {
    const stream = await follow();
    await eventually(() => expect(last(stream).cpu.percent_of_limit).toBeLessThan(50));
    const before = last(stream);
    const busy =
      'dd if=/dev/zero of=/dev/shm/held bs=4M count=16; nslookup localhost 192.0.2.1 & i=0; while :; do i=$((i+1)); done';
    const engine = berth.app.get(ContainerEngine);
    const loop = await engine.programs.start(container.id, { command: ['sh', '-c', busy], id: 'busy' });
    await eventually(
      () => {
        const { cpu, memory, network } = last(stream);
        expect(cpu.percent_of_limit).toBeGreaterThan(80);
        expect(cpu.percent_of_limit).toBeLessThan(125);
        expect(cpu.throttled_percent).toBeGreaterThan(0);
        expect(memory.used_bytes - before.memory.used_bytes).toBeGreaterThan(60 * MIB);
        expect(memory.used_bytes).toBeLessThan(256 * MIB);
        expect(network?.tx_bytes).toBeGreaterThan(before.network?.tx_bytes ?? 0);
      },
      // A busy machine may give the container less than its limit for a while.
      { timeoutMs: 60_000 },
    );
    await engine.programs.end(container.id, { id: 'busy', signal: 'KILL', graceMs: 0 });
    loop.close();
    await docker.exec(container.id, ['rm', '/dev/shm/held']);
    await eventually(() => {
      expect(last(stream).cpu.percent_of_limit).toBeLessThan(50);
      expect(last(stream).memory.used_bytes - before.memory.used_bytes).toBeLessThan(30 * MIB);
    });
    stream.close();
  });

  it('must end with the token, and say so', async () => {
    const tokens = berth.app.get(TokenService);
    const { text, token } = await tokens.issue({ userId: user.id, name: 'short', scopes: ['exec'], expiresAt: null });
    const stream = await follow(text);
    await tokens.revoke({ userId: user.id, tokenId: token.id });
    await ended(stream, 'token_ended');
  });

  it('must end with the container, and say why; one that does not run has none', async () => {
    const stream = await follow();
    expect(stream.status).toBe(200);
    await user.api.stop(container.db_id);
    await ended(stream, 'container_stopped');
    const answer = await user.api.call('GET', `/api/containers/${container.db_id}/stats`);
    expect([answer.status, answer.body['code']]).toEqual([409, 'container_not_running']);
    expect((await follow()).status).toBe(409);
  });

  it('must end with the server, and say so', async () => {
    await user.api.start(container.db_id);
    const stream = await follow();
    const stopped = berth.stop();
    await ended(stream, 'server_stopped');
    await stopped;
  });
});
