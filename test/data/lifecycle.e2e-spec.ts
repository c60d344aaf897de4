import { Berth, TestUser } from '../support/berth';
import { SMALL } from '../support/api-client';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/expect-settled';
import { EventRecorder } from '../support/event-recorder';
import { RealDocker } from '../support/real-docker';

jest.setTimeout(60_000);

const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;

describe('the management operations on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const instance = `test-lifecycle-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  beforeEach(async () => {
    user = await berth.user('enterprise');
    events = await berth.record(user);
  });

  describe('create', () => {
    it('must answer at once, and tell of the rest in events', async () => {
      const created = await user.api.create({ name: 'dev-environment', env: { GREETING: 'hello' } });
      expect(created.status).toBe(202);
      expect(created.body).toMatchObject({
        ...{ name: 'dev-environment', user_id: user.id, status: 'creating', role: null, async: true, resources: SMALL },
        ...{ db_id: expect.any(String), created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/) },
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
        ...{
          'berth.managed': 'true',
          'berth.instance': instance,
          'berth.container_id': db_id,
          'berth.user_id': user.id,
        },
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
      await docker.importEmptyImage('berth/empty:test');
      const created = await user.api.create({ custom_image: 'berth/empty:test' });
      expect((await events.next('container_error')).data).toMatchObject({ reason: 'start_refused' });
      const id = String(created.body['db_id']);
      expect((await user.api.start(id)).body).toMatchObject({
        error: 'failed to start container',
        code: 'start_refused',
      });
      expect(await docker.containersOf(id)).toEqual([]);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: 'start_refused' });
    });

    it('must refuse a name that a live sibling has', async () => {
      await user.api.running({ name: 'taken' });
      const second = await user.api.create({ name: 'taken' });
      expect(second.status).toBe(409);
      expect(second.body).toMatchObject({ error: 'container with this name already exists', code: 'name_taken' });
    });

    it('must make exactly five of 30 at once on a tier of five', async () => {
      const free = await berth.user('free');
      const answers = await Promise.all(Array.from({ length: 30 }, () => free.api.create()));
      expect(answers.filter(({ status }) => status === 202)).toHaveLength(5);
      const refused = answers.filter(({ status }) => status === 403);
      expect(refused).toHaveLength(25);
      expect(refused[0]?.body).toMatchObject({ error: 'container limit reached', current: 5, limit: 5, tier: 'free' });
      const listed = await free.api.call('GET', '/api/containers');
      expect(listed.body).toMatchObject({ count: 5, limit: 5 });
      for (const { body } of answers.filter(({ status }) => status === 202)) {
        expect((await free.api.delete(String(body['db_id']))).status).toBe(200);
      }
      expect((await free.api.call('GET', '/api/containers')).body).toMatchObject({ count: 0, containers: [] });
    });
  });

  describe('stop and start', () => {
    it('must stop an idle container in under a second, start it again and keep its data', async () => {
      const { id, db_id, name } = await user.api.running();
      await docker.writeData(id, 'kept');
      const began = Date.now();
      const stopped = await user.api.stop(id);
      expect(Date.now() - began).toBeLessThan(1000);
      expect(stopped.body).toEqual({ message: 'container stopped', id, name, status: 'stopped' });
      expect((await docker.inspect(id)).State.Running).toBe(false);
      const started = await user.api.start(db_id);
      expect(started.body).toEqual({ message: 'container started', id, name, status: 'running' });
      expect(await docker.readData(id)).toBe('kept');
    });

    it('must answer the same 200 a second time, without an event', async () => {
      const { id, name } = await user.api.running();
      events.clear();
      expect((await user.api.start(id)).body).toEqual({ message: 'container started', id, name, status: 'running' });
      const first = await user.api.stop(id);
      expect((await user.api.stop(id)).body).toEqual(first.body);
      expect((await user.api.start(id)).status).toBe(200);
      await events.next('container_started');
      expect(events.types()).toEqual(['container_stopped', 'container_started']);
      expect(events.events[0]?.data).not.toHaveProperty('reason');
    });

    it('must turn a double click on start into two 200s and one start', async () => {
      const { id } = await user.api.running();
      await user.api.stop(id);
      events.clear();
      const [first, second] = await Promise.all([user.api.start(id), user.api.start(id)]);
      expect([first.status, second.status]).toEqual([200, 200]);
      await user.api.stop(id);
      await events.next('container_stopped');
      expect(events.types()).toEqual(['container_started', 'container_stopped']);
    });

    it('must make anew what has vanished from Docker, with its data and under any former id', async () => {
      const { id, db_id, name } = await user.api.running({ env: { KEY: 'value' } });
      await docker.writeData(id, 'survivor');
      await docker.docker.getContainer(id).remove({ force: true });
      await events.next('container_stopped', { reason: 'missing' });
      expect((await user.api.get(db_id)).body).toMatchObject({ status: 'stopped', status_reason: 'missing' });
      const started = await user.api.start(id);
      expect(started.body).toEqual({
        ...{ message: 'container recreated and started', id: expect.any(String), old_id: id, name, status: 'running' },
        ...{ recreated: true, volume_kept: true },
      });
      const newId = String(started.body['id']);
      expect(newId).not.toBe(id);
      expect(await docker.readData(newId)).toBe('survivor');
      expect(await docker.exec(newId, ['sh', '-c', 'echo $KEY'])).toBe('value\n');
      for (const form of [id, id.slice(0, 12), newId, newId.slice(0, 12), db_id]) {
        expect((await user.api.get(form)).body).toMatchObject({ id: newId, db_id, status: 'running' });
      }
      const event = await events.next('container_started', { id: newId });
      expect(event.data).toMatchObject({ recreated: true, old_id: id, volume_kept: true });
    });

    it('must say that the volume was not there when it was not', async () => {
      const { id, db_id } = await user.api.running();
      await docker.docker.getContainer(id).remove({ force: true });
      await docker.docker.getVolume(`berth-${db_id}`).remove();
      expect((await user.api.start(db_id)).body).toMatchObject({ recreated: true, volume_kept: false });
    });
  });

  describe('update', () => {
    it('must rename without touching the container', async () => {
      const { id, db_id } = await user.api.running({ name: 'before' });
      events.clear();
      const updated = await user.api.update(id, { name: 'after', ...SMALL });
      expect(updated.body).toMatchObject({
        message: 'settings updated',
        restarted: false,
        container: { id, db_id, name: 'after' },
      });
      expect((await events.next('container_updated')).data).toMatchObject({ name: 'after', restarted: false });
      expect((await user.api.create({ name: 'before' })).status).toBe(202);
    });

    it('must resize a running container under gVisor and keep its data', async () => {
      const { id, db_id } = await user.api.running({ name: 'resized' });
      await docker.writeData(id, 'precious');
      const updated = await user.api.update(id, { name: 'resized', ...LARGER });
      expect(updated.status).toBe(200);
      expect(updated.body).toMatchObject({
        restarted: true,
        container: { db_id, status: 'running', resources: LARGER },
      });
      const newId = (updated.body['container'] as { id: string }).id;
      expect(newId).not.toBe(id);
      expect((await docker.inspect(newId)).HostConfig).toMatchObject({
        Runtime: 'runsc',
        Memory: 512 * 2 ** 20,
        CpuQuota: 75_000,
      });
      expect(await docker.readData(newId)).toBe('precious');
      expect((await events.next('container_updated')).data).toMatchObject({ id: newId, old_id: id, restarted: true });
      await events.next('container_updated');
      await expectOnly(db_id, newId);
      expect((await user.api.get(id)).body).toMatchObject({ id: newId });
    });

    it('must resize a stopped container and leave it stopped', async () => {
      const { id, db_id, name } = await user.api.running();
      await docker.writeData(id, 'asleep');
      await user.api.stop(id);
      const updated = await user.api.update(id, { name, ...LARGER });
      expect(updated.body).toMatchObject({ restarted: false, container: { status: 'stopped', resources: LARGER } });
      const newId = (updated.body['container'] as { id: string }).id;
      await expectOnly(db_id, newId);
      expect((await docker.inspect(newId)).State.Running).toBe(false);
      expect((await user.api.start(newId)).body).not.toHaveProperty('recreated');
      expect(await docker.readData(newId)).toBe('asleep');
    });

    it('must do and say nothing when nothing changed', async () => {
      const { id, name } = await user.api.running();
      events.clear();
      expect((await user.api.update(id, { name, ...SMALL })).body).toMatchObject({
        restarted: false,
        container: { id },
      });
      await user.api.stop(id);
      await events.next('container_stopped');
      expect(events.types()).toEqual(['container_stopped']);
    });

    it('must refuse what the tier does not allow, naming field, limits and tier', async () => {
      const { id, name } = await user.api.running();
      const updated = await user.api.update(id, { name, memory_mb: 255, cpu_shares: 8001, disk_mb: 2048 });
      expect(updated.status).toBe(400);
      expect(updated.body['details']).toEqual([
        expect.objectContaining({ field: 'memory_mb', min: 256, max: 8192, tier: 'enterprise' }),
        expect.objectContaining({ field: 'cpu_shares', min: 250, max: 8000, tier: 'enterprise' }),
      ]);
    });

    it('must refuse a name that a live sibling has, whatever else changes', async () => {
      await user.api.running({ name: 'sibling' });
      const { id } = await user.api.running({ name: 'other' });
      const updated = await user.api.update(id, { name: 'sibling', ...LARGER });
      expect(updated.status).toBe(409);
      expect((await user.api.get(id)).body).toMatchObject({ id, name: 'other', status: 'running', resources: SMALL });
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

  describe('behind the back', () => {
    it.each([
      ['docker kill', (id: string) => docker.docker.getContainer(id).kill(), { reason: 'exited', exit_code: 137 }],
      ['docker stop', (id: string) => docker.docker.getContainer(id).stop(), { reason: 'exited' }],
      ['docker rm -f', (id: string) => docker.docker.getContainer(id).remove({ force: true }), { reason: 'missing' }],
    ])('%s must become status and event within 2 s', async (_what, harm, expected) => {
      const { id } = await user.api.running();
      const began = Date.now();
      await harm(id);
      const stopped = await events.next('container_stopped');
      expect(Date.now() - began).toBeLessThan(2000);
      expect(stopped.data).toMatchObject(expected);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped', status_reason: expected.reason });
    });

    it('docker start must become status and event', async () => {
      const { id } = await user.api.running();
      await user.api.stop(id);
      events.clear();
      await docker.docker.getContainer(id).start();
      await events.next('container_started', {}, 2000);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    });

    it('a process over its memory must be killed, and the event must say so', async () => {
      const { id } = await user.api.running({ cpu_shares: 4000 });
      events.clear();
      await docker.exec(id, ['sh', '-c', 'head -c 600m /dev/zero | tail']);
      const stopped = await events.next('container_stopped', {}, 30_000);
      expect(stopped.data).toMatchObject({ reason: 'oom', exit_code: 137 });
      // Docker's restart policy brings it back.
      await events.next('container_started', {}, 30_000);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running', id });
    });
  });

  describe('any order at once', () => {
    let servers: Berth[];

    beforeAll(async () => {
      // On PostgreSQL two servers share the Berth; SQLite has one.
      const shared = { database: berth.database, environment: { INSTANCE_ID: instance } };
      servers = process.env['TEST_DATABASE'] === 'postgres' ? [berth, await Berth.start(shared)] : [berth];
    });

    afterAll(async () => {
      for (const server of servers.slice(1)) await server.stop();
    });

    it('must end in a state that row, Docker and the last event agree on, whichever server was asked', async () => {
      const { id, db_id, name } = await user.api.running();
      const sizes = [SMALL, LARGER];
      const storm = Array.from({ length: 16 }, (_nothing, turn) => {
        const { api } = servers[turn % servers.length]?.as(user) ?? user;
        if (turn % 4 === 0) return api.stop(db_id);
        if (turn % 4 === 1) return api.start(db_id);
        return turn % 4 === 2 ? api.update(id, { name, ...sizes[(turn >> 2) % 2] }) : api.start(id);
      });
      const answers = await Promise.all(storm);
      for (const { status } of answers) expect([200, 409]).toContain(status);
      expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(3);
      for (const server of servers) expect(await expectSettled(server.as(user).api, docker, db_id)).not.toBeNull();
    });

    it('must end in a deletion when one is asked for, and leave nothing', async () => {
      const { db_id } = await user.api.running();
      const storm = Array.from({ length: 9 }, (_nothing, turn) => {
        const { api } = servers[turn % servers.length]?.as(user) ?? user;
        if (turn === 4) return api.delete(db_id);
        return turn % 2 === 0 ? api.stop(db_id) : api.start(db_id);
      });
      for (const { status } of await Promise.all(storm)) expect([200, 404, 409]).toContain(status);
      expect(await expectSettled(user.api, docker, db_id)).toBeNull();
    });

    it('must send every server the same events in the same order', async () => {
      const recorders = await Promise.all(servers.map((server) => server.record(user, 0)));
      const { db_id } = await user.api.running();
      const acts = servers.flatMap((server) => [server.as(user).api.stop(db_id), server.as(user).api.start(db_id)]);
      await Promise.all(acts);
      const seq = Number((await user.api.call('GET', '/api/containers')).body['event_seq']);
      const expected = Array.from({ length: seq }, (_nothing, index) => index + 1);
      for (const recorder of recorders) {
        await eventually(() => expect(recorder.events.map((event) => event.seq)).toEqual(expected));
        expect(recorder.events).toEqual(recorders[0]?.events);
      }
    });
  });

  describe('a client that hangs up', () => {
    it('must not stop what it asked for', async () => {
      const { id, db_id, name } = await user.api.running();
      const hangUp = new AbortController();
      const asked = fetch(`${berth.url}/api/containers/${id}`, {
        method: 'PATCH',
        signal: hangUp.signal,
        headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name, ...LARGER }),
      });
      // Under way as soon as Docker has the new container.
      await eventually(async () => expect(await docker.containersOf(db_id)).toHaveLength(2));
      hangUp.abort();
      await expect(asked).rejects.toThrow(/abort/);
      expect((await events.next('container_updated')).data).toMatchObject({ restarted: true, resources: LARGER });
      expect(await expectSettled(user.api, docker, db_id)).toMatchObject({ status: 'running', resources: LARGER });
    });
  });

  /** Only this container is left of all that the row has been. */
  async function expectOnly(dbId: string, dockerId: string): Promise<void> {
    await eventually(async () => {
      const found = await docker.containersOf(dbId);
      expect(found.map(({ id, name }) => ({ id, name }))).toEqual([{ id: dockerId, name: `berth-${dbId}` }]);
    });
  }
});
