import type * as newContainers from '../../src/containers/new-container';
import { SMALL } from '../support/api-client';
import { TestUser } from '../support/berth';
import { EventRecorder } from '../support/event-recorder';
import { LifecycleServer } from '../support/lifecycle-server';
import { RealDocker } from '../support/real-docker';

jest.setTimeout(180_000);

jest.mock('../../src/containers/new-container', () => {
  const { newContainer } = jest.requireActual<typeof newContainers>('../../src/containers/new-container');
  return { newContainer: jest.fn(newContainer) };
});

describe('the management operations on real Docker under gVisor', () => {
  let server: LifecycleServer;
  let docker: RealDocker;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    server = await LifecycleServer.start('create');
    ({ docker } = server);
  });

  afterAll(() => server.stop());

  beforeEach(async () => {
    ({ user, events } = await server.newcomer());
  });

  describe('create', () => {
    it('must answer at once, and tell of the rest in events', async () => {
      const created = await user.api.create({ name: 'dev-environment', env: { GREETING: 'hello' } });
      expect(created.status).toBe(202);
      expect(created.body).toMatchObject({
        name: 'dev-environment',
        user_id: user.id,
        status: 'creating',
        role: null,
        async: true,
        resources: SMALL,
        db_id: expect.any(String),
        created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/),
      });
      const started = await events.next('container_started');
      const progress = events.events.filter(({ type }) => type === 'container_progress').map(({ data }) => data);
      expect(progress.length).toBeGreaterThan(2);
      const percents = progress.map((data) => ('progress' in data ? data.progress : -1));
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      expect(events.types()).toEqual(['container_created', 'container_started']);
      expect(events.events.map(({ seq }) => seq)).toEqual(events.events.map((_event, index) => index + 1));
      expect(await docker.exec(started.data.id, ['sh', '-c', 'echo $GREETING'])).toBe('hello\n');
    });

    it('must give Docker a container under gVisor that is named and owned by the database id', async () => {
      const { db_id, id } = await user.api.running({ name: 'named' });
      const seen = await docker.inspect(id);
      expect(seen.Name).toBe(`/berth-${db_id}`);
      expect(seen.Config.Labels).toMatchObject({
        'berth.managed': 'true',
        'berth.instance': server.instance,
        'berth.container_id': db_id,
        'berth.user_id': user.id,
      });
      expect(seen.HostConfig).toMatchObject({
        Runtime: 'runsc',
        Init: true,
        Memory: 256 * 2 ** 20,
        MemorySwap: 256 * 2 ** 20,
      });
      const got = await user.api.get(id);
      expect(got.body).toMatchObject({
        id,
        db_id,
        status: 'running',
        status_reason: null,
        runtime: 'runsc',
        resources: SMALL,
      });
    });

    it('must leave an error row that says why, can be tried again, and can be deleted', async () => {
      const created = await user.api.create({ custom_image: 'berth/there-is-no-such-image:1' });
      const failed = await events.next('container_error');
      const id = String(created.body['db_id']);
      expect(failed.data).toMatchObject({ db_id: id, status: 'error', message: expect.any(String) });
      const got = await user.api.get(id);
      expect(got.body).toMatchObject({ status: 'error', status_reason: expect.stringMatching(/^image_/) });
      const retried = await user.api.start(id);
      expect(retried.status).toBe(500);
      expect(retried.body).toMatchObject({
        error: 'failed to start container',
        code: expect.stringMatching(/^image_/),
      });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'error' });
      expect(await docker.containersOf(id)).toEqual([]);
      expect((await user.api.delete(id)).status).toBe(200);
      expect((await user.api.get(id)).status).toBe(404);
    });

    it('must say of an image that cannot run as a sandbox that it cannot, and leave nothing of it', async () => {
      await docker.importEmptyImage('berth/nothing:test');
      const created = await user.api.create({ custom_image: 'berth/nothing:test' });
      expect((await events.next('container_error')).data).toMatchObject({ reason: 'start_refused' });
      const id = String(created.body['db_id']);
      expect((await user.api.start(id)).body).toMatchObject({
        error: 'failed to start container',
        code: 'start_refused',
      });
      expect(await docker.containersOf(id)).toEqual([]);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: 'start_refused' });
    });

    it('must fail on an environment that hides the program, though the image runs', async () => {
      await user.api.running();
      const created = await user.api.create({ env: { PATH: '/nowhere' } });
      const id = String(created.body['db_id']);
      expect((await events.next('container_error', { db_id: id })).data).toMatchObject({ reason: 'start_refused' });
      expect(await docker.containersOf(id)).toEqual([]);
    });

    it('must refuse a name that a live sibling has', async () => {
      await user.api.running({ name: 'taken' });
      const second = await user.api.create({ name: 'taken' });
      expect(second.status).toBe(409);
      expect(second.body).toMatchObject({ error: 'container with this name already exists', code: 'name_taken' });
    });

    it('must draw another name where the one that it drew is taken', async () => {
      const { name } = await user.api.running();
      const { newContainer } = jest.requireActual<typeof newContainers>('../../src/containers/new-container');
      const drawsTaken: typeof newContainer = (creation) => ({ ...newContainer(creation), name });
      const { newContainer: draws } = jest.requireMock<typeof newContainers>('../../src/containers/new-container');
      jest.mocked(draws).mockImplementationOnce(drawsTaken).mockImplementationOnce(drawsTaken);
      const { status, body } = await user.api.create();
      expect(status).toBe(202);
      expect(body['name']).toMatch(/^[a-z]+-[a-z]+-\d{4}$/);
      expect(body['name']).not.toBe(name);
    });

    it('must make exactly five of 30 at once on a tier of five', async () => {
      const free = await server.berth.user('free');
      const answers = await Promise.all(Array.from({ length: 30 }, () => free.api.create()));
      expect(answers.filter(({ status }) => status === 202)).toHaveLength(5);
      const refused = answers.filter(({ status }) => status === 403);
      expect(refused).toHaveLength(25);
      expect(refused[0]?.body).toMatchObject({ error: 'container limit reached', current: 5, limit: 5, tier: 'free' });
      const listed = await free.api.call('GET', '/api/containers');
      expect(listed.body).toMatchObject({ count: 5, usage: { containers: 5, limit: 5 }, limit: 5 });
      for (const { body } of answers.filter(({ status }) => status === 202)) {
        expect((await free.api.delete(String(body['db_id']))).status).toBe(200);
      }
      expect((await free.api.call('GET', '/api/containers')).body).toMatchObject({
        count: 0,
        usage: { containers: 0 },
        containers: [],
      });
    });
  });

  describe('delete', () => {
    it('must free the name and the count at once, and keep the volume', async () => {
      const { id, db_id, name } = await user.api.running({ name: 'short-lived' });
      const deleted = await user.api.delete(id);
      expect(deleted.body).toEqual({ message: 'container deleted', id, db_id, name, purge_at: expect.any(String) });
      expect((await events.next('container_deleted')).data).toMatchObject({ id, db_id });
      expect(await docker.containersOf(db_id)).toEqual([]);
      expect(await docker.volumeExists(`berth-${db_id}`)).toBe(true);
      expect((await user.api.delete(db_id)).status).toBe(404);
      expect((await user.api.create({ name: 'short-lived' })).status).toBe(202);
    });

    it('must work for a stopped container, for one that is gone from Docker, and while it is being created', async () => {
      const stopped = await user.api.running();
      await user.api.stop(stopped.id);
      expect((await user.api.delete(stopped.id)).status).toBe(200);
      const gone = await user.api.running();
      await docker.docker.getContainer(gone.id).remove({ force: true });
      expect((await user.api.delete(gone.id)).status).toBe(200);
      const fresh = await user.api.create();
      const id = String(fresh.body['db_id']);
      expect((await user.api.delete(id)).status).toBe(200);
      for (const dbId of [stopped.db_id, gone.db_id, id]) expect(await docker.containersOf(dbId)).toEqual([]);
    });
  });
});
