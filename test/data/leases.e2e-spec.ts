import { randomUUID } from 'node:crypto';
import { ContainerEntity, containerFacts, type ContainerRow } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { LeaseLostError } from '../../src/containers/leases/lease';
import { TERM_OVER } from '../../src/containers/leases/lease-term';
import { LeaseStore } from '../../src/containers/leases/lease-store';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { EventLog } from '../../src/events';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

/** Nobody sweeps but the test. */
const ENVIRONMENT = {
  INSTANCE_ID: 'leases',
  SWEEP_INTERVAL_SECONDS: '3600',
  OPERATION_WAIT_SECONDS: '20',
  SHUTDOWN_GRACE_SECONDS: '0',
};
const NEVER = { OPERATION_CLAIM_SECONDS: '600' };

const HOUR = 3_600_000;

describe('the lease of a container', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    database = await openTestDatabase();
  });

  afterAll(() => database.drop());

  describe('in the row', () => {
    let repository: ContainerRepository;
    let dbId: string;

    beforeAll(async () => {
      await start(NEVER);
      repository = berth.app.get(ContainerRepository);
    });

    beforeEach(async () => {
      dbId = (await user.api.running()).db_id;
    });

    afterEach(() =>
      write(dbId, { operation: null, operationId: null, operationHolder: null, operationExpiresAt: null }),
    );

    afterAll(() => berth.stop());

    it('must be one operation’s until it is released or its term is over, and renewed by that alone', async () => {
      const free = await row();
      expect(await acquire(free, 'first')).toBe(true);
      expect(await acquire(await row(), 'second')).toBe(false);
      expect(await acquire(free, 'second')).toBe(false);
      expect([await renew('first'), await renew('second')]).toEqual([true, false]);
      await write(dbId, { operationExpiresAt: TERM_OVER });
      expect(await acquire(free, 'second')).toBe(false);
      expect(await acquire(await row(), 'second')).toBe(true);
      expect([await renew('first'), await renew('second')]).toEqual([false, true]);
    });

    it('must be given to one of many that ask at once', async () => {
      const free = await row();
      const asked = await Promise.all(Array.from({ length: 8 }, (_none, n) => acquire(free, `asks-${String(n)}`)));
      expect(asked.filter(Boolean)).toHaveLength(1);
    });

    it('must be held by whoever writes the row or emits an event, and nothing is written or emitted without', async () => {
      const free = await row();
      await acquire(free, 'holder');
      const held = await row();
      const data = { ...containerFacts(held), stage: 'create', message: 'creating the container', progress: 70 };
      const change = { patch: { cpuShares: 1 }, events: [{ type: 'container_progress', data } as const] };
      const other = { ...held, operationId: 'other' };
      const log = berth.app.get(EventLog);
      const seq = await log.lastSeq(user.id);
      await expect(repository.commit({ row: other, ...change })).rejects.toThrow(LeaseLostError);
      await expect(repository.record({ row: other, ...change })).rejects.toThrow(LeaseLostError);
      await expect(repository.emit(other, change.events)).rejects.toThrow(LeaseLostError);
      await expect(repository.abandonLease({ row: other, ...change }, 'reconcile')).rejects.toThrow(LeaseLostError);
      // What was only observed is written where no operation holds the container, and it is as it was read.
      expect([await repository.follow({ row: held, ...change }), await log.lastSeq(user.id)]).toEqual([null, seq]);
      expect(await row()).toEqual(held);
      await repository.commit({ row: held, patch: {}, events: [] });
      expect([await repository.follow({ row: held, ...change }), await log.lastSeq(user.id)]).toEqual([null, seq]);
      expect(await repository.follow({ row: await row(), ...change })).toMatchObject({ cpuShares: 1 });
      expect(await log.lastSeq(user.id)).toBe(seq + 1);
    });

    async function row(): Promise<ContainerRow> {
      const found = await repository.findById(dbId);
      if (!found) throw new Error('there is no row');
      return found;
    }

    /** As an operation of this process does, whose holder is present. */
    function acquire({ revision }: ContainerRow, leaseId: string): Promise<boolean> {
      const store = berth.app.get(LeaseStore);
      const grant = { ...store.newGrant('operation', dbId), leaseId };
      return store.acquireAsRead(grant, { operation: 'stop', revision });
    }

    function renew(leaseId: string): Promise<boolean> {
      const store = berth.app.get(LeaseStore);
      const grant = { ...store.newGrant('operation', dbId), leaseId };
      return store.renew(grant, { ...grant.stamp, expiresAt: new Date(Date.now() + HOUR) });
    }
  });

  describe('that is abandoned, and by a clock which was set back since lasts for another hour', () => {
    const inAnHour = (): Date => new Date(Date.now() + HOUR);

    beforeAll(() => start({ OPERATION_CLAIM_SECONDS: '2', VOLUME_RETENTION: '1h' }));

    afterAll(() => berth.stop());

    it('must not keep a request waiting for longer than a term', async () => {
      const { db_id } = await user.api.running();
      await write(db_id, { operation: 'stop', operationId: randomUUID(), operationExpiresAt: inAnHour() });
      expect((await user.api.start(db_id)).status).toBe(200);
    });

    it('must not keep the interrupted operation from being finished', async () => {
      const { db_id } = await user.api.running();
      await write(db_id, { operation: 'stop', operationId: randomUUID(), operationExpiresAt: inAnHour() });
      await eventually(async () => expect((await user.api.get(db_id)).body).toMatchObject({ status: 'stopped' }));
    });

    it('must not keep data from being purged', async () => {
      const { db_id } = await user.api.running();
      await user.api.delete(db_id);
      expect(daemon.volumes.has(`berth-${db_id}`)).toBe(true);
      const purge = { operation: 'purge', operationId: randomUUID(), operationExpiresAt: inAnHour() } as const;
      await write(db_id, { ...purge, purgeAt: new Date(0) });
      await eventually(() => expect(daemon.volumes.has(`berth-${db_id}`)).toBe(false));
    });

    it('must not keep a role from being installed', async () => {
      const { db_id } = await user.api.running();
      const installing = {
        roleStatus: 'installing',
        roleClaimId: randomUUID(),
        roleClaimExpiresAt: inAnHour(),
      } as const;
      await write(db_id, { ...installing, role: 'python' });
      await eventually(async () =>
        expect((await user.api.get(db_id)).body).toMatchObject({ role_status: 'installed' }),
      );
    });
  });

  describe('that is abandoned, and lasts for long', () => {
    beforeAll(() => start(NEVER));

    afterEach(() => engine.forget());

    afterAll(() => berth.stop());

    it('must be taken over by the next start, however long it may last', async () => {
      const { db_id } = await user.api.running();
      const { id } = (await user.api.get(db_id)).body;
      const left = { operation: 'stop', operationId: randomUUID(), operationHolder: randomUUID() } as const;
      await write(db_id, { ...left, operationExpiresAt: new Date(Date.now() + 600_000) });
      daemon.stop(String(id));
      await berth.stop();
      engine = new FakeEngine(daemon);
      const owner = user;
      await start(NEVER);
      const { api } = berth.as(owner);
      await eventually(async () => expect((await api.get(db_id)).body).toMatchObject({ status: 'stopped' }), {
        timeoutMs: 10_000,
      });
    });

    it('must not keep containers from being looked at while eight others are being pulled for', async () => {
      const made = await Promise.all(Array.from({ length: 9 }, () => user.api.running()));
      const [changed, ...pulled] = made.map(({ db_id }) => db_id);
      const pulls = pulled.map((_dbId, index) => engine.holdOn('images.ensure', { call: index + 1 }).reached);
      for (const dbId of pulled) await write(dbId, { ...creationLeft(), status: 'creating', engineId: null });
      void berth.app.get(Reconciler).sweep();
      await Promise.all(pulls);
      const { id } = (await user.api.get(changed ?? '')).body;
      Object.assign(daemon.containers.get(String(id)) ?? {}, { state: 'exited', exitCode: 9 });
      void berth.app.get(Reconciler).sweep();
      await eventually(async () =>
        expect((await user.api.get(changed ?? '')).body).toMatchObject({ status: 'stopped' }),
      );
    });
  });

  async function start(environment: Readonly<Record<string, string>>): Promise<void> {
    berth = await Berth.start({ database, engine, environment: { ...ENVIRONMENT, ...environment } });
    user = await berth.user('enterprise');
  }

  async function write(id: string, row: Partial<ContainerEntity>): Promise<void> {
    const { manager } = berth.app.get(Database);
    expect(await manager.update(ContainerEntity, { id }, row)).toMatchObject({ affected: 1 });
  }
});

function creationLeft(): Pick<ContainerEntity, 'operation' | 'operationId' | 'operationExpiresAt'> {
  return { operation: 'create', operationId: randomUUID(), operationExpiresAt: new Date(0) };
}
