import { IsNull } from 'typeorm';
import { CopyTurns } from '../../src/containers/leases/copy-turns';
import { LeaseStore } from '../../src/containers/leases/lease-store';
import { ContainerEntity, Operation } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { OperationRunner } from '../../src/containers/operations/operation-runner';
import { recoverAbandoned } from '../../src/containers/reconcile/recovery-queue';
import { Repairs } from '../../src/containers/reconcile/repairs';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { testImage } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { smallestSpec } from '../support/docker/smallest-spec';

type Row = NonNullable<Awaited<ReturnType<ContainerRepository['findById']>>>;

/** Nobody sweeps but the test. */
const ENVIRONMENT = {
  INSTANCE_ID: 'interrupted',
  SWEEP_INTERVAL_SECONDS: '3600',
  ORPHAN_GRACE_SECONDS: '0',
  VOLUME_COPY_IMAGE: testImage(),
};

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
      const finished = recoverAbandoned(here.app.get(OperationRunner), found);
      await hold.reached;
      // The other one's sweep has read the row just as this one's had.
      const late = recoverAbandoned(there.app.get(OperationRunner), found);
      const answering = user.api[asked](dbId);
      hold.release();
      await finished;
      expect((await answering).status).toBe(200);
      await Promise.allSettled([late]);
      // And it comes once more, when all is over.
      await recoverAbandoned(there.app.get(OperationRunner), found);
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

  it.each(['that has ended', 'whose process has lost its lease'])(
    'must be one copy of data at a time for each user: the second begins after the first, %s',
    async (end) => {
      const { user: owner } = await here.newcomer('enterprise');
      const elsewhere = there.as(owner);
      const [first, second] = [(await owner.api.running()).db_id, (await owner.api.running({ name: 'second' })).db_id];
      for (const id of [first, second]) daemon.write(`berth-${id}`, 'data', 2 ** 20);
      const take = (of: TestUser, id: string) => of.api.call('POST', `/api/containers/${id}/snapshots`, {});
      const made = (answer: Awaited<ReturnType<typeof take>>) =>
        elsewhere.api.call('GET', `/api/snapshots/${String(answer.body['id'])}/wait?timeout=20`);
      const hold = engine.holdOn('volumes.copy');
      const looks = jest.spyOn(there.app.get<{ take: () => Promise<boolean> }>(CopyTurns), 'take');
      const earlier = await take(owner, first);
      await hold.reached;
      const later = await take(elsewhere, second);
      await eventually(async () => expect(await looks.mock.results[1]?.value).toBe(false));
      expect([...daemon.containers.values()].filter(({ state }) => state === 'paused')).toHaveLength(1);
      if (end === 'that has ended') hold.release();
      else {
        const store = there.app.get(LeaseStore);
        for (const lease of await store.list()) if (lease.containerId === first) await store.end(lease);
      }
      expect((await made(later)).body).toMatchObject({ status: 'ready' });
      hold.release();
      if (end === 'that has ended') expect((await made(earlier)).body).toMatchObject({ status: 'ready' });
      const idle = { userId: owner.id, operation: IsNull() };
      await eventually(async () =>
        expect(await there.app.get(Database).manager.countBy(ContainerEntity, idle)).toBe(2),
      );
    },
  );

  function repository(server: Berth): ContainerRepository {
    return server.app.get(ContainerRepository);
  }

  async function row(): Promise<Row> {
    const found = await repository(here).findById(dbId);
    if (!found) throw new Error('there is no row');
    return found;
  }
});
