import type { Operation } from '../../src/containers/model/container.entity';
import { ContainersService } from '../../src/containers';
import { Insertion } from '../../src/containers/creation/insertion';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { Answer, SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import type { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { holdSweeps } from '../support/servers/hold-sweeps';

const environment = { INSTANCE_ID: 'names', SWEEP_INTERVAL_SECONDS: '3600' };
const isPostgres = process.env['TEST_DATABASE'] === 'postgres';

/** What the database decides: whose a name is, and how many places in a tier are taken. */
describe('names and places in a tier', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    engine = new FakeEngine();
    ({ daemon } = engine);
    // Each test shows the effect of a request, not of a sweep.
    berth = await Berth.start({ engine, environment });
    await holdSweeps(berth);
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  beforeEach(async () => {
    ({ user, events } = await berth.newcomer());
  });

  afterEach(() => {
    daemon.down = false;
    engine.forget();
  });

  describe('a creation', () => {
    it('must refuse a name that a live sibling has', async () => {
      await user.api.running({ name: 'taken' });
      const second = await user.api.create({ name: 'taken' });
      expect(second.status).toBe(409);
      expect(second.body).toMatchObject({ error: 'container with this name already exists', code: 'name_taken' });
    });

    it('must draw another name where the one that it drew is taken', async () => {
      const { name } = await user.api.running();
      const insertion = berth.app.get(Insertion);
      const newRow = insertion.newRow.bind(insertion);
      const drawsTaken: typeof newRow = (container) => {
        const { row, grant } = newRow(container);
        return { row: { ...row, name }, grant };
      };
      jest.spyOn(insertion, 'newRow').mockImplementationOnce(drawsTaken).mockImplementationOnce(drawsTaken);
      const { status, body } = await user.api.create();
      expect(status).toBe(202);
      expect(body['name']).toMatch(/^[a-z]+-[a-z]+-\d{4}$/);
      expect(body['name']).not.toBe(name);
    });

    it('must make exactly five of 30 at once on a tier of five, whichever process is asked', async () => {
      const other = isPostgres ? await Berth.start({ database: berth.database, engine, environment }) : null;
      const free = await berth.user('free');
      const caller = { userId: free.id, tier: 'free', sessionExpiresAt: null, boundTo: null };
      // By the service: what comes through HTTP may come one after the other.
      const services = [berth, other ?? berth].map(({ app }) => app.get(ContainersService));
      const asked = Array.from({ length: 15 }, () =>
        services.map((service) => service.create(caller, { image: 'custom', custom_image: testImage(), ...SMALL })),
      );
      const answers = await Promise.allSettled(asked.flat());
      const made = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
      const refusals = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
      expect([made.length, refusals.length]).toEqual([5, 25]);
      for (const refusal of refusals) expect(refusal).toMatchObject({ kind: 'container_limit_reached' });
      expect((await free.api.create()).body).toMatchObject({
        error: 'container limit reached',
        current: 5,
        limit: 5,
        tier: 'free',
      });
      const listed = await free.api.call('GET', '/api/containers');
      expect(listed.body).toMatchObject({ count: 5, usage: { containers: 5, limit: 5 }, limit: 5 });
      for (const { db_id } of made) expect((await free.api.delete(db_id)).status).toBe(200);
      expect((await free.api.call('GET', '/api/containers')).body).toMatchObject({
        count: 0,
        usage: { containers: 0 },
        containers: [],
      });
      await other?.stop();
    });
  });

  describe('an update of the name alone', () => {
    const rename = (id: string, name: string): Promise<Answer> => user.api.update(id, { name, ...SMALL });

    it('must need no Docker, whatever the status, and be emitted', async () => {
      const { id, db_id } = await user.api.running({ name: 'one' });
      await rename(id, 'two');
      expect((await events.next('container_updated')).data).toMatchObject({ name: 'two' });
      events.clear();
      await withoutDocker(async () => {
        expect(await rename(id, 'three')).toMatchObject({
          status: 200,
          body: { restarted: false, container: { id, db_id, name: 'three', status: 'running', resources: SMALL } },
        });
        expect((await events.next('container_updated')).data).toMatchObject({ id, name: 'three', restarted: false });
      });
      expect(events.types()).toEqual(['container_updated']);
      expect((await user.api.stop(id)).body).toMatchObject({ name: 'three', status: 'stopped' });
      await withoutDocker(async () => expect(await rename(id, 'four')).toMatchObject({ status: 200 }));
      expect((await user.api.start(id)).body).toMatchObject({ name: 'four', status: 'running' });
      expect([...daemon.running(db_id)].map(({ name }) => name)).toEqual([`berth-${db_id}`]);
    });

    it('must need none for a container in error, whose name then is the one that a start makes it with', async () => {
      engine.failOn('containers.start');
      const id = String((await user.api.create({ name: 'failed' })).body['db_id']);
      await events.next('container_error', { db_id: id });
      await withoutDocker(async () => {
        expect(await rename(id, 'mended')).toMatchObject({ status: 200, body: { container: { status: 'error' } } });
      });
      expect((await user.api.start(id)).body).toMatchObject({ name: 'mended', status: 'running' });
    });

    it('must leave the container free where the name is taken, and where nothing changes', async () => {
      await user.api.create({ name: 'sibling' });
      const { id, db_id, name } = await user.api.running();
      await withoutDocker(async () => {
        expect(await rename(id, 'sibling')).toMatchObject({ status: 409, body: { code: 'name_taken' } });
        expect(await rename(id, name)).toMatchObject({ status: 200, body: { restarted: false } });
      });
      expect(await row(db_id)).toMatchObject({ name, operation: null, status: 'running' });
    });

    it.each<[Operation, string]>([
      ['update', 'running'],
      ['restart', 'running'],
      ['stop', 'stopped'],
      ['start', 'running'],
    ])('must leave it to others to finish a %s that was cut off, without Docker', async (operation, status) => {
      const { id, db_id } = await user.api.running({ name: 'cut-off' });
      await user.api.create({ name: 'sibling' });
      if (operation === 'start') await user.api.stop(id);
      await leaseAsDead(berth, await row(db_id), operation);
      await withoutDocker(async () => {
        expect(await rename(id, 'sibling')).toMatchObject({ status: 409, body: { code: 'name_taken' } });
        expect(await row(db_id)).toMatchObject({ name: 'cut-off', operation });
        expect(await rename(id, 'renamed')).toMatchObject({ status: 200, body: { container: { name: 'renamed' } } });
      });
      await eventually(async () =>
        expect(await row(db_id)).toMatchObject({ name: 'renamed', status, operation: null }),
      );
      expect(daemon.running(db_id)).toHaveLength(status === 'running' ? 1 : 0);
    });
  });

  /** Docker is away meanwhile, and is not even asked. */
  async function withoutDocker(work: () => Promise<void>): Promise<void> {
    daemon.down = true;
    await work();
    daemon.down = false;
  }

  async function row(id: string) {
    const found = await berth.app.get(ContainerRepository).findById(id);
    if (!found) throw new Error(`there is no row ${id}`);
    return found;
  }
});
