import { ContainerEntity } from '../../src/containers/model/container.entity';
import { RoleInstaller } from '../../src/containers/roles/role-installer';
import { Database } from '../../src/database';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FakeRolePrograms } from '../support/fakes/fake-role-programs';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const CONTAINERS = 8;

describe('roles with several servers on one database', () => {
  const daemon = new FakeDaemon();
  const programs = new FakeRolePrograms(daemon);
  let database: TestDatabase;
  let servers: Berth[];
  let user: TestUser;

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { INSTANCE_ID: 'cluster-roles', OPERATION_CLAIM_SECONDS: '6', SWEEP_INTERVAL_SECONDS: '1' };
    servers = await Promise.all(
      [1, 2, 3].map(() => Berth.start({ database, environment, engine: new FakeEngine(daemon) })),
    );
    user = (await servers[0]?.user('enterprise')) ?? never();
  });

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await database.drop();
  });

  async function statuses(api = user.api): Promise<unknown[]> {
    const { body } = await api.call('GET', '/api/containers');
    return (body['containers'] as { role_status: unknown }[]).map(({ role_status }) => role_status);
  }

  it('must be installed once each, and by another server where one ends in the middle', async () => {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    let most = 0;
    programs.installation = async ({ container }) => {
      most = Math.max(most, programs.runningIn(container.engineId));
      await released;
      return 0;
    };
    const created = await Promise.all(Array.from({ length: CONTAINERS }, () => user.api.running({ role: 'node' })));
    for (const server of servers) for (const { db_id } of created) server.app.get(RoleInstaller).wake(db_id);
    await eventually(() => expect(programs.begun).toHaveLength(CONTAINERS));
    // Every lease has been renewed for longer than it first lasted, and all servers have looked meanwhile.
    const [longest] = await terms('MAX');
    await eventually(async () => expect((await terms('MIN'))[0]).toBeGreaterThan((longest ?? Infinity) + 6_000));
    expect(new Set(programs.begun).size).toBe(CONTAINERS);
    expect(new Set(await statuses())).toEqual(new Set(['installing']));
    const [first, second] = servers;
    await first?.app.close();
    user = second?.as(user) ?? never();
    release();
    await eventually(async () => expect(new Set(await statuses())).toEqual(new Set(['installed'])));
    expect(most).toBe(1);
    const counts = [...new Set(programs.begun)].map((id) => programs.begun.filter((each) => each === id).length);
    expect(Math.max(...counts)).toBeLessThanOrEqual(2);
  });

  async function terms(which: 'MIN' | 'MAX'): Promise<number[]> {
    const query = servers[1]?.app.get(Database).manager.createQueryBuilder(ContainerEntity, 'c');
    const found = await query?.select(`${which}(c.roleClaimExpiresAt)`, 'at').getRawOne<{ at: Date }>();
    return [found?.at.getTime() ?? NaN];
  }
});

function never(): never {
  throw new Error('there is no server');
}
