import { Client } from 'pg';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { ClusterEngine } from '../../src/docker/cluster/cluster-engine';
import { type Answer, answered, PASSING } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeCluster } from '../support/fakes/fake-cluster';
import { SeededRandom } from '../support/seeded-random';

// A lease whose connection was ended lasts its term, in each of the rounds, and a busy machine adds to that.
jest.setTimeout(240_000);

const INSTANCE = 'placement';
const NAMES = ['one', 'two', 'three'] as const;
/** Room for two of the smallest on each node. */
const ROOM_MB = 512;
const ROOM = 6;
const AT_ONCE = 16;
const ROUNDS = 4;

const IS_POSTGRES = process.env['TEST_DATABASE'] === 'postgres';
/** Servers on one database. */
const SERVERS = IS_POSTGRES ? 2 : 1;

/** What is on a node whose room is exceeded, by its rows, or, where they can be compared, on which both disagree. */
const OVERFULL = `INSERT INTO overfull SELECT r.node, r.memory_mb, COALESCE(SUM(c.memory_mb), 0)
  FROM reserved_capacity r LEFT JOIN containers c ON c.node_id = r.node AND c.deleted_at IS NULL
  AND c.status IN ('creating', 'running') WHERE r.node <> 'local' GROUP BY r.node, r.memory_mb
  HAVING COALESCE(SUM(c.memory_mb), 0) > ${String(ROOM_MB)}`;

/**
 * At each commit that changes rows or sums. On PostgreSQL the statement sees what is committed together with its own
 * transaction, whose sum nobody else can change meanwhile; SQLite has one writer at a time.
 */
const onPostgres = (table: string, note = 'note_overfull'): string =>
  `CREATE CONSTRAINT TRIGGER ${note} AFTER INSERT OR UPDATE ON ${table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ${note}()`;
/** Whatever is placed on a drained node. Whoever places something there has its sum, which a drain waits for. */
const PLACED = `INSERT INTO overfull SELECT n.id, 0, 0 FROM nodes n WHERE n.id = NEW.node_id AND n.availability = 'drain'`;
const WATCHING = IS_POSTGRES
  ? [
      `CREATE FUNCTION note_overfull() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         ${OVERFULL} OR r.memory_mb > ${String(ROOM_MB)} OR r.memory_mb < COALESCE(SUM(c.memory_mb), 0);
         RETURN NULL; END $$`,
      `CREATE FUNCTION note_drained() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF TG_OP = 'INSERT' THEN ${PLACED}; END IF; RETURN NULL; END $$`,
      onPostgres('containers', 'note_drained'),
      onPostgres('containers'),
      onPostgres('reserved_capacity'),
    ]
  : ['INSERT', 'UPDATE'].map((change) => {
      const noted = change === 'INSERT' ? `${OVERFULL}; ${PLACED}` : OVERFULL;
      return `CREATE TRIGGER watched_${change} AFTER ${change} ON containers BEGIN ${noted}; END`;
    });

const FAILED = new EngineError('docker_error', 'injected');

describe('the placement of many containers at once', () => {
  let cluster: FakeCluster;
  let engines: ClusterEngine[];
  const servers: Berth[] = [];
  let users: TestUser[];

  beforeAll(async () => {
    cluster = new FakeCluster(NAMES);
    for (const node of cluster.nodes) node.facts = { ...node.facts, memoryMb: ROOM_MB, cpuShares: 64_000 };
    const environment = {
      INSTANCE_ID: INSTANCE,
      MEMORY_OVERCOMMIT: '1',
      CPU_OVERCOMMIT: '1',
      OPERATION_CLAIM_SECONDS: '10',
      SWEEP_INTERVAL_SECONDS: '1',
    };
    engines = Array.from({ length: SERVERS }, () => cluster.engine());
    for (const engine of engines) {
      const [one] = servers;
      servers.push(await Berth.start({ engine, environment, ...(one && { database: one.database }) }));
    }
    users = await Promise.all(Array.from({ length: 4 }, () => first().user('enterprise')));
    await database().manager.query('CREATE TABLE overfull (node varchar, said integer, counted integer)');
    for (const statement of WATCHING) await database().manager.query(statement);
  });

  afterAll(async () => {
    for (const server of servers.toReversed()) await server.stop();
  });

  function first(): Berth {
    const [server] = servers;
    if (!server) throw new Error('no server was started');
    return server;
  }

  const database = (): Database => first().app.get(Database);

  /** Of each creation, by users and servers in turn. */
  const createMany = (create: (user: TestUser) => Promise<Answer>): Promise<Answer[]> =>
    Promise.all(
      Array.from({ length: AT_ONCE }, (_none, index) => {
        const user = users[index % users.length];
        const server = servers[Math.floor(index / users.length) % servers.length];
        if (!user || !server) throw new Error('nobody asks');
        return create(server.as(user));
      }),
    );

  /** Asks again as long as the database has no time, which a busy machine's may not have. */
  const created = ({ api }: TestUser): Promise<Answer> => answered(() => api.create());

  const listed = async (): Promise<{ db_id: string; status: string }[]> => {
    const lists = await Promise.all(users.map(({ api }) => api.call('GET', '/api/containers')));
    return lists.flatMap(({ body }) => body['containers'] as { db_id: string; status: string }[]);
  };

  /** Nothing is under way. @returns what there is */
  const settled = async (): Promise<{ db_id: string; status: string }[]> => {
    const held = 'SELECT id FROM containers WHERE operation IS NOT NULL AND deleted_at IS NULL';
    await eventually(async () => expect(await database().manager.query<unknown[]>(held)).toEqual([]), {
      timeoutMs: 60_000,
    });
    return listed();
  };

  const deleteAll = async (): Promise<void> => {
    const owned = await Promise.all(
      users.map(async ({ api }) => ({ api, body: (await api.call('GET', '/api/containers')).body })),
    );
    for (const { api, body } of owned) {
      for (const { db_id: id } of body['containers'] as { db_id: string }[]) {
        await eventually(async () => expect([200, 404]).toContain((await api.delete(id)).status));
      }
    }
  };

  /** Ends some connections of the servers in the middle of a transaction. */
  const breakSome = async (): Promise<void> => {
    const some = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
      AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY random() LIMIT 2`;
    let broken = 0;
    await eventually(async () => {
      broken += (await database().manager.query<unknown[]>(some)).length;
      expect(broken).toBeGreaterThan(3);
    });
  };

  /** Nor anything placed on one that was drained: never, since the watching began. */
  const expectNeverOverfull = async (): Promise<void> => {
    expect(await database().manager.query<unknown[]>('SELECT * FROM overfull')).toEqual([]);
  };

  it('must give the room of a creation that failed to a later one', async () => {
    const [user] = users;
    if (!user) throw new Error('nobody asks');
    for (let made = 0; made < ROOM - 1; made += 1) expect((await created(user)).status).toBe(202);
    await settled();
    // Whichever node has room left takes the last one.
    const holds = cluster.nodes.map(({ engine }) => engine.holdOn('containers.create', { when: 'before' }));
    for (const { engine } of cluster.nodes) engine.failOn('containers.start', { error: FAILED });
    expect((await created(user)).status).toBe(202);
    await Promise.race(holds.map(({ reached }) => reached));
    expect((await created(user)).body).toMatchObject({ code: 'no_capacity' });
    for (const hold of holds) hold.release();
    await eventually(async () => expect((await settled()).map(({ status }) => status)).toContain('error'));
    for (const { engine } of cluster.nodes) engine.forget();
    expect((await created(user)).status).toBe(202);
    expect((await settled()).filter(({ status }) => status === 'running')).toHaveLength(ROOM);
    await expectNeverOverfull();
    await deleteAll();
  });

  it('must end on a node with its drain, also by a server that has not heard of it', async () => {
    const operator = await first().user('pro', ['admin', 'read', 'write']);
    const verb = (name: string, node: string): Promise<Answer> =>
      answered(() => operator.api.call('POST', `/api/admin/nodes/${node}/${name}`));
    const [, behind] = engines;
    if (behind) jest.spyOn(behind.nodes, 'list').mockReturnValue(behind.nodes.list());
    for (const name of NAMES) {
      const [drained] = await Promise.all([verb('drain', name), createMany(created)]);
      expect(drained).toMatchObject({ status: 200, body: { availability: 'drain' } });
      const placed = (await settled()).length;
      const later = await createMany(created);
      const refused = later.filter(({ status }) => status !== 202);
      expect(refused.length).toBeGreaterThanOrEqual(AT_ONCE - (ROOM - 2));
      expect(refused.map(({ body }) => body['code'])).toEqual(Array(refused.length).fill('no_capacity'));
      expect((await settled()).length).toBe(placed + AT_ONCE - refused.length);
      await deleteAll();
      expect((await verb('activate', name)).status).toBe(200);
    }
    jest.restoreAllMocks();
    await expectNeverOverfull();
  });

  if (IS_POSTGRES) {
    it('must wait for no other that is being placed, where another node has room', async () => {
      const [user] = users;
      if (!user) throw new Error('nobody asks');
      // A session of its own: PostgreSQL ends a server's transaction that is idle for 4 s.
      const other = new Client({ connectionString: first().database.url });
      await other.connect();
      try {
        await other.query('BEGIN');
        await other.query("UPDATE reserved_capacity SET memory_mb = memory_mb WHERE node IN ('one', 'two')");
        for (let made = 0; made < 2; made += 1) expect((await created(user)).status).toBe(202);
      } finally {
        await other.end();
      }
      await settled();
      expect(cluster.nodes.map(({ daemon }) => daemon.containers.size)).toEqual([0, 0, 2]);
      await deleteAll();
    });
  }

  it(`must never exceed a node's room, of ${String(AT_ONCE)} creations at once, some of which fail`, async () => {
    const random = new SeededRandom(1);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { engine } of cluster.nodes) {
        const method = random.pick([
          'volumes.ensure',
          'containers.create',
          'containers.start',
          'containers.inspect',
        ] as const);
        const when = random.pick(['before', 'after'] as const);
        engine.failOn(method, { call: random.pick([1, 2]), when, error: FAILED });
      }
      const repository = first().app.get(ContainerRepository);
      const commit = repository.commit.bind(repository);
      jest.spyOn(repository, 'commit').mockImplementationOnce(async (change) => {
        await commit(change);
        throw new Error('Connection terminated unexpectedly');
      });
      const asking = createMany(({ api }) => api.create());
      if (IS_POSTGRES && round % 2 === 1) await breakSome();
      const answers = await asking;
      const accepted = answers.filter(({ status }) => status === 202);
      const refused = answers.filter(({ status }) => status !== 202);
      for (const { status, body } of refused) {
        expect([status, body['code']]).toEqual([503, expect.stringMatching(/^(no_capacity|database_\w+)$/)]);
      }
      const rows = await settled();
      const failed = rows.filter(({ status }) => status === 'error');
      expect(rows.length - failed.length).toBeLessThanOrEqual(ROOM);
      // Each that was accepted is there, and what was accepted beyond the room has taken that of one that failed.
      const ids = new Set(rows.map(({ db_id: id }) => id));
      for (const { body } of accepted) expect(ids).toContain(body['db_id']);
      expect(accepted.length).toBeLessThanOrEqual(ROOM + failed.length);
      // Without faults of the database, whoever was refused was so for a reason.
      if (refused.every(({ body }) => !PASSING.includes(body['code']))) {
        expect(accepted.length).toBeGreaterThanOrEqual(ROOM);
      }
      await expectNeverOverfull();
      jest.restoreAllMocks();
      for (const { engine } of cluster.nodes) engine.forget();
      await deleteAll();
      await settled();
      expect(await first().app.get(ReservedCapacity).recount()).toBe(false);
    }
    for (const { daemon } of cluster.nodes) {
      expect(daemon.violations).toEqual([]);
      await eventually(async () => {
        await first().app.get(Reconciler).sweep();
        expect(daemon.containers.size).toBe(0);
      });
    }
  });
});
