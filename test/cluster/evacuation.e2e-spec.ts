import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Evacuation } from '../../src/containers/moves/evacuation';
import { NodeRepository } from '../../src/containers/nodes/node.repository';
import { Database } from '../../src/database';
import type { Poll } from '../../src/scheduling';
import { SMALL, testImage } from '../support/clients/api-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeCluster } from '../support/fakes/fake-cluster';
import { Berth } from '../support/servers/berth';

const CONTAINERS = 6;

describe('a drained node with several processes', () => {
  const cluster = new FakeCluster(['one', 'two']);
  let database: TestDatabase;
  let servers: Berth[] = [];

  beforeAll(async () => {
    for (const node of cluster.nodes) node.facts = { ...node.facts, memoryMb: 16_384, cpuShares: 64_000 };
    database = await openTestDatabase();
    const environment = { INSTANCE_ID: 'evacuation', VOLUME_COPY_IMAGE: testImage(), SWEEP_INTERVAL_SECONDS: '3600' };
    for (let made = 0; made < 3; made += 1)
      servers.push(await Berth.start({ database, engine: cluster.engine(), environment }));
    for (const { app } of servers) app.get<{ poll: Poll }>(Evacuation).poll.stop();
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await database.drop();
  });

  it('is emptied by one of them, two containers at a time, and by another one once that has ended', async () => {
    const [first] = servers;
    if (!first) throw new Error('there is no server');
    const operator = await first.user('pro', ['admin', 'read', 'write']);
    await operator.api.call('POST', '/api/admin/nodes/two/drain');
    // Each of a user of its own: the data of one user are copied one after the other.
    for (let made = 0; made < CONTAINERS; made += 1) await (await first.user('enterprise')).api.running(SMALL);
    await operator.api.call('POST', '/api/admin/nodes/two/activate');

    const { volumes } = cluster.named('one').engine;
    const send = volumes.send.bind(volumes);
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    let [sending, most, rested] = [0, 0, 0];
    jest.spyOn(volumes, 'send').mockImplementation(async (...args) => {
      most = Math.max(most, (sending += 1));
      await gate;
      return send(...args).finally(() => (sending -= 1));
    });
    await operator.api.call('POST', '/api/admin/nodes/one/drain', { move: true });
    const looks = servers.map(({ app }) => app.get(Evacuation).look());
    for (const look of looks) void look.then(() => (rested += 1));
    await eventually(() => expect([sending, rested]).toEqual([2, 2]));
    open();
    await Promise.all(looks);
    expect(most).toBe(2);
    expect(await first.app.get(Database).manager.countBy(ContainerEntity, { nodeId: 'one' })).toBe(0);

    const held = await Promise.all(servers.map(({ app }) => app.get(NodeRepository).emptying.isHeld()));
    expect(held.filter(Boolean)).toHaveLength(1);
    const leader = servers[held.indexOf(true)];
    await leader?.stop();
    servers = servers.filter((server) => server !== leader);
    const next = servers[0]?.app.get(NodeRepository).emptying;
    await eventually(async () => expect(await next?.take()).toBe(true));
  });
});
