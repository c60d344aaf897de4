import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { SMALL } from '../support/api-client';
import { TestUser } from '../support/berth';
import { EventRecorder } from '../support/event-recorder';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/expect-settled';
import { LARGER, LifecycleServer } from '../support/lifecycle-server';
import { RealDocker } from '../support/real-docker';

describe('the management operations on real Docker under gVisor', () => {
  let server: LifecycleServer;
  let docker: RealDocker;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    server = await LifecycleServer.start('update');
    ({ docker } = server);
  });

  afterAll(() => server.stop());

  beforeEach(async () => {
    ({ user, events } = await server.newcomer());
  });

  describe('update', () => {
    it('must rename without touching the container', async () => {
      const { id, db_id } = await user.api.running({ name: 'before' });
      await events.next('container_started');
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

    it('must put new variables into a new container, and keep its data', async () => {
      const { id, db_id, name } = await user.api.running({ env: { MODE: 'old', GONE: '1' } });
      await docker.writeData(id, 'precious');
      const updated = await user.api.update(db_id, { name, ...SMALL, env: { MODE: 'new' } });
      expect(updated).toMatchObject({ status: 200, body: { restarted: true, container: { status: 'running' } } });
      const newId = (updated.body['container'] as { id: string }).id;
      expect(await docker.exec(newId, ['sh', '-c', 'echo "$MODE/$GONE"'])).toBe('new/\n');
      expect(await docker.readData(newId)).toBe('precious');
      const event = await events.next('container_updated', { db_id });
      expect(event.data).toMatchObject({ id: newId, old_id: id, restarted: true });
      expect(event.data).not.toHaveProperty('env');
    });

    it('must cut a container off from every network under gVisor, and let it back, with its data', async () => {
      const { id, db_id, name } = await user.api.running();
      await docker.writeData(id, 'precious');
      const interfaces = async (of: string): Promise<string[]> =>
        [...(await docker.exec(of, ['cat', '/proc/net/dev'])).matchAll(/^\s*(\w+):/gm)].map(([, each = '']) => each);
      expect((await user.api.get(id)).body).toMatchObject({ network: 'internet' });
      expect(await interfaces(id)).toContain('eth0');
      const cut = await user.api.update(id, { name, ...SMALL, network: 'none' });
      expect(cut.body).toMatchObject({ restarted: true, container: { db_id, status: 'running', network: 'none' } });
      const cutId = (cut.body['container'] as { id: string }).id;
      expect(await interfaces(cutId)).toEqual(['lo']);
      expect(await docker.readData(cutId)).toBe('precious');
      // Neither Docker's restart nor a stop and a start, nor a sweep, gives it one; a change of something else keeps
      // it.
      await docker.docker.getContainer(cutId).restart({ t: 0 });
      await server.berth.app.get(Reconciler).sweepNow();
      await user.api.stop(cutId);
      await user.api.start(cutId);
      expect(await interfaces(cutId)).toEqual(['lo']);
      expect((await user.api.get(cutId)).body).toMatchObject({ network: 'none', ip_address: null });
      const larger = (await user.api.update(cutId, { name, ...LARGER })).body['container'] as { id: string };
      expect(await interfaces(larger.id)).toEqual(['lo']);
      const back = await user.api.update(db_id, { name, ...LARGER, network: 'internet' });
      const { id: backId } = back.body['container'] as { id: string };
      expect(await interfaces(backId)).toContain('eth0');
      expect(await docker.readData(backId)).toBe('precious');
    });

    it('must have given the new container its name when it answers', async () => {
      const { id, db_id, name } = await user.api.running();
      const byName = `berth-${db_id}`;
      await docker.writeData(id, 'precious');
      for (let resizes = 1; resizes <= 4; resizes += 1) {
        const updated = await user.api.update(db_id, { name, ...(resizes % 2 === 1 ? LARGER : SMALL) });
        const read = await docker.readData(byName);
        const { Id, State } = await docker.inspect(byName);
        const { id: newId } = updated.body['container'] as { id: string };
        expect([updated.status, Id, State.Running, read]).toEqual([200, newId, true, 'precious']);
      }
      await user.api.stop(db_id);
      const stopped = await user.api.update(db_id, { name, ...SMALL });
      expect((await docker.inspect(byName)).Id).toBe((stopped.body['container'] as { id: string }).id);
      await expectSettled(user.api, docker, db_id);
    }, 120_000);

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
      await events.next('container_started');
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

  describe('a client that hangs up', () => {
    it('must not stop what it asked for', async () => {
      const { id, db_id, name } = await user.api.running();
      const hangUp = new AbortController();
      const asked = fetch(`${server.berth.url}/api/containers/${id}`, {
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
