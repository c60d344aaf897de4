import type { NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { RealDocker } from '../support/docker/real-docker';

describe('the management operations on real Docker under gVisor', () => {
  let server: Berth;
  let docker: RealDocker;
  let user: TestUser;
  let events: EventRecorder;
  /** Each test finds it running, and leaves it so. */
  let box: NewContainer;

  beforeAll(async () => {
    server = await Berth.start({ subject: 'start' });
    ({ docker } = server);
    ({ user, events } = await server.newcomer('enterprise'));
    box = await user.api.running();
    await events.next('container_started');
  });

  beforeEach(() => events.clear());

  afterAll(() => server.stop());

  describe('stop and start', () => {
    it('must stop an idle container without waiting for its grace to end, start it again and keep its data', async () => {
      const { id, db_id, name } = box;
      await docker.writeData(id, 'kept');
      const stopped = await user.api.stop(id);
      expect(stopped.body).toEqual({ message: 'container stopped', id, name, status: 'stopped' });
      // 128 + SIGTERM: it was not killed.
      expect((await docker.inspect(id)).State).toMatchObject({ Running: false, ExitCode: 0 });
      const started = await user.api.start(db_id);
      expect(started.body).toEqual({ message: 'container started', id, name, status: 'running' });
      expect(await docker.readData(id)).toBe('kept');
      await events.next('container_started');
    });

    it('must answer the same 200 a second time, without an event', async () => {
      const { id, name } = box;
      expect((await user.api.start(id)).body).toEqual({ message: 'container started', id, name, status: 'running' });
      const first = await user.api.stop(id);
      expect((await user.api.stop(id)).body).toEqual(first.body);
      expect((await user.api.start(id)).status).toBe(200);
      await events.next('container_started');
      expect(events.types()).toEqual(['container_stopped', 'container_started']);
      expect(events.events[0]?.data).not.toHaveProperty('reason');
    });

    it('must turn a double click on start into two 200s and one start', async () => {
      const { id } = box;
      await user.api.stop(id);
      await events.next('container_stopped');
      events.clear();
      const [first, second] = await Promise.all([user.api.start(id), user.api.start(id)]);
      expect([first.status, second.status]).toEqual([200, 200]);
      await user.api.stop(id);
      await events.next('container_stopped');
      expect(events.types()).toEqual(['container_started', 'container_stopped']);
      await user.api.start(id);
      await events.next('container_started');
    });

    it('must recreate what is missing from Docker, with its data and under any former id', async () => {
      const { id, db_id, name } = box;
      await docker.writeData(id, 'survivor');
      await docker.docker.getContainer(id).remove({ force: true });
      await events.next('container_stopped', { reason: 'missing' });
      expect((await user.api.get(db_id)).body).toMatchObject({ status: 'stopped', status_reason: 'missing' });
      const started = await user.api.start(id);
      expect(started.body).toEqual({
        message: 'container recreated and started',
        id: expect.any(String),
        old_id: id,
        name,
        status: 'running',
        recreated: true,
        volume_kept: true,
      });
      const newId = String(started.body['id']);
      expect(newId).not.toBe(id);
      expect(await docker.readData(newId)).toBe('survivor');
      for (const form of [id, id.slice(0, 12), newId, newId.slice(0, 12), db_id]) {
        expect((await user.api.get(form)).body).toMatchObject({ id: newId, db_id, status: 'running' });
      }
      const event = await events.next('container_started', { id: newId });
      expect(event.data).toMatchObject({ recreated: true, old_id: id, volume_kept: true });
    });

    it('must say that the volume was not there when it was not', async () => {
      const { db_id } = box;
      const { id } = (await user.api.get(db_id)).body;
      await docker.docker.getContainer(String(id)).remove({ force: true });
      await docker.docker.getVolume(`berth-${db_id}`).remove();
      expect((await user.api.start(db_id)).body).toMatchObject({ recreated: true, volume_kept: false });
    });
  });
});
