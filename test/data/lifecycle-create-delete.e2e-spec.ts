import { SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(180_000);

describe('the management operations on real Docker under gVisor', () => {
  let server: Berth;
  let docker: RealDocker;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    server = await Berth.start({ subject: 'create' });
    ({ docker } = server);
  });

  afterAll(() => server.stop());

  beforeEach(async () => {
    ({ user, events } = await server.newcomer('enterprise'));
  });

  describe('create', () => {
    it('must answer at once, and emit the rest as events', async () => {
      const created = await user.api.create({ name: 'dev-environment' });
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
      await events.next('container_started');
      const progress = events.events.filter(({ type }) => type === 'container_progress').map(({ data }) => data);
      expect(progress.length).toBeGreaterThan(2);
      const percents = progress.map((data) => ('progress' in data ? data.progress : -1));
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      expect(events.types()).toEqual(['container_created', 'container_started']);
      expect(events.events.map(({ seq }) => seq)).toEqual(events.events.map((_event, index) => index + 1));
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
        Init: false,
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

    it('must run an image without any program, as its main process is brought along', async () => {
      await docker.importEmptyImage('berth/nothing:test');
      const { id } = await user.api.running({ custom_image: 'berth/nothing:test' });
      const started = await user.api.call('POST', `/api/containers/${id}/exec`, {
        command: ['/.berth/supervisor', 'version'],
      });
      expect(started).toMatchObject({ status: 200, body: { exit_code: 0, stdout: expect.stringMatching(/^\S+\n$/) } });
      expect((await user.api.stop(id)).status).toBe(200);
    });

    it('must run whatever its variables hide, as its main process has none of them', async () => {
      const image = 'berth/without-shell:test';
      await docker.makeImage(image, 'rm /bin/sh');
      const { id } = await user.api.running({ custom_image: image, env: { PATH: '/nowhere', LD_PRELOAD: '/x.so' } });
      expect((await docker.inspect(id)).Config.Env.join()).not.toMatch(/nowhere|LD_PRELOAD/);
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
