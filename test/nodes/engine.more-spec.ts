import { randomUUID } from 'node:crypto';
import { parseConfig } from '../../src/config';
import { EngineCalls, EngineError, type EngineNode, layerImage, type WatchMessage } from '../../src/engine';
import type { ClusterEngine } from '../../src/docker/cluster/cluster-engine';
import { clusterEngine } from '../../src/docker/cluster/cluster-settings';
import { eventually } from '../support/eventually';
import { itDrawn } from '../support/extent';
import { smallestSpec } from '../support/docker/smallest-spec';
import { TestNodes, type TestNode } from '../support/docker/test-nodes';

jest.setTimeout(300_000);

/** Within which what is asked of a node that is silent is answered. */
const ANSWER_MS = 5_500;

const codeOf = (error: unknown): string => (error instanceof EngineError ? error.code : String(error));

describe('the engine of a cluster', () => {
  const cluster = new TestNodes();
  const [first, second, third] = cluster.nodes;
  const instance = `test-${randomUUID().slice(0, 8)}`;
  const watching = new AbortController();
  const told: WatchMessage[] = [];
  let engine: ClusterEngine;
  let watched: Promise<void>;
  /** A running sandbox a node, by its name. */
  const sandboxes = new Map<string, string>();

  const idOf = ({ name }: TestNode): string => engine.nodes.list().find((node) => node.name === name)?.id ?? '';
  const on = ({ name }: TestNode): string => sandboxes.get(name) ?? '';
  const isReachable = ({ name }: TestNode): boolean =>
    engine.nodes.list().find((node) => node.name === name)?.isReachable === true;
  const stateOf = async (node: TestNode): Promise<string | undefined> =>
    (await engine.containers.inspect(on(node)))?.state;

  async function running(node: TestNode): Promise<string> {
    const wanted = smallestSpec({ instance, node: idOf(node) });
    const { volumeName: name, diskMb, owner } = wanted;
    await engine.volumes.ensure({ name, diskMb, owner, node: idOf(node) });
    const engineId = await engine.containers.create(wanted);
    await engine.containers.start(engineId);
    return engineId;
  }

  /** Rejects with `node_unavailable`, and soon. */
  async function expectUnavailable(work: () => Promise<unknown>): Promise<void> {
    const before = performance.now();
    await expect(work()).rejects.toMatchObject({ code: 'node_unavailable' });
    expect(performance.now() - before).toBeLessThan(ANSWER_MS);
  }

  /** Lists name who is silent, and have all of the others. */
  async function expectListed(silent: readonly TestNode[]): Promise<void> {
    const before = performance.now();
    const listed = await engine.containers.list({ instance });
    expect(performance.now() - before).toBeLessThan(ANSWER_MS);
    expect([...listed.silent].sort()).toEqual(silent.map(idOf).sort());
    const answering = cluster.nodes.filter((node) => !silent.includes(node));
    expect(listed.items.map(({ engineId }) => engineId).sort()).toEqual(answering.map(on).sort());
  }

  async function untilAllAnswer(): Promise<void> {
    await cluster.allWell();
    await eventually(() => expect(engine.nodes.list().filter((node) => node.isReachable)).toHaveLength(3), {
      timeoutMs: 90_000,
    });
  }

  beforeAll(async () => {
    await cluster.allWell();
    const made = clusterEngine(
      parseConfig({
        ...cluster.environment,
        DATABASE_URL: process.env['DATABASE_URL'],
        SECRETS_KEY: process.env['SECRETS_KEY'],
        SANDBOX_RUNTIME: 'runsc',
        SANDBOX_FIREWALL: 'required',
        DISK_QUOTA: 'off',
        DOCKER_TIMEOUT_SECONDS: '30',
      }),
      new EngineCalls(),
    );
    if (!made) throw new Error('the settings name no cluster');
    engine = made;
    await engine.host.prepare(instance);
    await untilAllAnswer();
    for (const node of cluster.nodes) sandboxes.set(node.name, await running(node));
    watched = (async () => {
      for await (const message of engine.containers.watch(instance, watching.signal)) told.push(message);
    })();
  });

  afterAll(async () => {
    watching.abort();
    await watched;
    await cluster.allWell();
    for (const node of cluster.nodes) await node.removeInstance(instance);
    await engine.onApplicationShutdown();
  });

  beforeEach(() => untilAllAnswer());

  it('must know the nodes by what the Swarm and their labels say', () => {
    const facts = ({ name, address, pool, state, availability, isManager, memoryMb, problem }: EngineNode): object => {
      return { name, address, pool, state, availability, isManager, memoryMb, problem };
    };
    const alike = { pool: 'default', state: 'ready', availability: 'active', isManager: true, problem: null };
    const wanted = cluster.nodes.map(({ name, host }) => ({ name, address: host, ...alike, memoryMb: 2048 }));
    const known = [...engine.nodes.list()].sort((a, b) => a.name.localeCompare(b.name));
    expect(known.map(facts)).toEqual(wanted);
    expect(engine.host.capabilities).toMatchObject({
      runtime: 'runsc',
      hostFirewall: 'enforced',
      allowLists: 'enforced',
    });
  });

  it('must run what it is asked on the node that the id names', async () => {
    for (const node of cluster.nodes) {
      let said = '';
      const request = { command: ['cat', '/proc/version'], timeoutMs: 20_000, maxOutputBytes: 4096 };
      const onOutput = ({ data }: { data: Buffer }): void => void (said += data.toString());
      expect(await engine.programs.run(on(node), { ...request, onOutput })).toMatchObject({ exitCode: 0 });
      expect(said).toMatch(/^Linux version/);
      expect(await node.containers(`berth.instance=${instance}`)).toMatchObject([{ state: 'running' }]);
    }
    await expectListed([]);
  });

  it('must copy the image of a layer from node to node, again and again, and leave its name nowhere else', async () => {
    const engineId = on(first);
    await first.exec(engineId.split('/')[1] ?? '', ['sh', '-c', 'head -c 3000000 /dev/urandom >/etc/large']);
    await engine.containers.stop(engineId, 1);
    for (let round = 0; round < 8; round += 1) {
      const committed = layerImage(instance, round);
      const { imageId } = await engine.layers.commit({ engineId, reference: committed, mostBytes: Infinity });
      let [from, to] = [first, second];
      for (const next of [third, first, second]) {
        const reference = layerImage(`${instance}-to-${to.name}`, round);
        await engine.nodes.copyLayer({ imageId, reference, node: idOf(from), toNode: idOf(to) });
        expect(await engine.images.find(reference, idOf(to))).toMatchObject({ id: imageId });
        expect(await engine.images.find(reference, idOf(from))).toBeNull();
        [from, to] = [to, next];
      }
    }
    expect(await engine.containers.start(engineId)).toBe('started');
    for (const { reference, imageId: id, node = null } of (await engine.layers.list({ instance })).items)
      expect(await engine.images.remove({ reference, id, node })).toBe('removed');
    expect((await engine.layers.list({ instance })).items).toEqual([]);
    const missing = { imageId: `sha256:${'f'.repeat(64)}`, reference: layerImage(instance, 0) };
    const copying = engine.nodes.copyLayer({ ...missing, node: idOf(first), toNode: idOf(second) });
    await expect(copying).rejects.toMatchObject({ code: 'image_not_found' });
  });

  it('must answer at once for a node that was killed, go on with the others, and have all again', async () => {
    const before = await engine.containers.inspect(on(third));
    await third.kill();
    await eventually(() => expect(isReachable(third)).toBe(false), { timeoutMs: ANSWER_MS });
    await expectUnavailable(() => engine.containers.inspect(on(third)));
    await expectUnavailable(() => engine.containers.stop(on(third), 1));
    await expectUnavailable(() => engine.containers.create(smallestSpec({ instance, node: idOf(third) })));
    await expectListed([third]);
    expect(await engine.containers.stop(on(first), 1)).toBe('stopped');
    expect(await engine.containers.start(on(first))).toBe('started');
    const seen = told.length;
    await third.start();
    await eventually(() => expect(isReachable(third)).toBe(true), { timeoutMs: 60_000 });
    // Whoever watches looks at all of the node then.
    await eventually(() => expect(told.slice(seen)).toContainEqual({ kind: 'connected', node: idOf(third) }));
    await eventually(async () => expect(await stateOf(third)).toBe('running'), { timeoutMs: 60_000 });
    expect((await engine.containers.inspect(on(third)))?.engineId).toBe(before?.engineId);
    await expectListed([]);
  });

  it('must end what is under way when a node is killed: a start, a stop, a command', async () => {
    const victim = await running(second);
    const request = { command: ['sleep', '300'], timeoutMs: 300_000, maxOutputBytes: 1024 };
    const command = engine.programs.run(victim, request).then(() => 'ended', codeOf);
    await eventually(async () => expect(await second.exec(victim.split('/')[1] ?? '', ['ps'])).toContain('sleep 300'));
    const stop = engine.containers.stop(victim, 30).then(() => 'stopped', codeOf);
    const before = performance.now();
    await second.kill();
    expect(['node_unavailable', 'container_not_running', 'docker_unavailable']).toContain(await command);
    expect(['node_unavailable', 'stopped']).toContain(await stop);
    expect(performance.now() - before).toBeLessThan(2 * ANSWER_MS);
    await second.start();
    await eventually(() => expect(isReachable(second)).toBe(true), { timeoutMs: 60_000 });
    await engine.containers.remove(victim);
    expect(await engine.containers.inspect(victim)).toBeNull();
  });

  itDrawn(1, {
    'must answer within five seconds for a node that is cut off, for half a minute, and go on as it was': async () => {
      const before = await second.docker.getContainer(on(second).split('/')[1] ?? '').inspect();
      await second.cut();
      // Also what is asked before anybody knows.
      await expectUnavailable(() => engine.containers.inspect(on(second)));
      const until = performance.now() + 30_000;
      let rounds = 0;
      while (performance.now() < until) {
        await expectUnavailable(() => engine.containers.start(on(second)));
        await expectListed([second]);
        expect(await stateOf(first)).toBe('running');
        rounds += 1;
      }
      expect(rounds).toBeGreaterThan(4);
      const seen = told.length;
      await second.heal();
      await eventually(() => expect(isReachable(second)).toBe(true), { timeoutMs: 20_000 });
      await eventually(() => expect(told.slice(seen)).toContainEqual({ kind: 'connected', node: idOf(second) }));
      const after = await second.docker.getContainer(before.Id).inspect();
      expect(after.State.StartedAt).toBe(before.State.StartedAt);
      expect(await engine.containers.stop(on(second), 1)).toBe('stopped');
      expect(await engine.containers.start(on(second))).toBe('started');
      await eventually(() =>
        expect(
          told
            .slice(seen)
            .filter((message) => message.kind === 'event')
            .map(({ event }) => event.engineId),
        ).toContain(on(second)),
      );
    },
    'must go on without a quorum: on the node that is left, everything; of the nodes, what was known': async () => {
      const names = (): string[] =>
        engine.nodes
          .list()
          .map(({ name }) => name)
          .sort();
      await Promise.all([second.kill(), third.kill()]);
      await eventually(() => expect([isReachable(second), isReachable(third)]).toEqual([false, false]));
      expect(await engine.containers.stop(on(first), 1)).toBe('stopped');
      expect(await engine.containers.start(on(first))).toBe('started');
      const another = await running(first);
      await engine.containers.remove(another);
      expect(names()).toEqual(['node1', 'node2', 'node3']);
      expect(isReachable(first)).toBe(true);
      await Promise.all([second.start(), third.start()]);
      await untilAllAnswer();
      for (const node of [second, third])
        await eventually(async () => expect(await stateOf(node)).toBe('running'), { timeoutMs: 60_000 });
    },
  });

  it('must drain and activate a node, and see that somebody else did', async () => {
    const availability = (): string | undefined =>
      engine.nodes.list().find(({ name }) => name === third.name)?.availability;
    await engine.nodes.setAvailability(idOf(third), 'drain');
    expect(availability()).toBe('drain');
    expect(await stateOf(third)).toBe('running');
    await cluster.change(third, { availability: 'active' });
    await eventually(() => expect(availability()).toBe('active'));
  });
});
