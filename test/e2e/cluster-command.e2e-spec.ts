import type { ApiClient } from '../support/clients/api-client';
import { ClusterCommand } from '../support/servers/cluster-command';
import { EventRecorder } from '../support/clients/socket-client';

jest.setTimeout(300_000);

describe('npm run cluster', () => {
  let command: ClusterCommand;

  beforeAll(async () => {
    command = await ClusterCommand.prepare();
    await command.start(['--processes', '2']);
  });

  afterAll(() => command.remove());

  it('must start servers on ports in a row that are one Berth, and say which line is whose', async () => {
    expect(command.apis).toHaveLength(2);
    const [first, second] = command.apis as [ApiClient, ApiClient];
    const ports = command.servers.map(({ url }) => Number(new URL(url).port));
    expect(ports).toEqual([ports[0], (ports[0] ?? 0) + 1]);
    const events = await new EventRecorder(second.url, { token: second.token }).connected();
    const made = await first.running({ name: 'kept' });
    const kept = made.db_id;
    await events.next('container_started', { db_id: kept });
    events.close();
    expect((await second.stop(kept)).status).toBe(200);
    expect((await first.get(kept)).body).toMatchObject({ name: 'kept', status: 'stopped' });
    for (const name of ['1', '2']) expect(command.output).toMatch(new RegExp(`^\\[${name}\\] \\{"level"`, 'm'));
  });

  it('must refuse a second one beside it, and what cannot be started, in a line that says why', async () => {
    const beside = command.beside();
    expect(await beside.run()).toBe(1);
    expect(beside.output).toMatch(/^✗ .* is already running in this folder \(process \d+\)\.$/m);
    expect(await beside.run(['--processes', '0'])).toBe(1);
    expect(beside.output).toMatch(/^✗ --processes 0 .*\n {2}Usage: npm run cluster -- --processes N, from 1 to 20/);
  });

  it('must leave no process at Ctrl-C', async () => {
    expect(await command.interrupt()).toBe(0);
    const order = ['stopping the servers', 'stopping Redis', 'stopping PostgreSQL'].map((each) =>
      command.output.indexOf(`✓ ${each}`),
    );
    expect(Math.min(...order)).toBeGreaterThan(0);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(await command.processes()).toEqual([]);
  });
});
