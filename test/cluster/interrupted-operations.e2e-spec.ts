import { Operation } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { ContainerOperations } from '../../src/containers/operations/operations';
import { Repairs } from '../../src/containers/reconcile/repairs';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { smallestSpec } from '../support/docker/smallest-spec';

type Row = NonNullable<Awaited<ReturnType<ContainerRepository['findById']>>>;

/** Nobody sweeps but the test. */
const ENVIRONMENT = { INSTANCE_ID: 'interrupted', SWEEP_INTERVAL_SECONDS: '3600', ORPHAN_GRACE_SECONDS: '0' };

describe('what two processes find at once', () => {
  let daemon: FakeDaemon;
  let database: TestDatabase;
  let engine: FakeEngine;
  let here: Berth;
  let there: Berth;
  let user: TestUser;
  let dbId: string;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    database = await openTestDatabase();
    const start = (own: FakeEngine) => Berth.start({ database, engine: own, environment: ENVIRONMENT });
    [here, there] = await Promise.all([start(engine), start(new FakeEngine(daemon))]);
  });

  beforeEach(async () => {
    user = await here.user();
    dbId = (await user.api.running()).db_id;
  });

  afterEach(() => {
    engine.forget();
    jest.restoreAllMocks();
  });

  afterAll(async () => {
    for (const server of [here, there]) await server.stop();
    await database.drop();
  });

  it.each<[Operation, 'start' | 'stop', 'containers.start' | 'containers.stop']>([
    ['start', 'stop', 'containers.start'],
    ['stop', 'start', 'containers.stop'],
  ])(
    'must not be run again: an interrupted %s that is finished, after which the user asks for a %s',
    async (left, asked, call) => {
      if (left === 'start') await user.api.stop(dbId);
      await leaseAsDead(here, await row(), left);
      const found = await row();
      const hold = engine.holdOn(call);
      const finished = here.app.get(ContainerOperations).resumeAbandoned(found);
      await hold.reached;
      // The other one's sweep has read the row just as this one's had.
      const late = there.app.get(ContainerOperations).resumeAbandoned(found);
      const answering = user.api[asked](dbId);
      hold.release();
      await finished;
      expect((await answering).status).toBe(200);
      await Promise.allSettled([late]);
      // And it comes once more, when all is over.
      await there.app.get(ContainerOperations).resumeAbandoned(found);
      expect((await user.api.get(dbId)).body).toMatchObject({ status: asked === 'stop' ? 'stopped' : 'running' });
    },
  );

  it('must be no failure of the one that comes second', async () => {
    const owner = { instance: 'interrupted', containerId: dbId, userId: user.id };
    const stray = daemon.create(smallestSpec({ name: 'stray', volumeName: `berth-${dbId}`, owner, generation: 9 }));
    // Sweeps follow the database's clock, which may be some milliseconds behind this one.
    Object.assign(daemon.containers.get(stray) ?? {}, { createdAt: new Date(0) });
    const hold = engine.holdOn('containers.remove');
    // A read of the row would not do: the watcher reads it too.
    const repairs = there.app.get(Repairs);
    const perform = repairs.perform.bind(repairs);
    const planned = new Promise<void>((resolve) => {
      // It has made its plan, and then the other one was faster.
      jest.spyOn(repairs, 'perform').mockImplementationOnce(async (action, options) => {
        resolve();
        await hold.reached;
        return perform(action, options);
      });
    });
    const second = there.app.get(Reconciler).sweepNow();
    await planned;
    const first = here.app.get(Reconciler).sweepNow();
    expect(await second).toMatchObject({ reconciled: 0, failed: 0 });
    hold.release();
    expect(await first).toMatchObject({ reconciled: 1, failed: 0 });
  });

  function repository(server: Berth): ContainerRepository {
    return server.app.get(ContainerRepository);
  }

  async function row(): Promise<Row> {
    const found = await repository(here).findById(dbId);
    if (!found) throw new Error('there is no row');
    return found;
  }
});
