import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Environments } from '../../src/containers/rows/environments';
import { Database } from '../../src/database';
import { type Answer, answered, SMALL } from '../support/clients/api-client';
import { EventRecorder } from '../support/clients/socket-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, TestUser } from '../support/servers/berth';

const BOTH = 'application/json, application/merge-patch+json';
const SERVER = { command: ['server'], restart: 'never', ready: { port: 80, within_seconds: 5 } };

describe('a merge patch of a container', () => {
  const engine = new FakeEngine();
  let database: TestDatabase;
  /** The server, and on PostgreSQL a second process of it. */
  let servers: Berth[];
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { INSTANCE_ID: 'patches', SWEEP_INTERVAL_SECONDS: '3600' };
    berth = await Berth.start({ database, engine, environment });
    servers = [berth];
    if (!database.url.startsWith('sqlite')) servers.push(await Berth.start({ database, engine, environment }));
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await database.drop();
    expect(engine.daemon.violations).toEqual([]);
  });

  beforeEach(async () => {
    ({ user, events } = await berth.newcomer('enterprise'));
  });

  const rowOf = (id: string): Promise<ContainerEntity> =>
    berth.app.get(Database).manager.findOneByOrFail(ContainerEntity, { id });
  const variablesOf = async (id: string): Promise<unknown> => berth.app.get(Environments).open(await rowOf(id));
  const tagOf = async (id: string): Promise<string> => String((await user.api.get(id)).headers.get('etag'));
  const detailsOf = ({ body }: Answer): unknown =>
    (body['details'] as { field: string; message: string }[]).map(({ field, message }) => [field, message]);

  it('must change one setting and leave the others, those at their defaults and those that were set', async () => {
    const settings = { labels: { team: 'core' }, auto_stop_seconds: 600, network: 'none', start: SERVER };
    const { db_id, id } = await user.api.running({ ...settings, name: 'before', env: { A: '1' } });
    events.clear();
    const renamed = await user.api.patch(db_id, { name: 'after' });
    expect(renamed).toMatchObject({ status: 200, body: { restarted: false, container: { id, name: 'after' } } });
    expect((await user.api.get(db_id)).body).toMatchObject({ ...settings, name: 'after', resources: SMALL, id });
    expect(await variablesOf(db_id)).toEqual({ A: '1' });
    expect((await events.next('container_updated')).data).toMatchObject({ name: 'after', restarted: false });
    const larger = await user.api.patch(`${db_id}/settings`, { memory_mb: 512 });
    const resources = { ...SMALL, memory_mb: 512 };
    expect(larger).toMatchObject({ status: 200, body: { restarted: true, container: { name: 'after', resources } } });
    expect((await user.api.get(db_id)).body).toMatchObject({ ...settings, name: 'after', resources });
  });

  it('must merge variables, labels and the start command by key, and remove what is null', async () => {
    const { db_id } = await user.api.running({ env: { A: '1', B: '2' }, labels: { a: '1', b: '2' }, start: SERVER });
    const merge = { env: { A: null, C: '3' }, labels: { b: null, c: '' }, start: { restart: null } };
    expect((await user.api.patch(db_id, merge)).status).toBe(200);
    expect(await variablesOf(db_id)).toEqual({ B: '2', C: '3' });
    expect((await user.api.get(db_id)).body).toMatchObject({
      labels: { a: '1', c: '' },
      start: { ...SERVER, restart: 'on-failure' },
    });
    await user.api.patch(db_id, { start: { command: ['other'], ready: { port: null, command: ['true'] } } });
    const ready = { command: ['true'], within_seconds: 5 };
    const start = { command: ['other'], restart: 'on-failure', ready };
    expect((await user.api.get(db_id)).body).toMatchObject({ start });
    const limits = { auto_stop_seconds: 600, auto_delete_seconds: 600 };
    await user.api.patch(db_id, { ...limits, network: 'none' });
    expect((await user.api.get(db_id)).body).toMatchObject({ ...limits, network: 'none' });
    const none = { auto_stop_seconds: null, auto_delete_seconds: null, start: null };
    expect((await user.api.patch(db_id, { ...none, network: null, env: null, labels: null })).status).toBe(200);
    expect((await user.api.get(db_id)).body).toMatchObject({ ...none, network: 'internet', labels: {} });
    expect(await variablesOf(db_id)).toEqual({});
  });

  it('must do and say nothing where it changes nothing, and give the same tag', async () => {
    const { db_id, id } = await user.api.running({ env: { A: '1' }, labels: { a: '1', b: '2' }, start: SERVER });
    const tag = await tagOf(db_id);
    await events.next('container_started');
    events.clear();
    const same = {
      env: { A: '1', B: null },
      labels: { b: '2', a: '1' },
      start: { ready: { port: 80 } },
      memory_mb: 256,
    };
    const answer = await user.api.patch(db_id, same);
    expect(answer).toMatchObject({ status: 200, body: { restarted: false, container: { id } } });
    expect([answer.headers.get('etag'), await tagOf(db_id)]).toEqual([tag, tag]);
    await user.api.patch(db_id, { name: 'changed' });
    await events.next('container_updated', { name: 'changed' });
    expect(events.events.filter(({ type }) => type === 'container_updated')).toHaveLength(1);
  });

  it.each<[string, unknown, [field: string, message: RegExp][]]>([
    ['nothing', {}, [['body', /at least one field/]]],
    ['a list', [], [['body', /must be a JSON object/]]],
    ['a field that is not there', { image: 'x' }, [['image', /unknown field/]]],
    [
      'required fields to remove',
      { name: null, memory_mb: null, cpu_shares: null, disk_mb: null },
      [
        ['name', /must be a string/],
        ['memory_mb', /must be an integer/],
        ['cpu_shares', /must be an integer/],
        ['disk_mb', /must be an integer/],
      ],
    ],
    ['too much memory', { memory_mb: 8193 }, [['memory_mb', /8192 on the tier/]]],
    ['a variable that is no text', { env: { A: 5 } }, [['env', /null removes one/]]],
    ['a name that is no variable', { env: { 'A-B': null } }, [['env', /names of letters/]]],
    ['labels in a list', { labels: ['a'] }, [['labels', /must be an object/]]],
    ['a start without a command', { start: { restart: 'never' } }, [['start', /start.command must be a program/]]],
    ['a start that is no object', { start: 'server' }, [['start', /must be an object/]]],
    [
      'more variables and labels than a container has, once merged',
      { env: numbered('K', 64), labels: numbered('k', 32) },
      [
        ['env', /at most 64 variables/],
        ['labels', /at most 32 labels/],
      ],
    ],
  ])('must be refused by a 400 that names the field, and change nothing: %s', async (_what, patch, expected) => {
    const { db_id } = await user.api.running({ env: { A: '1' }, labels: { a: '1' } });
    const before = await rowOf(db_id);
    const answer = await user.api.patch(db_id, patch);
    expect([answer.status, detailsOf(answer)]).toEqual([
      400,
      expected.map(([field, message]): unknown[] => [field, expect.stringMatching(message)]),
    ]);
    const { revision: _revision, ...row } = await rowOf(db_id);
    const { revision: _before, ...unchanged } = before;
    expect(row).toEqual(unchanged);
    expect((await user.api.patch(db_id, { name: 'next' })).status).toBe(200);
  });

  it('must keep to the tier only in what it changes', async () => {
    const { db_id } = await user.api.running({ memory_mb: 4096 });
    const admin = await berth.user('pro', ['admin']);
    await admin.api.call('PATCH', `/api/admin/users/${user.id}`, { tier: 'free' });
    expect((await user.api.patch(db_id, { name: 'renamed' })).status).toBe(200);
    expect((await user.api.patch(db_id, { memory_mb: 4096 })).status).toBe(400);
  });

  it('must need the scope exec for a start command, and a tier that allows it', async () => {
    const { db_id } = await user.api.running();
    const { api } = await berth.user('pro', ['read', 'write']);
    expect(await api.patch(db_id, { start: SERVER })).toMatchObject({ body: { code: 'insufficient_permissions' } });
    expect(await api.patch(db_id, { start: null })).toMatchObject({ body: { code: 'insufficient_permissions' } });
    expect(await api.patch(db_id, { name: 'mine' })).toMatchObject({ body: { code: 'not_authorized' } });
  });

  it('must all hold, of many at once that change different settings, in several processes', async () => {
    const { db_id } = await user.api.running();
    const names = Array.from({ length: 12 }, (_each, at) => `K${String(at)}`);
    const answers = await Promise.all(
      names.map((name, at) => {
        const { api } = (servers[at % servers.length] ?? berth).as(user);
        const changes = { labels: { [name.toLowerCase()]: 'x' }, ...(at < 3 && { env: { [name]: 'x' } }) };
        return answered(() => api.patch(db_id, changes));
      }),
    );
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 200));
    const { body } = await user.api.get(db_id);
    expect(Object.keys(body['labels'] as object).sort()).toEqual(names.map((name) => name.toLowerCase()).sort());
    expect(await variablesOf(db_id)).toEqual({ K0: 'x', K1: 'x', K2: 'x' });
  });

  describe('with If-Match', () => {
    it('must be made by exactly one of many at once with the same tag, in several processes', async () => {
      const { db_id } = await user.api.running();
      for (const patch of [(at: number) => ({ name: `n-${String(at)}` }), (at: number) => ({ memory_mb: 300 + at })]) {
        const tag = await tagOf(db_id);
        const answers = await Promise.all(
          Array.from({ length: 8 }, (_each, at) =>
            answered(() =>
              (servers[at % servers.length] ?? berth).as(user).api.patch(db_id, patch(at), { 'if-match': tag }),
            ),
          ),
        );
        const [made, ...more] = answers.filter(({ status }) => status === 200);
        const lost = answers.filter(({ status }) => status === 412);
        expect([more.length, lost.length, lost[0]?.body['code']]).toEqual([0, 7, 'precondition_failed']);
        expect((await user.api.get(db_id)).body).toMatchObject(named(made?.body['container']));
        expect(made?.headers.get('etag')).toBe(await tagOf(db_id));
      }
    });

    it('must be told by the settings alone, whatever the container does', async () => {
      const { db_id } = await user.api.running();
      const tag = await tagOf(db_id);
      expect(tag).toMatch(/^"[\w-]{22}"$/);
      await user.api.stop(db_id);
      await user.api.start(db_id);
      await user.api.call('POST', `/api/containers/${db_id}/touch`);
      for (const server of servers) {
        expect((await server.as(user).api.get(db_id)).headers.get('etag')).toBe(tag);
      }
      const read = await user.api.call('GET', `/api/containers/${db_id}`, undefined, { 'if-none-match': tag });
      expect([read.status, read.headers.get('accept-patch')]).toEqual([200, BOTH]);
      const tags = new Set([tag]);
      const changes = { name: 'n', env: { A: '1' }, labels: { a: '1' }, auto_stop_seconds: 600, start: SERVER };
      for (const [field, value] of Object.entries({ ...changes, auto_delete_seconds: 600, disk_mb: 2048 })) {
        tags.add(String((await user.api.patch(db_id, { [field]: value })).headers.get('etag')));
      }
      expect(tags.size).toBe(8);
    });

    it('must follow variables that were encrypted with a new key, in every process alike', async () => {
      const { db_id } = await user.api.running({ env: { A: '1' } });
      const tag = await tagOf(db_id);
      const environments = berth.app.get(Environments);
      const sealedEnv = environments.seal(db_id, { A: '1' });
      await berth.app.get(Database).manager.update(ContainerEntity, { id: db_id }, { sealedEnv });
      const told = await Promise.all(servers.map((server) => server.as(user).api.get(db_id)));
      const [first = ''] = told.map(({ headers }) => String(headers.get('etag')));
      expect(first).not.toBe(tag);
      expect(told.map(({ headers }) => headers.get('etag'))).toEqual(servers.map(() => first));
      expect((await user.api.patch(db_id, { name: 'n' }, { 'if-match': first })).status).toBe(200);
    });

    it('must hold for whole settings and for labels, too, and change nothing where it fails', async () => {
      const { db_id, name } = await user.api.running();
      const tag = await tagOf(db_id);
      const path = `/api/containers/${db_id}`;
      await user.api.patch(db_id, { name: 'other' });
      for (const condition of [{ 'if-match': tag }, { 'if-match': `W/${tag}` }, { 'if-none-match': '*' }]) {
        const answers = [
          await user.api.patch(db_id, { env: { A: '1' } }, condition),
          // The condition is decided before the patch is looked at.
          await user.api.patch(db_id, { start: { restart: 'never' } }, condition),
          await user.api.call('PATCH', path, { name, ...SMALL }, condition),
          await user.api.call('PUT', `${path}/labels`, { labels: { a: '1' } }, condition),
        ];
        expect(answers.map(({ status }) => status)).toEqual([412, 412, 412, 412]);
      }
      expect((await user.api.get(db_id)).body).toMatchObject({ name: 'other', labels: {} });
      const current = await tagOf(db_id);
      const list = { 'if-match': `"x", ${current}` };
      expect((await user.api.call('PUT', `${path}/labels`, { labels: { a: '1' } }, list)).status).toBe(200);
      expect((await user.api.call('PATCH', path, { name, ...SMALL }, list)).status).toBe(412);
      expect((await user.api.call('PATCH', path, { name, ...SMALL }, { 'if-match': '*' })).status).toBe(200);
    });
  });
});

function numbered(prefix: string, count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_each, at) => [`${prefix}${String(at)}`, 'x']));
}

/** What a client sees of an update's container in `GET` as well. */
function named(container: unknown): object {
  const { name, resources } = container as { name: string; resources: object };
  return { name, resources };
}
