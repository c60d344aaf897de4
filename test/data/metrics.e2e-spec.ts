import { io } from 'socket.io-client';
import { Database } from '../../src/database';
import { EngineCalls } from '../../src/engine';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { SMALL } from '../support/clients/api-client';

/** What one scrape says: the value by name and labels, labels sorted. */
type Scrape = ReadonlyMap<string, number>;

async function scrape(berth: Berth): Promise<Scrape> {
  const response = await fetch(`${berth.url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

const namesIn = (scraped: Scrape): Set<string> => new Set([...scraped.keys()].map((key) => key.replace(/\{.*/, '')));

describe('GET /metrics', () => {
  let engine: FakeEngine;
  let berth: Berth;
  let other: Berth;
  let user: TestUser;

  beforeAll(async () => {
    engine = new FakeEngine();
    berth = await Berth.start({ engine });
    // In the same process, with a database of its own.
    other = await Berth.start({ engine: new FakeEngine() });
    user = await berth.user();
  });

  afterAll(() => Promise.all([berth.stop(), other.stop()]));

  it('must count what this server did, and nothing that another one in the process did', async () => {
    const before = await scrape(other);
    const { db_id: id } = await user.api.running();
    await user.api.stop(id);
    await user.api.stop(id);
    engine.failOn('containers.start');
    expect((await user.api.start(id)).status).toBe(500);
    const second = await user.api.running();
    expect((await user.api.update(id, { ...SMALL, name: second.name })).status).toBe(409);
    const recorder = await berth.record(user);
    // The engine of this test is none that tells of its calls.
    berth.app.get(EngineCalls, { strict: false }).ended({ call: 'create container', outcome: 'ok', seconds: 0.2 });
    await user.api.call('GET', `/api/nonsense/${id}`);
    await fetch(`${berth.url}/api/containers`, { method: 'PROPFIND' });

    // An answer's end is counted after the client has it.
    await eventually(async () => {
      const scraped = await scrape(berth);
      expect(Object.fromEntries(scraped)).toMatchObject({
        'berth_operations_total{operation="create",outcome="done"}': 2,
        'berth_operations_total{operation="stop",outcome="done"}': 2,
        'berth_operations_total{operation="start",outcome="failed"}': 1,
        'berth_operations_total{operation="update",outcome="refused"}': 1,
        'berth_operation_duration_seconds_count{operation="create"}': 2,
        'berth_events_total{type="container_created"}': 2,
        'berth_events_total{type="container_stopped"}': 1,
        'berth_docker_call_duration_seconds_bucket{le="0.25",call="create_container",outcome="ok"}': 1,
        'berth_docker_call_duration_seconds_sum{call="create_container",outcome="ok"}': 0.2,
        berth_sockets: 1,
        'berth_http_requests_total{method="POST",route="/api/containers",status="202"}': 2,
        'berth_http_requests_total{method="POST",route="/api/containers/:id/stop",status="200"}': 2,
        'berth_http_requests_total{method="GET",route="unmatched",status="404"}': 1,
        'berth_http_request_duration_seconds_count{method="POST",route="/api/containers/:id/stop"}': 2,
      });
      expect(scraped.get('berth_sweep_duration_seconds_count')).toBeGreaterThan(0);
      expect([...scraped.keys()].filter((key) => key.includes(id) || key.includes('PROPFIND'))).toEqual([]);
    });
    recorder.close();
    await eventually(async () => expect((await scrape(berth)).get('berth_sockets')).toBe(0));
    const after = await scrape(other);
    for (const [key, value] of after) {
      if (/^berth_(operations|events)_total/.test(key)) expect([key, value]).toEqual([key, before.get(key)]);
    }
  });

  it('must show what the database holds, and how the process is', async () => {
    const { body: agent } = await user.api.call('POST', '/api/agents', { name: 'laptop' });
    const socket = io(`${berth.url}/agents`, { auth: { token: agent['token'] }, transports: ['websocket'] });
    const scraped = await scrape(berth);
    expect([...namesIn(scraped)]).toEqual(
      expect.arrayContaining([
        'process_cpu_seconds_total',
        'nodejs_eventloop_lag_seconds',
        'process_resident_memory_bytes',
      ]),
    );
    await eventually(async () => {
      expect(Object.fromEntries(await scrape(berth))).toMatchObject({
        'berth_containers{status="running"}': 1,
        'berth_containers{status="stopped"}': 1,
        'berth_containers{status="creating"}': 0,
        'berth_containers{status="error"}': 0,
        berth_agents_online: 1,
        // Agents are no followers of events.
        berth_sockets: 0,
      });
    });
    socket.close();
  });

  it('must answer with what it has while the database is down', async () => {
    const server = await Berth.start({ engine: new FakeEngine() });
    try {
      const down = jest.spyOn(server.app.get(Database), 'manager', 'get').mockImplementation(() => {
        throw new Error('the database is down');
      });
      const names = namesIn(await scrape(server));
      expect(names).toContain('process_cpu_seconds_total');
      expect(names).toContain('berth_sockets');
      expect(names).not.toContain('berth_containers');
      expect(names).not.toContain('berth_agents_online');
      down.mockRestore();
    } finally {
      await server.stop();
    }
  });
});
