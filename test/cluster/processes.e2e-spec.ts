import { Answer, ApiClient, SMALL } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { EventRecorder } from '../support/clients/socket-client';
import { range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';

jest.setTimeout(300_000);

/** Acts on one container wait for each other. */
const ENVIRONMENT = { ORPHAN_GRACE_SECONDS: '0', OPERATION_WAIT_SECONDS: '90' };

describe('three server processes with PostgreSQL, Redis and one Docker', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start('processes', { environment: ENVIRONMENT });
  });

  afterAll(() => cluster.stop());

  it('must send sockets on each of them all events in order, whoever made them, and replay them on each', async () => {
    const apis = await cluster.user();
    const live = await Promise.all(apis.map((api) => cluster.record(api)));
    const late: { after: number; recorder: EventRecorder }[] = [];
    const one = async (index: number): Promise<void> => {
      const on = (step: number): ApiClient => at(apis, index + step);
      const { db_id, name } = await on(0).running({ name: `box-${index}` });
      const after = live[0]?.events.at(-1)?.seq ?? 0;
      late.push({ after, recorder: await cluster.record(on(1), after) });
      await on(1).stop(db_id);
      await on(2).update(db_id, { name: `${name}-renamed`, ...SMALL });
      await on(0).start(db_id);
      await on(1).delete(db_id);
    };
    await Promise.all(range(0, 1).map(one));
    const listed = await Promise.all(apis.map((api) => api.call('GET', '/api/containers')));
    const last = Number(listed[0]?.body['event_seq']);
    expect(listed.map(({ body }) => body['event_seq'])).toEqual([last, last, last]);
    expect(last).toBeGreaterThanOrEqual(2 * 6);
    for (const { events } of live) {
      await eventually(() => expect(events.map(({ seq }) => seq)).toEqual(range(1, last)));
      expect(events).toEqual(live[0]?.events);
    }
    for (const { after, recorder } of late) {
      await eventually(() => expect(recorder.events.map(({ seq }) => seq)).toEqual(range(after + 1, last)));
    }
    for (const api of apis) {
      const replayed = await cluster.record(api, 0);
      await eventually(() => expect(replayed.events).toEqual(live[0]?.events));
    }
  });

  it('must start a container once that all of them are asked to start, and delete it once', async () => {
    const apis = await cluster.user();
    const { db_id } = await at(apis, 0).running();
    await at(apis, 0).stop(db_id);
    const events = await cluster.record(at(apis, 1));
    const started = await everywhere(apis, (api) => api.start(db_id));
    expect(started.map(({ status }) => status)).toEqual(started.map(() => 200));
    const deleted = await everywhere(apis, (api) => api.delete(db_id));
    expect(deleted.map(({ status }) => status).sort((one, other) => one - other)).toEqual([
      200,
      ...range(1, deleted.length - 1).map(() => 404),
    ]);
    await events.next('container_deleted', { db_id });
    expect(events.types()).toEqual(['container_started', 'container_deleted']);
  });

  it('must let each of many different operations on one container have its turn, and fail none', async () => {
    const apis = await cluster.user();
    const { db_id, name } = await at(apis, 0).running();
    const larger = { name, ...SMALL, memory_mb: 512 };
    const answers = await Promise.all([
      at(apis, 0).stop(db_id),
      at(apis, 1).update(db_id, larger),
      at(apis, 2).start(db_id),
      at(apis, 0).start(db_id),
    ]);
    const fine = answers.map(({ status, body }) => (status === 409 ? body['code'] : status));
    expect(fine.filter((status) => status !== 200 && status !== 'operation_in_progress')).toEqual([]);
    expect(fine).toContain(200);
    expect((await at(apis, 2).start(db_id)).status).toBe(200);
    await expectSettled(at(apis, 1), cluster.docker, db_id);
  });

  it('must give a name once and a place in the tier once, whichever of them is asked', async () => {
    const named = await cluster.user();
    const same = await everywhere(named, (api) => api.create({ name: 'same' }));
    expect(codes(same)).toEqual([202, ...range(1, same.length - 1).map(() => 'name_taken')]);
    const small = await cluster.user('guest');
    const many = await onceAllWait(small, () => everywhere(small, (api) => api.create()));
    expect(codes(many)).toEqual([202, ...range(1, many.length - 1).map(() => 'container_limit_reached')]);
  });

  it('must remove a container that has no row, and call it no failure that all of them find it', async () => {
    const apis = await cluster.user('enterprise', ['--scopes', 'read,write,admin']);
    const { id } = await at(apis, 0).running();
    const { Image, HostConfig, Config } = await cluster.docker.inspect(id);
    const labels = { ...Config.Labels, 'berth.container_id': '00000000-0000-4000-8000-000000000000' };
    const body = {
      Image,
      Cmd: ['sleep', '60'],
      Labels: labels,
      HostConfig: { Runtime: HostConfig.Runtime ?? 'runsc' },
    };
    const orphan = await cluster.docker.docker.createContainer({ ...body, NetworkDisabled: true });
    const reports = await Promise.all(apis.map((api) => api.call('POST', '/api/admin/reconcile')));
    for (const report of reports) expect(report).toMatchObject({ status: 200, body: { failed: 0 } });
    expect(await orphan.inspect().catch(() => null)).toBeNull();
    expect((await at(apis, 1).get(id)).body).toMatchObject({ status: 'running' });
  });

  /**
   * Locks the user's row until a statement of each process waits for it. Each of these statements then sees the
   * database as it was before the others wrote.
   */
  async function onceAllWait<T>(apis: readonly ApiClient[], ask: () => Promise<T>): Promise<T> {
    const { body } = await at(apis, 0).call('GET', '/api/me');
    await cluster.sql('BEGIN', []);
    try {
      await cluster.sql('SELECT FROM users WHERE id = $1 FOR UPDATE', [(body['user'] as { id: string }).id]);
      const asked = ask();
      const waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
      await eventually(async () => {
        // Within a transaction, PostgreSQL shows the sessions as they were at the first look.
        await cluster.sql('SELECT pg_stat_clear_snapshot()', []);
        expect(await cluster.sql(`SELECT FROM ${waiting}`, [])).toHaveLength(apis.length);
      });
      await cluster.sql('COMMIT', []);
      return await asked;
    } finally {
      await cluster.sql('ROLLBACK', []);
    }
  }
});

/** Round and round. */
function at(apis: readonly ApiClient[], index: number): ApiClient {
  return apis[index % apis.length] ?? never();
}

/** Three times of each, all at once. */
function everywhere(apis: readonly ApiClient[], ask: (api: ApiClient) => Promise<Answer>): Promise<Answer[]> {
  return Promise.all([...apis, ...apis, ...apis].map(ask));
}

/** The status of what went well before the codes of what did not. */
function codes(answers: readonly Answer[]): unknown[] {
  const good = answers.filter(({ status }) => status < 300).map(({ status }) => status);
  return [...good, ...answers.filter(({ status }) => status >= 300).map(({ body }) => body['code'])];
}

function never(): never {
  throw new Error('there is no such server');
}
