import type { ContainerRow } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';

const INSTANCE = 'lost-commits';
const LARGER = { name: 'one', memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;
const UNANSWERED = { status: 503, body: { code: 'database_unavailable' } };

/** The database commits and its connection breaks before it can say so, as at a restart or failover. */
describe.each(['none', 'move'] as const)('a commit whose answer is lost (volumeResize: %s)', (volumeResize) => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let dbId: string;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    daemon.capabilities = { ...daemon.capabilities, volumeResize };
    const environment = { INSTANCE_ID: INSTANCE, SWEEP_INTERVAL_SECONDS: '1', VOLUME_COPY_IMAGE: testImage() };
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ engine, environment });
  });

  beforeEach(async () => {
    user = await berth.user();
    dbId = (await user.api.running({ name: 'one' })).db_id;
    daemon.write((await row()).volumeName, 'data');
    engine.calls.splice(0);
  });

  afterEach(() => {
    jest.restoreAllMocks();
    expect(daemon.violations).toEqual([]);
  });

  afterAll(() => berth.stop());

  it('of an update must leave the container that the row names running, on its data', async () => {
    loseCommit();
    expect(await user.api.update(dbId, LARGER)).toMatchObject(UNANSWERED);
    const committed = await row();
    expect(committed).toMatchObject({ memoryMb: 512, generation: 2 });
    await expectSettled();
    expect(daemon.running(dbId).map(({ engineId }) => engineId)).toEqual([committed.engineId]);
    expect(daemon.volumes.get(committed.volumeName)).toMatchObject({ content: 'data' });
    expect(removals()).not.toContain(committed.engineId);
  });

  it('of a start must leave the container running that was recreated', async () => {
    daemon.vanish(String((await row()).engineId));
    await eventually(async () => expect(await row()).toMatchObject({ status: 'stopped' }));
    loseCommit();
    expect(await user.api.start(dbId)).toMatchObject(UNANSWERED);
    const committed = await row();
    expect(committed).toMatchObject({ status: 'running', generation: 2 });
    await expectSettled();
    expect(daemon.running(dbId).map(({ engineId }) => engineId)).toEqual([committed.engineId]);
    expect(removals()).not.toContain(committed.engineId);
  });

  it('of a creation must leave it running', async () => {
    loseCommit();
    const created = await user.api.create({ name: 'two' });
    dbId = String(created.body['db_id']);
    await eventually(async () => expect(await row()).toMatchObject({ status: 'running', operation: null }));
    const { engineId } = await row();
    await expectSettled();
    expect(daemon.running(dbId).map((running) => running.engineId)).toEqual([engineId]);
    expect(removals()).toEqual([]);
  });

  it('of a creation that the database did not even get must not fail it: it begins again', async () => {
    const lost = new Error('Connection terminated unexpectedly');
    jest.spyOn(berth.app.get(ContainerRepository), 'commit').mockRejectedValueOnce(lost);
    const created = await user.api.create({ name: 'two' });
    dbId = String(created.body['db_id']);
    await eventually(async () => expect((await row()).status).not.toBe('creating'));
    await expectSettled();
    const { engineId } = await row();
    expect(daemon.running(dbId).map((running) => running.engineId)).toEqual([engineId]);
  });

  /** The next outcome is committed, and nobody is told. */
  function loseCommit(): void {
    const repository = berth.app.get(ContainerRepository);
    const settle = repository.commit.bind(repository);
    jest.spyOn(repository, 'commit').mockImplementationOnce(async (change) => {
      await settle(change);
      throw new Error('Connection terminated unexpectedly');
    });
  }

  function removals(): unknown[] {
    const calls = engine.calls.filter(({ method }) => method === 'containers.remove');
    return calls.map((call) => call.arguments[0]);
  }

  async function expectSettled(): Promise<void> {
    await eventually(async () => {
      expect(await row()).toMatchObject({ operation: null, status: 'running' });
      expect([...daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === dbId)).toHaveLength(1);
    });
  }

  async function row(): Promise<ContainerRow> {
    const found = await berth.app.get(ContainerRepository).findById(dbId);
    if (!found) throw new Error('there is no such container');
    return found;
  }
});
