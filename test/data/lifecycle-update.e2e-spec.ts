import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { type Answer, LARGER, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';
import { RealDocker } from '../support/docker/real-docker';

/** What is a row with a name, and nothing in Docker. */
const NEVER_RUNS = { custom_image: 'berth/there-is-no-such-image:1' } as const;

describe('the management operations on real Docker under gVisor', () => {
  let server: Berth;
  let docker: RealDocker;
  let user: TestUser;
  let events: EventRecorder;
  let dbId: string;

  beforeAll(async () => {
    server = await Berth.start({ subject: 'update' });
    ({ docker } = server);
    ({ user, events } = await server.newcomer('enterprise'));
    dbId = (await user.api.running({ name: 'before' })).db_id;
    await events.next('container_started');
  });

  beforeEach(() => events.clear());

  afterAll(() => server.stop());

  describe('update', () => {
    it('must rename without touching the container', async () => {
      const { id } = await box();
      const updated = await user.api.update(id, { name: 'after', ...SMALL });
      expect(updated.body).toMatchObject({
        message: 'settings updated',
        restarted: false,
        container: { id, db_id: dbId, name: 'after' },
      });
      expect((await events.next('container_updated')).data).toMatchObject({ name: 'after', restarted: false });
      expect((await user.api.create({ ...NEVER_RUNS, name: 'before' })).status).toBe(202);
    });

    it('must do and say nothing when nothing changed', async () => {
      const { id, name } = await box();
      expect((await user.api.update(id, { name, ...SMALL })).body).toMatchObject({
        restarted: false,
        container: { id },
      });
      await user.api.update(id, { name: 'changed', ...SMALL });
      await events.next('container_updated', { name: 'changed' });
      expect(events.events.filter(({ data }) => 'db_id' in data && data.db_id === dbId)).toHaveLength(1);
    });

    it('must refuse what the tier does not allow, naming field, limits and tier', async () => {
      const { id, name } = await box();
      const updated = await user.api.update(id, { name, memory_mb: 255, cpu_shares: 8001, disk_mb: 2048 });
      expect(updated.status).toBe(400);
      expect(updated.body['details']).toEqual([
        expect.objectContaining({ field: 'memory_mb', min: 256, max: 8192, tier: 'enterprise' }),
        expect.objectContaining({ field: 'cpu_shares', min: 250, max: 8000, tier: 'enterprise' }),
      ]);
    });

    it('must refuse a name that a live sibling has, whatever else changes', async () => {
      const { id, name } = await box();
      expect((await user.api.create({ ...NEVER_RUNS, name: 'sibling' })).status).toBe(202);
      const updated = await user.api.update(id, { name: 'sibling', ...LARGER });
      expect(updated.status).toBe(409);
      expect((await user.api.get(id)).body).toMatchObject({ id, name, status: 'running', resources: SMALL });
    });

    it('must resize a running container under gVisor and keep its data', async () => {
      const { id, name } = await box();
      await docker.writeData(id, 'precious');
      const updated = await user.api.update(id, { name, ...LARGER });
      expect(updated.status).toBe(200);
      expect(updated.body).toMatchObject({
        restarted: true,
        container: { db_id: dbId, status: 'running', resources: LARGER },
      });
      const newId = idIn(updated);
      expect(newId).not.toBe(id);
      expect((await docker.inspect(newId)).HostConfig).toMatchObject({
        Runtime: 'runsc',
        Memory: 512 * 2 ** 20,
        CpuQuota: 75_000,
      });
      expect(await docker.readData(newId)).toBe('precious');
      expect((await events.next('container_updated')).data).toMatchObject({ id: newId, old_id: id, restarted: true });
      await expectOnly(newId);
      expect((await user.api.get(id)).body).toMatchObject({ id: newId });
    });

    it('must cut a container off from every network under gVisor, and let it back, with its data', async () => {
      const { id, name, size } = await box();
      await docker.writeData(id, 'precious');
      const interfaces = async (of: string): Promise<string[]> =>
        [...(await docker.exec(of, ['cat', '/proc/net/dev'])).matchAll(/^\s*(\w+):/gm)].map(([, each = '']) => each);
      expect((await user.api.get(id)).body).toMatchObject({ network: 'internet' });
      expect(await interfaces(id)).toContain('eth0');
      const cut = await user.api.update(id, { name, ...size, network: 'none' });
      expect(cut.body).toMatchObject({ restarted: true, container: { status: 'running', network: 'none' } });
      const cutId = idIn(cut);
      expect(await interfaces(cutId)).toEqual(['lo']);
      expect(await docker.readData(cutId)).toBe('precious');
      // Neither Docker's restart nor a stop and a start, nor a sweep, gives it one; a change of something else keeps
      // it.
      await docker.docker.getContainer(cutId).restart({ t: 0 });
      await server.app.get(Reconciler).sweepNow();
      await user.api.stop(cutId);
      await user.api.start(cutId);
      expect(await interfaces(cutId)).toEqual(['lo']);
      expect((await user.api.get(cutId)).body).toMatchObject({ network: 'none', ip_address: null });
      const another = otherThan(size);
      expect(await interfaces(idIn(await user.api.update(cutId, { name, ...another })))).toEqual(['lo']);
      const backId = idIn(await user.api.update(dbId, { name, ...another, network: 'internet' }));
      expect(await interfaces(backId)).toContain('eth0');
      expect(await docker.readData(backId)).toBe('precious');
    });

    it('must have given the new container its name when it answers', async () => {
      const { id, name, size } = await box();
      const byName = `berth-${dbId}`;
      await docker.writeData(id, 'precious');
      for (const next of [otherThan(size), size]) {
        const updated = await user.api.update(dbId, { name, ...next });
        const read = await docker.readData(byName);
        const { Id, State } = await docker.inspect(byName);
        expect([updated.status, Id, State.Running, read]).toEqual([200, idIn(updated), true, 'precious']);
      }
    });

    it('must resize a stopped container and leave it stopped', async () => {
      const { id, name, size } = await box();
      await docker.writeData(id, 'asleep');
      await user.api.stop(id);
      const resources = otherThan(size);
      const updated = await user.api.update(id, { name, ...resources });
      expect(updated.body).toMatchObject({ restarted: false, container: { status: 'stopped', resources } });
      const newId = idIn(updated);
      expect((await docker.inspect(`berth-${dbId}`)).Id).toBe(newId);
      await expectOnly(newId);
      expect((await docker.inspect(newId)).State.Running).toBe(false);
      expect((await user.api.start(newId)).body).not.toHaveProperty('recreated');
      expect(await docker.readData(newId)).toBe('asleep');
      await expectSettled(user.api, docker, dbId);
    });
  });

  describe('a client that hangs up', () => {
    it('must not stop what it asked for', async () => {
      const { id, name, size } = await box();
      await expectOnly(id);
      const resources = otherThan(size);
      const hangUp = new AbortController();
      const asked = fetch(`${server.url}/api/containers/${id}`, {
        method: 'PATCH',
        signal: hangUp.signal,
        headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name, ...resources }),
      });
      // Under way as soon as Docker has the new container.
      await eventually(async () => expect(await docker.containersOf(dbId)).toHaveLength(2));
      hangUp.abort();
      await expect(asked).rejects.toThrow(/abort/);
      expect((await events.next('container_updated')).data).toMatchObject({ restarted: true, resources });
      expect(await expectSettled(user.api, docker, dbId)).toMatchObject({ status: 'running', resources });
    });
  });

  /** The one container of these tests as it now is; it runs. */
  async function box(): Promise<{ id: string; name: string; size: typeof SMALL | typeof LARGER }> {
    const { body } = await user.api.get(dbId);
    expect(body).toMatchObject({ status: 'running' });
    const { memory_mb } = body['resources'] as { memory_mb: number };
    return {
      id: String(body['id']),
      name: String(body['name']),
      size: memory_mb === SMALL.memory_mb ? SMALL : LARGER,
    };
  }

  function otherThan(size: typeof SMALL | typeof LARGER): typeof SMALL | typeof LARGER {
    return size === SMALL ? LARGER : SMALL;
  }

  function idIn({ body }: Answer): string {
    return (body['container'] as { id: string }).id;
  }

  /** Only this container is left of all that the row has been. */
  async function expectOnly(engineId: string): Promise<void> {
    await eventually(async () => {
      const found = await docker.containersOf(dbId);
      expect(found.map(({ id, name }) => ({ id, name }))).toEqual([{ id: engineId, name: `berth-${dbId}` }]);
    });
  }
});
