import { Answer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import type { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';

const TOO_MANY = Object.fromEntries(Array.from({ length: 33 }, (_each, at) => [`key-${String(at)}`, '']));

describe('the labels of a container', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    engine = new FakeEngine();
    ({ daemon } = engine);
    // Each test shows the effect of a request, not of a sweep.
    berth = await Berth.start({ engine, environment: { SWEEP_INTERVAL_SECONDS: '3600' } });
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  beforeEach(async () => {
    ({ user, events } = await berth.newcomer());
  });

  const put = (id: string, labels: unknown): Promise<Answer> =>
    user.api.call('PUT', `/api/containers/${id}/labels`, { labels });

  it('must be in every answer and event of it, and never in Docker', async () => {
    const labels = { team: 'core', 'berth.managed': 'mine' };
    const { id, db_id } = await user.api.running({ labels });
    expect((await events.next('container_created')).data).toMatchObject({ db_id, labels });
    expect((await events.next('container_started')).data).toMatchObject({ db_id, labels });
    expect((await user.api.get(id)).body).toMatchObject({ labels });
    const renamed = await user.api.update(id, { name: 'renamed', ...SMALL, memory_mb: 512 });
    expect(renamed.body['container']).toMatchObject({ labels });
    await user.api.delete(db_id);
    await user.api.call('POST', `/api/containers/${db_id}/restore`);
    expect((await user.api.get(db_id)).body).toMatchObject({ labels, status: 'stopped' });
    expect((await user.api.get((await user.api.running()).id)).body).toMatchObject({ labels: {} });
    expect(JSON.stringify(engine.calls)).not.toContain('mine');
  });

  it('must be replaced as a whole, without Docker, emitted once and audited', async () => {
    const { id, db_id } = await user.api.running({ labels: { team: 'core', stage: 'test' } });
    await events.next('container_started');
    events.clear();
    daemon.down = true;
    const replaced = await put(id, { team: 'edge', owner: '' });
    const again = await put(id, { owner: '', team: 'edge' });
    const none = await put(db_id.slice(0, 12), {});
    daemon.down = false;
    const told = { id, db_id, status: 'running' };
    for (const same of [replaced, again]) {
      expect(same).toMatchObject({ status: 200, body: { ...told, labels: { team: 'edge', owner: '' } } });
    }
    expect(replaced.body['labels']).toEqual({ team: 'edge', owner: '' });
    expect(none.body['labels']).toEqual({});
    await eventually(() => expect(events.events).toHaveLength(2));
    expect(events.events.map(({ type, data }) => [type, 'labels' in data && data.labels])).toEqual([
      ['container_updated', { team: 'edge', owner: '' }],
      ['container_updated', {}],
    ]);
    const { body } = await user.api.call('GET', '/api/audit');
    const entries = (body['entries'] as { action: string; outcome: string; container_id: string }[]).slice(0, 3);
    expect(entries.map(({ action, outcome, container_id }) => [action, outcome, container_id])).toEqual(
      Array(3).fill(['container.label', 'ok', db_id]),
    );
  });

  it.each<[string, unknown]>([
    ['more than 32', TOO_MANY],
    ['an upper-case key', { Team: 'core' }],
    ['an empty key', { '': 'core' }],
    ['a key of 64', { ['a'.repeat(64)]: 'core' }],
    ['a key with a colon', { 'a:b': 'core' }],
    ['a value of 256', { team: 'x'.repeat(256) }],
    ['a number', { team: 1 }],
    ['null', { team: null }],
    ['a list', ['team']],
    ['text', 'team:core'],
  ])('must be refused with %s', async (_what, labels) => {
    const { id } = await user.api.running({ labels: { ['a'.repeat(63)]: 'x'.repeat(255) } });
    for (const refused of [await put(id, labels), await user.api.create({ labels })]) {
      expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_parameters' } });
      expect(refused.body['details']).toEqual([expect.objectContaining({ field: 'labels' })]);
    }
    expect((await put(id, null)).status).toBe(400);
    expect((await user.api.call('PUT', `/api/containers/${id}/labels`)).status).toBe(400);
  });

  describe('as a filter of the list', () => {
    const named = async (query: string): Promise<string[]> => {
      const { status, body } = await user.api.call('GET', `/api/containers?${query}`);
      expect([query, status]).toEqual([query, 200]);
      return (body['containers'] as { name: string }[]).map(({ name }) => name).sort();
    };

    it('must find those that have all of them, by key and value or by the key alone', async () => {
      await user.api.create({ name: 'one', labels: { team: 'core', stage: 'test' } });
      await user.api.create({ name: 'two', labels: { stage: 'live', team: 'core' } });
      await user.api.create({ name: 'three', labels: { team: 'core:2', note: '"team":"core" 100%_ é' } });
      await user.api.create({ name: 'four', labels: { 'a/team': 'core', empty: '' } });
      await (await berth.user()).api.create({ name: 'foreign', labels: { team: 'core' } });
      expect(await named('label=team:core')).toEqual(['one', 'two']);
      expect(await named('label=team:core&label=stage:live')).toEqual(['two']);
      expect(await named('label=team:core&label=stage')).toEqual(['one', 'two']);
      expect(await named('label=team')).toEqual(['one', 'three', 'two']);
      expect(await named('label=team:core%3A2')).toEqual(['three']);
      expect(await named(`label=${encodeURIComponent('note:"team":"core" 100%_ é')}`)).toEqual(['three']);
      expect(await named('label=empty:')).toEqual(['four']);
      expect(await named('label=team:cor')).toEqual([]);
      expect(await named('label=team:CORE')).toEqual([]);
      expect(await named('label=eam')).toEqual([]);
      expect(await named('label=team:core&name=two')).toEqual(['two']);
      const { body } = await user.api.call('GET', '/api/containers?label=team:core&limit=1');
      expect(body).toMatchObject({ count: 1, next_cursor: expect.any(String), containers: [{ name: 'two' }] });
      const two = (body['containers'] as { db_id: string }[])[0]?.db_id ?? '';
      await user.api.delete(two);
      expect(await named('label=team:core&status=deleted')).toEqual(['two']);
      expect(await named('label=team:core')).toEqual(['one']);
    });

    it.each(['label=', 'label=Team:core', 'label=a%00:b', 'label=a:b%00', `label=a:${'x'.repeat(256)}`, 'label[a]=b'])(
      'must be refused as %p',
      async (query) => {
        const { status, body } = await user.api.call('GET', `/api/containers?${query}`);
        expect([status, body['code']]).toEqual([400, 'invalid_parameters']);
      },
    );
  });
});
