import { randomInt } from 'node:crypto';
import type { ContainerRow } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import type { SweepReport } from '../../src/containers/reconcile/reconcile-stats';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { EngineError } from '../../src/engine';
import { Answer, SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { eventually } from '../support/eventually';
import { beforeAndAfter, IS_WHOLE, sampled } from '../support/extent';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { type EngineMethod, FakeEngine, LOOKS } from '../support/fakes/fake-engine';
import { holdSweeps } from '../support/servers/hold-sweeps';
import { SeededRandom } from '../support/seeded-random';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(300_000);

const MIB = 2 ** 20;
const LARGER = { ...SMALL, disk_mb: 2048 } as const;
const ENVIRONMENT = {
  INSTANCE_ID: 'moves',
  VOLUME_COPY_IMAGE: testImage(),
  ORPHAN_GRACE_SECONDS: '0',
  OPERATION_CLAIM_SECONDS: '4',
  SWEEP_INTERVAL_SECONDS: '1',
  SHUTDOWN_GRACE_SECONDS: '0',
};

/** How many processes die in a row, and at which calls. */
const DEATHS = IS_WHOLE ? 8 : 2;
const MORTAL: readonly EngineMethod[] = [
  'volumes.ensure',
  'containers.create',
  'containers.stop',
  'volumes.copy',
  'volumes.copy',
  'containers.start',
  'containers.remove',
  'containers.rename',
  'volumes.remove',
  'volumes.list',
  'containers.inspect',
];

/** Calls that an update makes; in `call` the first is 1. */
interface Point {
  readonly method: EngineMethod;
  readonly call: number;
}

describe('a changed disk_mb where a volume keeps the size that it was made with', () => {
  const seed = Number(process.env['BERTH_TEST_SEED'] ?? randomInt(2 ** 31));
  let database: TestDatabase;
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let dbId: string;
  let clock: TestClock;

  beforeAll(async () => {
    clock = new TestClock();
    database = await openTestDatabase();
    daemon = new FakeDaemon();
    daemon.capabilities = { ...daemon.capabilities, diskQuota: 'enforced', volumeResize: 'move' };
    await begin();
  });

  beforeEach(async () => {
    engine.calls.splice(0);
    user = await berth.user('enterprise');
    dbId = (await user.api.running({ name: 'one' })).db_id;
    daemon.write(`berth-${dbId}`, 'precious', 100 * MIB);
  });

  // The next test finds no other container, and no fault that was meant for this one.
  afterEach(async () => {
    engine.forget();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[])
      expect([200, 404]).toContain((await user.api.delete(db_id)).status);
    await eventually(() => expect(daemon.containers.size).toBe(0));
    expect(daemon.violations).toEqual([]);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must move the data to a volume of that size, with its progress, and remove the old one', async () => {
    const { engineId } = await row();
    const events = await berth.record(user);
    const updated = await resize(LARGER);
    expect(updated).toMatchObject({ status: 200, body: { restarted: true, container: { resources: LARGER } } });
    const after = await row();
    expect(after.volumeName).toMatch(new RegExp(`^berth-${dbId}-v2-[0-9a-f]{8}$`));
    expect(daemon.volumes.get(after.volumeName)).toMatchObject({ diskMb: 2048, content: 'precious' });
    await expectAgreement({ status: 'running', diskMb: 2048 });
    await events.next('container_updated', { old_id: engineId ?? '' });
    const told = events.events.map(({ type, data }) => ('stage' in data ? `${data.stage} ${data.progress}` : type));
    expect(told).toEqual(['disk 0', 'disk 100', 'container_updated']);
    // And once more, back.
    expect((await resize(SMALL)).status).toBe(200);
    await expectAgreement({ status: 'running', diskMb: 1024 });
  });

  it('must move the data of a stopped container, and leave it stopped', async () => {
    await user.api.stop(dbId);
    expect(await resize(LARGER)).toMatchObject({ status: 200, body: { restarted: false } });
    await expectAgreement({ status: 'stopped', diskMb: 2048 });
    expect((await user.api.start(dbId)).body).not.toHaveProperty('recreated');
    await expectAgreement({ status: 'running', diskMb: 2048 });
  });

  it('must move the data of a container that has vanished from Docker', async () => {
    daemon.vanish((await row()).engineId ?? '');
    engine.failOn('volumes.copy', { call: 2 });
    expect((await resize(LARGER)).status).toBe(500);
    // Nothing in Docker uses it now, so nothing but the row says that it is to be kept.
    await eventually(() => expect(volumesOf(dbId)).toEqual([`berth-${dbId}`]));
    expect((await resize(LARGER)).status).toBe(200);
    await expectAgreement({ status: 'stopped', diskMb: 2048 });
  });

  it('must exchange the volume of a container that could never be made, if there is one', async () => {
    for (const method of ['containers.create', 'volumes.ensure'] as const) {
      const error = new EngineError('docker_error', 'injected');
      engine.failOn(method, { error });
      const id = String((await user.api.create({ name: method.replace('.', '-') })).body['db_id']);
      await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'error' }));
      const made = method === 'containers.create';
      if (made) daemon.write(`berth-${id}`, 'precious');
      expect((await user.api.update(id, { name: method.replace('.', '-'), ...LARGER })).status).toBe(200);
      const { volumeName } = await row(id);
      expect(volumeName === `berth-${id}`).toBe(!made);
      await eventually(() => expect(volumesOf(id)).toEqual(made ? [volumeName] : []));
      expect((await user.api.start(id)).body).toMatchObject({ status: 'running' });
      expect(daemon.volumes.get(volumeName)).toMatchObject({ diskMb: 2048, content: made ? 'precious' : '' });
    }
  });

  it('must refuse a size that is too small before anything is touched, and say what would do', async () => {
    expect((await resize(LARGER)).status).toBe(200);
    await expectAgreement({ status: 'running', diskMb: 2048 });
    daemon.write((await row()).volumeName, 'precious', 1000 * MIB);
    const [before, containers] = [await row(), [...daemon.containers.values()].map((container) => ({ ...container }))];
    const events = await berth.record(user);
    const changes = engine.calls.length;
    const refused = await resize(SMALL);
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject({
      error: 'invalid parameters',
      details: [{ field: 'disk_mb', min: 1050, message: expect.stringContaining('1000 MiB of data') }],
    });
    expect(engine.calls.slice(changes).filter(({ method }) => !LOOKS.includes(method))).toEqual([]);
    expect([...daemon.containers.values()]).toEqual(containers);
    expect(await row()).toMatchObject({ engineId: before.engineId, volumeName: before.volumeName, diskMb: 2048 });
    expect(events.types()).toEqual([]);
    expect((await resize({ ...SMALL, disk_mb: 1050 })).status).toBe(200);
    await expectAgreement({ status: 'running', diskMb: 1050 });
  });

  it('must be taken back where the data has grown too large meanwhile', async () => {
    await resize(LARGER);
    const before = await row();
    const hold = engine.holdOn('containers.create');
    const answering = resize(SMALL);
    await hold.reached;
    daemon.write(before.volumeName, 'precious', 1500 * MIB);
    hold.release();
    expect(await answering).toMatchObject({ status: 500, body: { code: 'data_too_large' } });
    await expectAgreement({ status: 'running', diskMb: 2048 });
    expect(await row()).toMatchObject({ engineId: before.engineId, volumeName: before.volumeName });
  });

  it('must be taken back where somebody starts the old container while its data is copied', async () => {
    const before = await row();
    const hold = engine.holdOn('volumes.copy', { call: 2, when: 'after' });
    const answering = resize(LARGER);
    await hold.reached;
    daemon.start(before.engineId ?? '');
    hold.release();
    expect(await answering).toMatchObject({ status: 500, body: { code: 'copy_failed' } });
    await expectAgreement({ status: 'running', diskMb: 1024 });
    expect(await row()).toMatchObject({ engineId: before.engineId, volumeName: before.volumeName });
  });

  it('must connect the new container where somebody disconnects it while the data is copied', async () => {
    const before = await row();
    const hold = engine.holdOn('volumes.copy');
    const answering = resize(LARGER);
    await hold.reached;
    const made = [...daemon.containers.keys()].filter((engineId) => engineId !== before.engineId);
    for (const engineId of made) daemon.disconnect(engineId);
    // No sweep does it.
    const sweepAgain = await holdSweeps(berth);
    hold.release();
    expect((await answering).status).toBe(200);
    const { engineId } = await row();
    expect(made).toEqual([engineId]);
    expect(daemon.containers.get(engineId ?? '')).toMatchObject({ state: 'running', connected: true });
    sweepAgain();
  });

  it('must happen by itself to a stopped container whose volume has lost its labels, and with the next other change', async () => {
    daemon.forgetLabels(`berth-${dbId}`);
    const { id } = (await user.api.get(dbId)).body;
    await user.api.stop(dbId);
    await eventually(async () => expect((await row()).volumeName).toMatch(/-v2-/));
    await expectAgreement({ status: 'stopped', diskMb: 1024 });
    expect((await user.api.get(String(id))).body).toMatchObject({ db_id: dbId, resources: SMALL });
    expect((await user.api.start(dbId)).status).toBe(200);
    daemon.forgetLabels((await row()).volumeName);
    expect((await resize({ ...SMALL, memory_mb: 512 })).body).toMatchObject({ restarted: true });
    expect((await row()).volumeName).toMatch(/-v3-/);
    await expectAgreement({ status: 'running', diskMb: 1024 });
  });

  it('must leave data that would not fit in a volume that has lost its labels, and fail no other change for it', async () => {
    daemon.write(`berth-${dbId}`, 'precious', 1020 * MIB);
    daemon.forgetLabels(`berth-${dbId}`);
    expect((await resize({ ...SMALL, memory_mb: 512 })).status).toBe(200);
    await user.api.stop(dbId);
    await eventually(async () => expect(await sweep()).toMatchObject({ moved: 0, failed: 0 }));
    const measured = engine.callsOf('volumes.measure');
    await sweep();
    expect(engine.callsOf('volumes.measure')).toBe(measured);
    expect(await row()).toMatchObject({ volumeName: `berth-${dbId}`, status: 'stopped', operation: null });
  });

  it('must find what it has left in a volume without labels, at the next sweep and at the purge', async () => {
    const { volumeName } = await row();
    const owner = { instance: 'moves', containerId: dbId, userId: user.id };
    const leave = (name: string): void => {
      daemon.ensureVolume({ name, diskMb: 1024, owner });
      daemon.forgetLabels(name);
    };
    leave(`berth-${dbId}-v7-01234567`);
    await eventually(() => expect(volumesOf(dbId)).toEqual([volumeName]));
    const sweepAgain = await holdSweeps(berth);
    await user.api.delete(dbId);
    leave(`berth-${dbId}-v7-01234567`);
    clock.forward(8 * 24 * 3_600_000);
    sweepAgain();
    await eventually(() => expect(volumesOf(dbId)).toEqual([]));
  });

  it('must not move the data for other changes, nor ask Docker more where nothing is to be moved', async () => {
    // A failed update lists the volumes: it may have been a return to a snapshot.
    const asked = ['volumes.measure', 'volumes.copy'] as const;
    const count = (): number => asked.reduce((sum, method) => sum + engine.callsOf(method), 0);
    daemon.capabilities = { ...daemon.capabilities, volumeResize: 'none' };
    const before = count();
    expect((await resize(LARGER)).status).toBe(200);
    engine.failOn('containers.start');
    expect((await resize(SMALL)).status).toBe(500);
    expect(count()).toBe(before);
    daemon.capabilities = { ...daemon.capabilities, volumeResize: 'move' };
    expect((await resize({ ...LARGER, memory_mb: 512 })).status).toBe(200);
    expect(engine.callsOf('volumes.measure')).toBe(0);
    expect((await row()).volumeName).toBe(`berth-${dbId}`);
  });

  it('must not say of the image that copies that the user has chosen it', async () => {
    engine.failOn('images.ensure', { error: new EngineError('image_not_found', 'injected') });
    expect(await resize(LARGER)).toMatchObject({ status: 500, body: { code: 'docker_error' } });
    await expectAgreement({ status: 'running', diskMb: 1024 });
  });

  it('must leave the old container running on its data whichever call fails, before or after it took effect', async () => {
    const points = await pointsOf(() => resize(LARGER));
    expect(points.length).toBeGreaterThan(15);
    for (const point of beforeAndAfter(points)) {
      const before = await row();
      engine.failOn(point.method, point);
      const { disk_mb } = before.diskMb === LARGER.disk_mb ? SMALL : LARGER;
      const answer = await resize({ ...SMALL, disk_mb });
      try {
        // What fails after the commit is nobody's trouble.
        const undone = answer.status !== 200;
        expect(answer).toMatchObject(undone ? { status: 500, body: { error: 'failed to update settings' } } : {});
        await expectAgreement({ status: 'running', diskMb: undone ? before.diskMb : disk_mb });
        expect((await row()).volumeName === before.volumeName).toBe(undone);
        expect((await row()).engineId === before.engineId).toBe(undone);
      } catch (error) {
        if (error instanceof Error) error.message = `${point.when} ${point.method} ${point.call}: ${error.message}`;
        throw error;
      }
      engine.forget();
    }
  });

  it('must survive the death of the process at any call', async () => {
    const points = await pointsOf(() => resize(LARGER));
    const changes = points.filter(({ method }) => !LOOKS.includes(method));
    expect(changes.map(({ method }) => method)).toEqual([
      'layers.persist',
      'volumes.ensure',
      'containers.create',
      'containers.stop',
      'containers.rename',
      'containers.rename',
      'volumes.copy',
      'volumes.copy',
      'containers.start',
      'containers.remove',
      'volumes.remove',
    ]);
    // Death after a call is death before the next one that changes something, but for the last one before the commit.
    const call = Math.max(...points.filter(({ method }) => method === 'containers.inspect').map((point) => point.call));
    const lastLook = { method: 'containers.inspect', call, when: 'after' } as const;
    const deaths = [...changes.map((point) => ({ ...point, when: 'before' as const })), lastLook];
    for (const death of sampled(deaths)) {
      const before = await row();
      const disk_mb = before.diskMb === LARGER.disk_mb ? SMALL.disk_mb : LARGER.disk_mb;
      const died = engine.dieOn(death.method, { ...death, how: 'throw' });
      await resize({ ...SMALL, disk_mb });
      await died;
      await leaveLeaseOfDead();
      await berth.stop();
      await begin();
      user = berth.as(user);
      try {
        const { diskMb } = await settled();
        await expectAgreement({ status: 'running', diskMb });
        expect([before.diskMb, disk_mb]).toContain(diskMb);
        const { engineId, volumeName } = await row();
        const isOld = [engineId === before.engineId, volumeName === before.volumeName];
        expect(isOld).toEqual([diskMb === before.diskMb, diskMb === before.diskMb]);
      } catch (error) {
        if (error instanceof Error) error.message = `${death.when} ${death.method} ${death.call}: ${error.message}`;
        throw error;
      }
    }
  });

  it(`must survive deaths one after another, of those that come to help too (BERTH_TEST_SEED=${String(seed)})`, async () => {
    const random = new SeededRandom(seed);
    for (let round = 0; round < DEATHS; round += 1) {
      void engine.dieOn(random.pick(MORTAL), {
        call: random.pick([1, 1, 2]),
        when: random.pick(['before', 'after'] as const),
        how: 'throw',
      });
      await resize({ ...SMALL, disk_mb: random.pick([1024, 2048, 3072]) });
      await leaveLeaseOfDead();
      await berth.stop();
      await begin();
      user = berth.as(user);
    }
    const { diskMb } = await settled();
    await expectAgreement({ status: 'running', diskMb });
    expect((await resize({ ...SMALL, disk_mb: 4096 })).status).toBe(200);
    await expectAgreement({ status: 'running', diskMb: 4096 });
  });

  it('must purge all volumes that a deleted container had, and leave alone what no container knows', async () => {
    const owner = { instance: 'moves', containerId: 'nobody', userId: user.id };
    daemon.ensureVolume({ name: 'of-a-lost-database', diskMb: 1, owner });
    engine.failOn('volumes.remove', { times: 1000 });
    expect((await resize(LARGER)).status).toBe(200);
    expect((await user.api.delete(dbId)).status).toBe(200);
    expect(volumesOf(dbId)).toHaveLength(2);
    engine.forget();
    clock.forward(8 * 24 * 3_600_000);
    await eventually(() => expect(volumesOf(dbId)).toEqual([]));
    expect(volumesOf('nobody')).toEqual(['of-a-lost-database']);
  });

  async function begin(): Promise<void> {
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ database, engine, clock, environment: ENVIRONMENT });
  }

  function sweep(): Promise<SweepReport> {
    return berth.app.get(Reconciler).sweepNow();
  }

  function resize(resources: Readonly<Record<string, number>>): Promise<Answer> {
    return user.api.update(dbId, { name: 'one', ...resources });
  }

  async function row(id = dbId): Promise<ContainerRow> {
    const found = await berth.app.get(ContainerRepository).findById(id);
    if (!found) throw new Error('there is no row');
    return found;
  }

  /** A server that only cannot reach Docker any more still notes that it gave up; one that is dead does not. */
  async function leaveLeaseOfDead(): Promise<void> {
    await eventually(async () => {
      const held = await row();
      if (held.operation === null) return;
      await leaseAsDead(berth, held, 'update');
    });
  }

  async function settled(): Promise<ContainerRow> {
    await eventually(async () => expect(await row()).toMatchObject({ operation: null }));
    return row();
  }

  function volumesOf(id: string): string[] {
    return daemon.listVolumes({ instance: 'moves', containerId: id }).map(({ name }) => name);
  }

  /** The calls to Docker that an operation makes, its clean-up included. */
  async function pointsOf(operation: () => Promise<Answer>): Promise<Point[]> {
    // Not those that a sweep makes meanwhile.
    const sweepAgain = await holdSweeps(berth);
    const seen = engine.calls.length;
    expect((await operation()).status).toBe(200);
    await eventually(() => expect(volumesOf(dbId)).toHaveLength(1));
    const calls = engine.calls.slice(seen).map(({ method }) => method);
    sweepAgain();
    return calls.map((method, index) => ({
      method,
      call: calls.slice(0, index + 1).filter((other) => other === method).length,
    }));
  }

  /** One container and one volume, which the row knows, with the data. */
  async function expectAgreement(expected: { status: string; diskMb: number }): Promise<void> {
    await eventually(async () => {
      const { operation, engineId, volumeName, ...rest } = await row();
      expect({ ...rest, operation }).toMatchObject({ ...expected, operation: null });
      const containers = [...daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === dbId);
      expect(containers.map((container) => [container.engineId, container.name])).toEqual(
        rest.statusReason === 'missing' && engineId !== containers[0]?.engineId ? [] : [[engineId, `berth-${dbId}`]],
      );
      for (const { state, spec } of containers) {
        expect(state === 'running').toBe(expected.status === 'running');
        expect(spec).toMatchObject({ volumeName, diskMb: expected.diskMb });
      }
      expect(volumesOf(dbId)).toEqual([volumeName]);
      expect(daemon.volumes.get(volumeName)).toMatchObject({ content: 'precious', diskMb: expected.diskMb });
    });
  }
});
