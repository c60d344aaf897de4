import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { ContainerWatcher } from '../../src/containers/reconcile/watcher';
import { ContainerEngine } from '../../src/engine';
import { type Answer, LARGER, type NewContainer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { DockerProxy } from '../support/faults/docker-proxy';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { inMore, IS_MORE } from '../support/extent';
import { RealDocker } from '../support/docker/real-docker';

// gVisor by ptrace takes minutes to fill a sandbox's memory.
jest.setTimeout(600_000);

describe('the management operations on real Docker under gVisor', () => {
  let server: Berth;
  let docker: RealDocker;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    // No sweep but those of the tests: one between a change and the look at it would undo the change.
    server = await Berth.start({ subject: 'outside', environment: { SWEEP_INTERVAL_SECONDS: '3600' } });
    ({ docker } = server);
  });

  afterAll(() => server.stop());

  beforeEach(async () => {
    ({ user, events } = await server.newcomer('enterprise'));
  });

  it('a deletion by force must succeed where Docker refuses, and be undone only once Docker has removed it', async () => {
    const instance = `${server.instance}-forced`;
    const proxy = await DockerProxy.open();
    const environment = { INSTANCE_ID: instance, DOCKER_HOST: proxy.dockerHost, SWEEP_INTERVAL_SECONDS: '1' };
    const berth = await Berth.start({ environment });
    try {
      const { api } = await berth.user();
      const restore = (id: string): Promise<Answer> => api.call('POST', `/api/containers/${id}/restore`);
      const { id, db_id } = await api.running({ name: 'stuck' });
      await docker.writeData(id, 'precious');
      const isEnd = /^(DELETE .*\/containers\/:id|POST .*\/containers\/:id\/(stop|kill))$/;
      proxy.onCall = (call) => (isEnd.test(call) ? { fault: 'refuse' } : null);
      expect((await api.delete(db_id)).status).toBe(500);
      const forced = await api.call('DELETE', `/api/containers/${db_id}?force=true`);
      expect(forced).toMatchObject({ status: 200, body: { db_id, removal_pending: true } });
      expect((await api.get(db_id)).status).toBe(404);
      expect(await docker.containersOf(db_id)).toHaveLength(1);
      // The name is free, and its next container has a volume of its own.
      const { db_id: successor } = await api.running({ name: 'stuck' });
      expect(await restore(db_id)).toMatchObject({ status: 409, body: { code: 'removal_pending' } });
      proxy.onCall = () => null;
      await eventually(async () => expect(await docker.containersOf(db_id)).toEqual([]));
      await api.update(successor, { name: 'another', ...SMALL });
      await eventually(async () => expect((await restore(db_id)).status).toBe(200));
      const started = await api.start(db_id);
      expect(started.body).toMatchObject({ recreated: true, volume_kept: true });
      expect(await docker.readData(String(started.body['id']))).toBe('precious');
    } finally {
      await berth.stop();
      await proxy.close();
      await docker.removeInstance(instance);
    }
  });

  describe('behind the back', () => {
    let owner: TestUser;
    let box: NewContainer;

    beforeAll(async () => {
      owner = await server.user('enterprise');
      box = await owner.api.running();
    });

    /** The box runs, and nothing of it is to be told any more. */
    beforeEach(async () => {
      user = owner;
      await user.api.start(box.db_id);
      events = await server.record(user);
      box = { ...box, id: String((await user.api.get(box.db_id)).body['id']) };
    });

    type Harm = [
      what: string,
      harm: (id: string) => Promise<unknown>,
      expected: { reason: string; exit_code?: number },
    ];
    const harms: Harm[] = [
      ['docker kill', (id) => docker.docker.getContainer(id).kill(), { reason: 'exited', exit_code: 137 }],
      ['docker rm -f', (id) => docker.docker.getContainer(id).remove({ force: true }), { reason: 'missing' }],
    ];
    const further: Harm[] = [['docker stop', (id) => docker.docker.getContainer(id).stop(), { reason: 'exited' }]];

    it.each([...harms, ...(IS_MORE ? further : [])])(
      '%s must become status and event, long before the next sweep',
      async (_what, harm, expected) => {
        const { id } = box;
        const began = Date.now();
        await harm(id);
        const stopped = await events.next('container_stopped');
        expect(Date.now() - began).toBeLessThan(30_000);
        expect(stopped.data).toMatchObject(expected);
        expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped', status_reason: expected.reason });
      },
    );

    it('docker start must become status and event', async () => {
      const { id } = box;
      await user.api.stop(id);
      await events.next('container_stopped');
      events.clear();
      await docker.docker.getContainer(id).start();
      await events.next('container_started');
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    });

    it('a process over its memory must be killed, and the event must say so', async () => {
      const { id } = await user.api.running({ cpu_shares: 4000 });
      await events.next('container_started');
      events.clear();
      await docker.exec(id, ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=600M count=1']);
      const stopped = await events.next('container_stopped');
      expect(stopped.data).toMatchObject({
        reason: 'oom',
        exit_code: 137,
        message: expect.stringContaining('more memory than its limit') as unknown,
      });
      // Docker's restart policy brings it back.
      await events.next('container_started');
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running', id });
    });
  });

  describe('docker network disconnect', () => {
    let owner: TestUser;
    let box: NewContainer;

    beforeAll(async () => {
      owner = await server.user('enterprise');
      box = await owner.api.running();
    });

    beforeEach(() => {
      user = owner;
    });

    it('of a running container must be undone by the next sweep', async () => {
      const { id } = box;
      await disconnect(id);
      await expectOffline(id);
      // One that was running already may have been the next.
      expect(await server.app.get(Reconciler).sweepNow()).toMatchObject({ failed: 0 });
      await expectOnline(id);
      expect(await server.app.get(Reconciler).sweepNow()).toMatchObject({ reconnected: 0, failed: 0 });
    });

    inMore('of a stopped one must be undone by the next start', async () => {
      const { id } = box;
      await user.api.stop(id);
      await disconnect(id);
      expect((await user.api.start(id)).status).toBe(200);
      await expectOnline(id);
    });

    inMore('must be undone by a start of a running one, and by whichever of two servers comes first', async () => {
      const { id, db_id } = box;
      await disconnect(id);
      const [engine, observer] = [server.app.get(ContainerEngine), server.app.get(ContainerWatcher)];
      /** As a sweep does it; whoever does not connect it may look before it has its address. */
      const reconnect = async (): Promise<void> => {
        await engine.networks.reconnect(id);
        await observer.inspect(db_id);
      };
      await Promise.all([user.api.start(id), reconnect(), reconnect()]);
      await expectOnline(id);
    });

    inMore('must not be looked for in a container that was just made, by a creation or a resize', async () => {
      const proxy = await DockerProxy.open();
      const calls: [id: string, verb: string][] = [];
      proxy.onCall = (_call, url) => {
        const [, id = '', verb = ''] = /\/containers\/([0-9a-f]{64})\/(\w+)(?:\?|$)/.exec(url) ?? [];
        calls.push([id, verb]);
        return null;
      };
      const instance = `${server.instance}-counted`;
      const counted = await Berth.start({ environment: { INSTANCE_ID: instance, DOCKER_HOST: proxy.dockerHost } });
      /** What Docker is asked of a container until it is started. */
      const beforeStart = (id: unknown): string[] => {
        const verbs = calls.flatMap(([of, verb]) => (of === id ? [verb] : []));
        return verbs.slice(0, verbs.indexOf('start'));
      };
      try {
        const { api } = await counted.user('enterprise');
        const { db_id, id, name } = await api.running();
        expect(beforeStart(id)).toEqual([]);

        expect((await api.update(db_id, { name, ...LARGER })).status).toBe(200);
        const resized = (await api.get(db_id)).body['id'];
        expect(resized).not.toBe(id);
        expect(beforeStart(resized)).toEqual(['rename']);
      } finally {
        await counted.stop();
        await proxy.close();
        await docker.removeInstance(instance);
      }
    });

    const network = (): string => `berth-${server.instance}`;
    const disconnect = (id: string): Promise<unknown> =>
      docker.docker.getNetwork(network()).disconnect({ Container: id });
    const routes = (id: string): Promise<string> => docker.exec(id, ['cat', '/proc/net/route']);

    async function expectOffline(id: string): Promise<void> {
      expect((await docker.inspect(id)).NetworkSettings.Networks).toEqual({});
      expect(await routes(id)).not.toMatch(/eth/);
    }

    /** By Docker, in the container itself, and in the row. */
    async function expectOnline(id: string): Promise<void> {
      const { NetworkSettings } = await docker.inspect(id);
      expect(Object.keys(NetworkSettings.Networks)).toEqual([network()]);
      const ip_address = NetworkSettings.Networks[network()]?.IPAddress;
      expect(ip_address).toMatch(/^\d/);
      expect(await routes(id)).toMatch(/eth\d\s+00000000/);
      await eventually(async () =>
        expect((await user.api.get(id)).body).toMatchObject({ status: 'running', ip_address }),
      );
    }
  });
});
