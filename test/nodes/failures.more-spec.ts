import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, ApiClient, type NewContainer, SMALL } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { eventually } from '../support/eventually';
import { drawn, inTurn } from '../support/extent';
import { TestNodes, type TestNode } from '../support/docker/test-nodes';

jest.setTimeout(400_000);

/** Within which what is asked of a node that is silent is answered, with the time that this machine takes. */
const ANSWER_MS = 6_000;
/** Until a node that is back is used again, and what was under way there is finished. */
const BACK_MS = 120_000;

/** Asks again as long as the database has no time, which a busy machine's may not have. */
async function createdOrFull(api: ApiClient): Promise<Answer> {
  for (;;) {
    const answer = await api.create();
    if (!['database_busy', 'database_unavailable'].includes(String(answer.body['code']))) return answer;
  }
}

/** Each takes a minute or more. */
const itInTurn = inTurn(2);

describe('containers on the nodes of a cluster', () => {
  const nodes = new TestNodes();
  const settings = {
    ...nodes.environment,
    SANDBOX_FIREWALL: 'required',
    DISK_QUOTA: 'off',
    MEMORY_OVERCOMMIT: '1',
    CPU_OVERCOMMIT: '100',
    ORPHAN_GRACE_SECONDS: '0',
    SWEEP_INTERVAL_SECONDS: '3',
    VOLUME_RETENTION: '10s',
  };
  let berth: Cluster;
  let api: ApiClient;
  let other: ApiClient;
  let admin: ApiClient;

  const ofRow = (dbId: string): string => `berth.container_id=${dbId}`;

  /** Where a container is, by what Docker there says. */
  async function nodeOf(dbId: string): Promise<TestNode> {
    for (const node of nodes.nodes) if ((await node.containers(ofRow(dbId)).catch(() => [])).length > 0) return node;
    throw new Error(`${dbId} is on no node`);
  }

  /** A running container on each of the nodes. */
  async function oneOnEach(): Promise<Map<string, NewContainer>> {
    const found = new Map<string, NewContainer>();
    for (let tries = 0; found.size < nodes.nodes.length && tries < 9; tries += 1) {
      const made = await api.running();
      const { name } = await nodeOf(made.db_id);
      if (found.has(name)) await api.delete(made.db_id);
      else found.set(name, made);
    }
    expect([...found.keys()].sort()).toEqual(['node1', 'node2', 'node3']);
    return found;
  }

  /** In a map of {@link oneOnEach}: that of a node, and that of the next. */
  function pick(all: Map<string, NewContainer>, node: TestNode): [NewContainer, NewContainer] {
    const [next] = [...all].filter(([name]) => name !== node.name).map(([, made]) => made);
    const own = all.get(node.name);
    if (!own || !next) throw new Error('no such container');
    return [own, next];
  }

  async function timed(work: () => Promise<Answer>): Promise<{ answer: Answer; ms: number }> {
    const before = performance.now();
    const answer = await work();
    return { answer, ms: performance.now() - before };
  }

  async function expectUnavailable(work: () => Promise<Answer>): Promise<void> {
    const { answer, ms } = await timed(work);
    expect([answer.status, answer.body['code']]).toEqual([503, 'node_unavailable']);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(ms).toBeLessThan(ANSWER_MS);
  }

  /** Row and nodes agree: one container and one volume, on one node; or nothing, if it is gone or never came to be. */
  async function expectSettled(dbId: string): Promise<void> {
    await eventually(
      async () => {
        const { status, body } = await api.get(dbId);
        const containers = (await Promise.all(nodes.nodes.map((node) => node.containers(ofRow(dbId))))).flat();
        const volumes = (await Promise.all(nodes.nodes.map((node) => node.volumes(ofRow(dbId))))).flat();
        if (status === 404 || body['status'] === 'error') {
          expect(containers).toEqual([]);
          return;
        }
        expect(['running', 'stopped']).toContain(body['status']);
        expect(containers).toEqual([{ id: body['id'], name: `berth-${dbId}`, state: expect.anything() as string }]);
        expect(containers[0]?.state === 'running').toBe(body['status'] === 'running');
        expect(volumes).toHaveLength(1);
      },
      { timeoutMs: BACK_MS },
    );
  }

  async function listedNodes(): Promise<Record<string, unknown>[]> {
    return (await admin.call('GET', '/api/admin/nodes')).body['nodes'] as Record<string, unknown>[];
  }

  async function allWell(): Promise<void> {
    await nodes.allWell();
    await eventually(
      async () => {
        const listed = await listedNodes();
        const facts = listed.map(({ state, availability, problem }) => ({ state, availability, problem }));
        expect(facts).toEqual(Array(3).fill({ state: 'reachable', availability: 'active', problem: null }));
      },
      { timeoutMs: BACK_MS },
    );
  }

  beforeAll(async () => {
    await nodes.allWell();
    berth = await Cluster.start('nodes', { processes: 2, environment: settings });
    [api, other] = (await berth.user()) as [ApiClient, ApiClient];
    [admin] = (await berth.user('pro', ['--scopes', 'read,write,admin'])) as [ApiClient];
  });

  afterAll(async () => {
    await nodes.allWell();
    const instance = berth.environment['INSTANCE_ID'] ?? '';
    await berth.stop();
    for (const node of nodes.nodes) await node.removeInstance(instance);
  });

  beforeEach(() => allWell());

  afterEach(async () => {
    await nodes.allWell();
    const listed = (await api.call('GET', '/api/containers')).body['containers'] as Record<string, unknown>[];
    for (const { db_id: id } of listed)
      await eventually(async () => expect([200, 202, 204, 404]).toContain((await api.delete(String(id))).status), {
        timeoutMs: BACK_MS,
      });
  });

  it('must be spread over them, with what each has and gives', async () => {
    await oneOnEach();
    const listed = (await admin.call('GET', '/api/admin/nodes')).body['nodes'] as Record<string, unknown>[];
    expect(listed).toMatchObject(
      ['node1', 'node2', 'node3'].map((name) => ({
        name,
        pool: 'default',
        capacity: { memory_mb: 2048 },
        used: { memory_mb: 256 },
        containers: 1,
      })),
    );
    expect((await api.call('GET', '/api/admin/nodes')).status).toBe(403);
  });

  it.each(drawn(['start', 'stop', 'update', 'delete', 'create'], 2))(
    'must be whole after their node was killed during a %s, which harms no other',
    async (verb) => {
      const all = await oneOnEach();
      const [, victim] = nodes.nodes;
      const [own, another] = pick(all, victim);
      let id = own.db_id;
      if (verb === 'start') expect((await api.stop(id)).status).toBe(200);
      // A new one is placed where there is most room.
      if (verb === 'create') {
        expect((await api.delete(id)).status).toBeLessThan(300);
        await eventually(async () => expect(await victim.containers(ofRow(id))).toEqual([]));
      }
      const calls: Record<string, () => Promise<Answer>> = {
        start: () => api.start(id),
        stop: () => api.stop(id),
        update: () => api.update(id, { name: own.name, ...SMALL, memory_mb: 512 }),
        delete: () => api.delete(id),
        create: () => api.create(),
      };
      const call = calls[verb];
      if (!call) throw new Error(`no verb ${verb}`);
      const asked = timed(call);
      // In the midst of it.
      await delay(150);
      await victim.kill();
      const { answer } = await asked;
      expect([200, 202, 204, 503]).toContain(answer.status);
      if (verb === 'create') id = String(answer.body['db_id']);
      expect((await other.stop(another.db_id)).status).toBe(200);
      expect((await other.start(another.db_id)).status).toBe(200);
      await victim.start();
      await allWell();
      await expectSettled(id);
      if (verb === 'delete' || verb === 'create') return;
      await eventually(async () => expect((await other.start(id)).status).toBe(200), { timeoutMs: BACK_MS });
      await expectSettled(id);
    },
  );

  itInTurn(
    'must keep their rows and go on when their node is cut off for half a minute; all others go on',
    async () => {
      const all = await oneOnEach();
      const [, cut] = nodes.nodes;
      const [own, another] = pick(all, cut);
      const events = await berth.record(api);
      const before = await cut.docker.getContainer(own.id).inspect();
      await cut.cut();
      await expectUnavailable(() => api.stop(own.db_id));
      await events.next('container_unreachable', { db_id: own.db_id });
      const until = performance.now() + 30_000;
      while (performance.now() < until) {
        for (const client of [api, other]) await expectUnavailable(() => client.stop(own.db_id));
        expect((await api.get(own.db_id)).body).toMatchObject({ id: own.id, status: 'running' });
        expect((await timed(() => other.stop(another.db_id))).answer.status).toBe(200);
        expect((await timed(() => api.start(another.db_id))).answer.status).toBe(200);
      }
      // What ends there behind everybody's back is found by the sweeps of the others all the while.
      await cut.heal();
      await events.next('container_reachable', { db_id: own.db_id }, BACK_MS);
      await expectSettled(own.db_id);
      const after = await cut.docker.getContainer(own.id).inspect();
      expect(after.State.StartedAt).toBe(before.State.StartedAt);
      const told = events.events
        .filter(({ data }) => 'db_id' in data && data.db_id === own.db_id)
        .map(({ type }) => type);
      expect(told).toEqual(['container_unreachable', 'container_reachable']);
      events.close();
    },
  );

  itInTurn('must be started, stopped and entered while the managers have no quorum', async () => {
    const all = await oneOnEach();
    const [left, second, third] = nodes.nodes;
    const [own] = pick(all, left);
    await Promise.all([second.kill(), third.kill()]);
    await eventually(async () => {
      const { answer } = await timed(() => api.stop(own.db_id));
      expect(answer.status).toBe(200);
    });
    expect((await other.start(own.db_id)).status).toBe(200);
    // Wherever it is placed before their end is noticed.
    const created = await api.running();
    expect((await nodeOf(created.db_id)).name).toBe(left.name);
    await Promise.all([second.start(), third.start()]);
    await allWell();
    for (const { db_id: id } of all.values()) await expectSettled(id);
  });

  itInTurn('must stay on a drained node, which takes nothing more until it is active again', async () => {
    const all = await oneOnEach();
    const [, , drained] = nodes.nodes;
    const [own] = pick(all, drained);
    const drain = await admin.call('POST', `/api/admin/nodes/${drained.name}/drain`);
    expect([drain.status, drain.body['availability']]).toEqual([200, 'drain']);
    expect((await api.get(own.db_id)).body['status']).toBe('running');
    // Another process asks the managers every five seconds, and does not wait for that.
    const placed = await Promise.all(Array.from({ length: 3 }, () => other.create()));
    expect((await other.stop(own.db_id)).status).toBe(200);
    const refused = await other.start(own.db_id);
    expect([refused.status, refused.body['code']]).toEqual([503, 'no_capacity']);
    placed.push(...(await Promise.all(Array.from({ length: 3 }, () => api.create()))));
    for (const { status, body } of placed) {
      expect(status).toBe(202);
      await eventually(async () => expect((await nodeOf(String(body['db_id']))).name).not.toBe(drained.name));
    }
    expect((await admin.call('POST', `/api/admin/nodes/${drained.name}/activate`)).status).toBe(200);
    await eventually(async () => expect((await other.start(own.db_id)).status).toBe(200));
    expect((await admin.call('POST', '/api/admin/nodes/nowhere/drain')).status).toBe(404);
  });

  itInTurn('must be on no node more than it has, of sixteen creations at once', async () => {
    for (const node of nodes.nodes) await nodes.change(node, { labels: { 'berth.memory': '512' } });
    // Servers of their own, which know the nodes as they are now.
    const full = await Cluster.start('nodes-full', { processes: 2, environment: settings });
    try {
      const [one, two] = (await full.user()) as [ApiClient, ApiClient];
      const clients = Array.from({ length: 16 }, (_none, index) => (index % 2 === 0 ? one : two));
      const answers = await Promise.all(clients.map(createdOrFull));
      const refused = answers.filter(({ status }) => status !== 202);
      const reasons = refused.map(({ status, body }) => [status, body['code']]);
      expect(reasons).toEqual(Array(refused.length).fill([503, 'no_capacity']));
      for (const { headers } of refused) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      const label = `berth.instance=${full.environment['INSTANCE_ID'] ?? ''}`;
      await eventually(
        async () => {
          const { body } = await one.call('GET', '/api/containers');
          const listed = body['containers'] as { status: string }[];
          // On a busy machine one may fail; its room is given to a later one, or to nobody.
          const failed = listed.filter(({ status }) => status === 'error').length;
          expect(answers.length - refused.length).toBeLessThanOrEqual(6 + failed);
          const counts = (await Promise.all(nodes.nodes.map((node) => node.containers(label)))).map((of) => of.length);
          for (const count of counts) expect(count).toBeLessThanOrEqual(2);
          expect(counts.reduce((sum, count) => sum + count)).toBe(listed.length - failed);
          expect(listed.length - failed).toBeGreaterThanOrEqual(6 - failed);
        },
        { timeoutMs: BACK_MS },
      );
    } finally {
      for (const node of nodes.nodes) await nodes.change(node, { labels: { 'berth.memory': '2048' } });
      await full.stop();
      for (const node of nodes.nodes) await node.removeInstance(full.environment['INSTANCE_ID'] ?? '');
    }
  });

  itInTurn('must have their data purged when their node answers again, and meanwhile on the others', async () => {
    const all = await oneOnEach();
    const [, silent] = nodes.nodes;
    const [own, another] = pick(all, silent);
    const elsewhere = await nodeOf(another.db_id);
    // The one on the silent node last, so that its retention is not over before the node is cut off.
    for (const { db_id: id } of [another, own]) expect((await api.delete(id)).status).toBeLessThan(300);
    await silent.cut();
    await eventually(async () => expect(await elsewhere.volumes(ofRow(another.db_id))).toEqual([]), {
      timeoutMs: BACK_MS,
    });
    expect(await silent.volumes(ofRow(own.db_id))).toHaveLength(1);
    await silent.heal();
    await eventually(async () => expect(await silent.volumes(ofRow(own.db_id))).toEqual([]), { timeoutMs: BACK_MS });
  });

  itInTurn(
    'must be given up with their node when an administrator says so, and what comes back be removed or theirs',
    async () => {
      const [all, more] = [await oneOnEach(), await oneOnEach()];
      const [, , lost] = nodes.nodes;
      const [own] = pick(all, lost);
      const [waiting] = pick(more, lost);
      const [volume] = await lost.volumes(ofRow(waiting.db_id));
      const forget = (): Promise<Answer> => admin.call('POST', `/api/admin/nodes/${lost.name}/forget`);
      const refused = await forget();
      expect([refused.status, refused.body['code']]).toEqual([409, 'node_reachable']);
      await lost.kill();
      await eventually(async () => expect((await forget()).status).toBe(200), { timeoutMs: 60_000 });
      await eventually(async () =>
        expect((await api.get(own.db_id)).body).toMatchObject({ status: 'error', status_reason: 'node_lost' }),
      );
      expect((await api.start(own.db_id)).status).toBe(200);
      expect((await nodeOf(own.db_id)).name).not.toBe(lost.name);
      await lost.start();
      await eventually(async () => expect(await lost.containers(ofRow(own.db_id))).toEqual([]), { timeoutMs: BACK_MS });
      await eventually(
        async () =>
          expect((await api.get(waiting.db_id)).body).toMatchObject({ status: 'stopped', node_state: 'reachable' }),
        { timeoutMs: BACK_MS },
      );
      await allWell();
      await expectSettled(own.db_id);
      expect(await lost.volumes(ofRow(own.db_id))).toEqual([]);
      expect(await lost.volumes(ofRow(waiting.db_id))).toEqual([volume]);
      expect((await api.start(waiting.db_id)).status).toBe(200);
      expect((await nodeOf(waiting.db_id)).name).toBe(lost.name);
      await expectSettled(waiting.db_id);
    },
  );
});
