import { NodeWatch } from '../../../src/containers/nodes/node-watch.ts';
import { Clock } from '../../../src/scheduling/clock.ts';
import { testImage } from '../../../test/support/clients/api-client.ts';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { FakeCluster } from '../../../test/support/fakes/fake-cluster.ts';
import { Berth } from '../src/index.ts';

class AheadClock extends Clock {
  aheadMs = 0;

  override now(): Date {
    return new Date(super.now().getTime() + this.aheadMs);
  }
}

describe('an administrator', () => {
  const cluster = new FakeCluster(['one', 'two']);
  const clock = new AheadClock();
  let server: Server;
  let user: TestUser;
  let admin: Berth['admin'];
  let id: string;

  beforeAll(async () => {
    server = await Server.start({
      engine: cluster.engine(),
      clock,
      environment: { INSTANCE_ID: 'client-admin', VOLUME_COPY_IMAGE: testImage() },
    });
    user = await server.user('pro');
    const { token } = await server.user('pro', ['admin', 'read', 'write']);
    ({ admin } = new Berth({ url: server.url, token, retries: 0 }));
    id = (await user.api.running({ name: 'theirs' })).db_id;
  });
  afterAll(() => server.stop());

  it('must find, change and suspend users, and end their tokens', async () => {
    expect(await admin.users({ tier: 'pro', limit: 1 }).all()).toHaveLength(2);
    const { user: changed } = await admin.updateUser(user.id, { tier: 'enterprise' });
    expect(changed).toMatchObject({ id: user.id, tier: 'enterprise', suspended_at: null });
    const other = await server.user('free');
    expect(await admin.revokeTokensOf(other.id)).toMatchObject({ id: other.id, count: 1 });
    expect(await admin.deleteUser(other.id)).toMatchObject({ id: other.id });
    expect(await admin.users({ tier: 'free' }).all()).toEqual([]);
    await expect(admin.deleteUser(other.id)).rejects.toMatchObject({ status: 404 });
  });

  it("must see everybody's containers, with their machines, and stop them", async () => {
    const [found] = await admin.containers({ user_id: user.id, status: 'running' }).all();
    expect(found).toMatchObject({ db_id: id, name: 'theirs', user_id: user.id });
    expect(['one', 'two']).toContain(found?.node);
    expect(await admin.stopContainer(id)).toMatchObject({ status: 'stopped' });
    expect((await user.api.start(id)).status).toBe(200);
  });

  it('must move one to another machine', async () => {
    const nodeOf = async (): Promise<string | undefined> => (await admin.containers().all())[0]?.node;
    const before = await nodeOf();
    const node = before === 'one' ? 'two' : 'one';
    expect(await admin.moveContainer(id, { node })).toMatchObject({ db_id: id, node, restarted: true });
    await expect(admin.moveContainer(id, { node })).rejects.toMatchObject({ code: 'same_node' });
    expect((await admin.moveContainer(id)).node).toBe(before);
    expect(await nodeOf()).toBe(before);
  });

  it('must see what there is, what is used, and what was done', async () => {
    expect(await admin.capacity()).toMatchObject({ memory_mb: { total: 2048 }, cpu_shares: { total: 8000 } });
    expect(await admin.reconcile()).toMatchObject({ failed: 0, removed_orphans: 0 });
    expect(await admin.usage({ user_id: user.id }).all()).toEqual([expect.objectContaining({ user_id: user.id })]);
    const stops = await admin.audit({ action: 'container.stop' }).all();
    expect(stops.map((each) => each.container_id)).toEqual([id]);
    const done = await admin.audit({ user_id: user.id, limit: 1 }).all();
    expect(done.map(({ action }) => action)).toContain('container.create');
    expect(done.every((each) => [each.user_id, each.subject_user_id].includes(user.id))).toBe(true);
  });

  it('must drain a machine, take that back, and give one up that is gone', async () => {
    expect((await admin.nodes()).map(({ name, availability }) => [name, availability])).toEqual([
      ['one', 'active'],
      ['two', 'active'],
    ]);
    expect(await admin.drainNode('one')).toMatchObject({ name: 'one', availability: 'drain' });
    expect(await admin.activateNode('one')).toMatchObject({ name: 'one', availability: 'active' });
    await expect(admin.forgetNode('two')).rejects.toMatchObject({ code: 'node_reachable' });
    cluster.named('two').cut();
    clock.aheadMs += 20_000;
    await server.app.get(NodeWatch).look();
    expect(await admin.forgetNode('two')).toMatchObject({ name: 'two', state: 'forgotten', containers: 0 });
    await expect(admin.drainNode('../one')).rejects.toMatchObject({ code: 'node_not_found' });
  });

  it('must have the scope for it', async () => {
    await expect(new Berth({ url: server.url, token: user.token }).admin.nodes()).rejects.toMatchObject({
      code: 'insufficient_permissions',
    });
  });
});
