import { type Answer, ApiClient, type NewContainer, SMALL } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { DESCRIBE_FILES, MAKE_DIFFICULT_FILES } from '../support/docker/difficult-files';
import type { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { inTurn, itDrawn } from '../support/extent';
import { TestNodes, type TestNode } from '../support/docker/test-nodes';
import { SANDBOX_IMAGE } from '../support/docker/volume-workbench';

jest.setTimeout(400_000);

/** Until a node that is back is used again, and what was under way there is finished. */
const BACK_MS = 120_000;

/** Takes some seconds from node to node. */
const MAKE_LARGE = `system q{head -c 400000000 /dev/urandom >/d/large; sha256sum /d/large >/d/sum; sync};`;
const CHECK_LARGE = `print system('cd /; sha256sum --status -c /d/sum') == 0 ? 'whole' : 'broken'`;

const WRITE_OUTSIDE = 'echo tool >/etc/outside; rm /etc/group';
const READ_OUTSIDE = 'cat /etc/outside; [ -e /etc/group ] || echo gone';
const OUTSIDE = 'tool\ngone\n';

/** Each takes half a minute or more. */
const itInTurn = inTurn(2);

describe('a container that is moved from node to node', () => {
  const nodes = new TestNodes();
  let berth: Cluster;
  let api: ApiClient;
  let other: ApiClient;
  let admin: ApiClient;
  let otherAdmin: ApiClient;
  let made: NewContainer;
  let events: EventRecorder;
  let source: TestNode;
  let target: TestNode;

  const ofRow = (dbId = made.db_id): string => `berth.container_id=${dbId}`;

  beforeAll(async () => {
    await nodes.allWell();
    berth = await Cluster.start('moves', {
      processes: 2,
      environment: {
        ...nodes.environment,
        SANDBOX_FIREWALL: 'required',
        DISK_QUOTA: 'off',
        MEMORY_OVERCOMMIT: '1',
        CPU_OVERCOMMIT: '100',
        ORPHAN_GRACE_SECONDS: '0',
        SWEEP_INTERVAL_SECONDS: '3',
        STOP_GRACE_SECONDS: '1',
      },
    });
    [api, other] = (await berth.user()) as [ApiClient, ApiClient];
    [admin, otherAdmin] = (await berth.user('pro', ['--scopes', 'read,write,admin'])) as [ApiClient, ApiClient];
  });

  afterAll(async () => {
    await nodes.allWell();
    const instance = berth.environment['INSTANCE_ID'] ?? '';
    await berth.stop();
    for (const node of nodes.nodes) await node.removeInstance(instance);
  });

  beforeEach(async () => {
    await allWell();
    made = await other.running();
    source = await nodeOf();
    target = nodes.nodes.find((node) => node !== source) ?? source;
    events = await berth.record(other);
  });

  afterEach(async () => {
    events.close();
    await allWell();
    await eventually(async () => expect((await other.delete(made.db_id)).status).toBe(200), { timeoutMs: BACK_MS });
  });

  /** Breaks the node that a container is moved from, while its data is copied. */
  async function breakSource({ by, until }: Readonly<Record<'by' | 'until', () => Promise<void>>>): Promise<void> {
    await perl(source, MAKE_LARGE);
    const moving = move(admin, target);
    await untilCopied(22);
    await by();
    expect((await moving).body['code']).toBe('node_unavailable');
    expect((await other.start(made.db_id)).body['code']).toBe('node_unavailable');
    await until();
    await expectOn(source, 'running');
    expect(await perl(source, CHECK_LARGE)).toBe('whole');
  }

  it('must have there whatever a file can be, to the nanosecond', async () => {
    await perl(source, MAKE_DIFFICULT_FILES);
    const before = await perl(source, DESCRIBE_FILES);
    expect(before.split('\n').length).toBeGreaterThan(50);
    const moved = await move(admin, target);
    expect([moved.status, moved.body]).toMatchObject([200, { node: target.name, restarted: true, status: 'running' }]);
    expect(await perl(target, DESCRIBE_FILES)).toBe(before);
    await expectOn(target, 'running');
    const { data } = await events.next('container_moved', { db_id: made.db_id });
    expect(data).toMatchObject({ old_id: made.id, id: moved.body['id'] });
    // And back, at rest, by the other server.
    expect((await other.stop(made.db_id)).status).toBe(200);
    expect((await move(otherAdmin, source)).body).toMatchObject({ node: source.name, restarted: false });
    expect(await perl(source, DESCRIBE_FILES)).toBe(before);
    await expectOn(source, 'stopped');
    expect((await other.start(made.db_id)).body).not.toHaveProperty('recreated');
    expect(await perl(source, DESCRIBE_FILES)).toBe(before);
  });

  it('must have what was written outside its home, again and again, and leave no image behind', async () => {
    await source.exec(made.id, ['sh', '-c', WRITE_OUTSIDE]);
    for (const node of [target, ...nodes.nodes.filter((each) => each !== source && each !== target)]) {
      const { status, body } = await move(admin, node);
      expect([status, body]).toMatchObject([200, { node: node.name, restarted: true, root_kept: true }]);
      expect(await node.exec(String(body['id']), ['sh', '-c', READ_OUTSIDE])).toBe(OUTSIDE);
      await expectOn(node, 'running');
      expect(await layersOn(source, made.db_id)).toEqual([]);
    }
  });

  itInTurn('must be created from a snapshot of a node that takes nothing, and return to one from another', async () => {
    await source.exec(made.id, ['sh', '-c', `${WRITE_OUTSIDE}; echo data >/home/user/data`]);
    const { body: taken } = await other.call('POST', `/api/containers/${made.db_id}/snapshots`, {});
    const snapshot = String(taken['id']);
    expect((await other.call('GET', `/api/snapshots/${snapshot}/wait?timeout=60`)).body).toMatchObject({ root: true });
    const drain = await admin.call('POST', `/api/admin/nodes/${source.name}/drain`);
    expect(drain.status).toBe(200);
    const { body: copy } = await api.call('POST', '/api/containers', { snapshot, ...SMALL });
    const copyId = String(copy['db_id']);
    const waited = await api.call('GET', `/api/containers/${copyId}/wait?status=running&timeout=120`);
    expect(waited.status).toBe(200);
    const at = await nodeOf(copyId);
    expect(at).not.toBe(source);
    const read = ['sh', '-c', `${READ_OUTSIDE}; cat /home/user/data`];
    expect(await at.exec(String(waited.body['id']), read)).toBe(`${OUTSIDE}data\n`);
    expect(await layersOn(at, copyId)).toEqual([`berth/layer:${copyId}-g0`]);
    expect(await layersOn(source, snapshot)).toEqual([`berth/layer:${snapshot}`]);

    const moved = await move(admin, target);
    await target.exec(String(moved.body['id']), ['sh', '-c', 'rm /etc/outside /home/user/data']);
    const path = `/api/containers/${made.db_id}/restore-snapshot`;
    const restored = await other.call('POST', path, { snapshot, keep: false });
    expect(restored).toMatchObject({ status: 200, body: { status: 'running' } });
    expect(await target.exec(String(restored.body['id']), read)).toBe(`${OUTSIDE}data\n`);
    await expectOn(target, 'running');
    expect((await api.delete(copyId)).status).toBe(200);
    expect((await other.call('DELETE', `/api/snapshots/${snapshot}`)).status).toBe(200);
    expect((await admin.call('POST', `/api/admin/nodes/${source.name}/activate`)).status).toBe(200);
  });

  itDrawn(2, {
    'must run where it was, whole, if the other node is killed while its layer is copied': async () => {
      await source.exec(made.id, ['sh', '-c', `${WRITE_OUTSIDE}; head -c 300000000 /dev/urandom >/etc/large; sync`]);
      const moving = move(admin, target);
      // The image has its name once it is committed, and until it is copied.
      await eventually(async () => expect(await layersOn(source, made.db_id)).toHaveLength(1), { timeoutMs: 60_000 });
      await target.kill();
      expect((await moving).body['code']).toBe('node_unavailable');
      await eventually(async () => expect((await other.get(made.db_id)).body['status']).toBe('running'));
      expect(await source.exec(made.id, ['sh', '-c', READ_OUTSIDE])).toBe(OUTSIDE);
      await target.start();
      await expectOn(source, 'running');
    },
    'must run where it was, whole, if the other node is killed while its data is copied': async () => {
      await perl(source, MAKE_LARGE);
      const moving = move(admin, target);
      await untilCopied(22);
      await target.kill();
      expect((await moving).body['code']).toBe('node_unavailable');
      // A rollback that meets the node's death itself is made again.
      await eventually(async () => expect((await other.get(made.db_id)).body['status']).toBe('running'));
      expect(await perl(source, CHECK_LARGE)).toBe('whole');
      await target.start();
      await expectOn(source, 'running');
    },
    'must run where it was, whole, if that node is killed while its data is copied, once it is back': () =>
      breakSource({ by: () => source.kill(), until: () => source.start() }),
    'must run where it was, whole, if that node is cut off while its data is copied, once it is back': () =>
      breakSource({ by: () => source.cut(), until: () => source.heal() }),
  });

  itInTurn(
    'must be taken back by another process if the one that moves it is killed while its data is copied',
    async () => {
      await perl(source, MAKE_LARGE);
      const moving = move(admin, target).catch(() => null);
      await untilCopied(22);
      const [doomed] = berth.servers;
      await doomed.kill();
      expect(await moving).toBeNull();
      await expectOn(source, 'running');
      expect(await perl(source, CHECK_LARGE)).toBe('whole');
      expect((await move(otherAdmin, target)).body).toMatchObject({ node: target.name, restarted: true });
      await expectOn(target, 'running');
      expect(await perl(target, CHECK_LARGE)).toBe('whole');
      await doomed.start();
      // On another port.
      api = new ApiClient(doomed.url, api.token);
      admin = new ApiClient(doomed.url, admin.token);
    },
  );

  itInTurn('must have moved if the node that it left falls silent, which is cleaned up when it is back', async () => {
    const moving = move(admin, target);
    await events.next('container_moved', { db_id: made.db_id });
    await source.cut();
    expect((await moving).status).toBe(200);
    expect((await other.stop(made.db_id)).status).toBe(200);
    expect((await other.start(made.db_id)).status).toBe(200);
    await source.heal();
    await expectOn(target, 'running');
  });

  itInTurn('must be moved with all others from a node that is drained so', async () => {
    const others: NewContainer[] = [];
    const instance = `berth.instance=${berth.environment['INSTANCE_ID'] ?? ''}`;
    while ((await source.containers(instance)).length < 3 && others.length < 9) others.push(await other.running());
    await perl(source, MAKE_DIFFICULT_FILES);
    const before = await perl(source, DESCRIBE_FILES);
    const drain = await admin.call('POST', `/api/admin/nodes/${source.name}/drain`, { move: true });
    expect(drain).toMatchObject({ status: 200, body: { availability: 'drain' } });
    await eventually(
      async () => {
        const { body } = await otherAdmin.call('GET', '/api/admin/nodes');
        const listed = body['nodes'] as { name: string; evacuation: object | null }[];
        const { evacuation } = listed.find(({ name }) => name === source.name) ?? {};
        expect(evacuation).toMatchObject({ left: 0, not_moved: [] });
        expect(await source.containers(instance)).toEqual([]);
      },
      { timeoutMs: 200_000 },
    );
    const now = await nodeOf();
    await expectOn(now, 'running');
    expect(await perl(now, DESCRIBE_FILES)).toBe(before);
    expect((await admin.call('POST', `/api/admin/nodes/${source.name}/activate`)).status).toBe(200);
    for (const { db_id: id } of others) expect((await other.delete(id)).status).toBe(200);
  });

  /** Asks again as long as the process has not heard of the node itself: there is room on each. */
  async function move(by: ApiClient, node: TestNode): Promise<Answer> {
    for (;;) {
      const answer = await by.call('POST', `/api/admin/containers/${made.db_id}/move`, { node: node.name });
      if (answer.body['code'] !== 'no_capacity') return answer;
    }
  }

  /** Where it is, by what Docker there says. */
  async function nodeOf(dbId?: string): Promise<TestNode> {
    for (const node of nodes.nodes) if ((await node.containers(ofRow(dbId))).length > 0) return node;
    throw new Error('it is on no node');
  }

  /** The names of the images there that are made of writable layers, and named after this container or snapshot. */
  async function layersOn({ docker }: TestNode, of: string): Promise<string[]> {
    const filters = { label: [`berth.layer=${berth.environment['INSTANCE_ID'] ?? ''}`] };
    const names = (await docker.listImages({ filters })).flatMap(({ RepoTags }) => RepoTags ?? []);
    return names.filter((name) => name.includes(of));
  }

  /** Until the progress of its move is as far. */
  async function untilCopied(percent: number): Promise<void> {
    await eventually(
      () => {
        const told = events.events.flatMap(({ data }) =>
          'progress' in data && data.stage === 'move' ? data.progress : [],
        );
        expect(Math.max(0, ...told)).toBeGreaterThanOrEqual(percent);
      },
      { timeoutMs: 200_000 },
    );
  }

  /** One container and one volume, on this node. */
  async function expectOn(node: TestNode, status: 'running' | 'stopped'): Promise<void> {
    await eventually(
      async () => {
        const { body } = await other.get(made.db_id);
        expect(body).toMatchObject({ status, node_state: 'reachable' });
        for (const each of nodes.nodes) {
          const containers = await each.containers(ofRow());
          const volumes = await each.volumes(ofRow());
          const isHere = each === node;
          expect([each.name, containers.map(({ id, state }) => [id, state === 'running']), volumes.length]).toEqual([
            each.name,
            isHere ? [[body['id'], status === 'running']] : [],
            isHere ? 1 : 0,
          ]);
        }
      },
      { timeoutMs: BACK_MS },
    );
  }

  /** Runs a program in Perl as root, with the container's volume at `/d`. */
  async function perl(node: TestNode, program: string): Promise<string> {
    const [volume] = await node.volumes(ofRow());
    const { docker } = node;
    const container = await docker.createContainer({
      Image: SANDBOX_IMAGE,
      Entrypoint: ['sleep', 'infinity'],
      Cmd: [],
      HostConfig: { Runtime: 'runc', NetworkMode: 'none', Binds: [`${volume ?? ''}:/d:nocopy`], Init: true },
    });
    try {
      await container.start();
      const printed = await node.exec(container.id, ['perl', '-e', program]);
      if (/ at -e line \d+/.test(printed)) throw new Error(printed);
      return printed;
    } finally {
      await container.remove({ force: true });
    }
  }

  async function allWell(): Promise<void> {
    await nodes.allWell();
    await eventually(
      async () => {
        for (const by of [admin, otherAdmin]) {
          const listed = (await by.call('GET', '/api/admin/nodes')).body['nodes'] as Record<string, unknown>[];
          const facts = listed.map(({ state, availability, problem }) => ({ state, availability, problem }));
          expect(facts).toEqual(Array(3).fill({ state: 'reachable', availability: 'active', problem: null }));
        }
      },
      { timeoutMs: BACK_MS },
    );
  }
});
