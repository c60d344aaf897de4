import { Logger } from '@nestjs/common';
import { getEventListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ConfigError } from '../../config';
import { EngineError } from '../../engine';
import type { DockerEngine } from '../docker-engine';
import { ClusterNode } from './cluster-node';

const SWARM = {
  id: 'node-id',
  name: 'node-1',
  address: 'tcp://192.0.2.1:2376',
  pool: 'default',
  labels: {},
  state: 'ready',
  availability: 'active',
  isManager: false,
  version: 1,
  memoryMb: 1024,
  cpuShares: 1000,
} as const;

/** Nothing is wrong with it, but for what a test says. */
function engineOf(differs: Readonly<Record<string, unknown>> = {}): DockerEngine {
  const daemon = {
    look: () => Promise.resolve(new Date()),
    swarmNodeId: () => Promise.resolve(SWARM.id),
    close: () => undefined,
  };
  const host = {
    prepare: () => Promise.resolve(),
    landmark: () => Promise.resolve('network'),
    hasLandmark: () => Promise.resolve(true),
    maintain: () => Promise.resolve(),
  };
  const engine = {
    daemon: { ...daemon, ...differs },
    host: { ...host, ...differs },
    onApplicationShutdown: () => undefined,
  };
  return engine as unknown as DockerEngine;
}

describe('what is wrong with a node', () => {
  let node: ClusterNode | undefined;
  const reached: string[] = [];

  beforeAll(() => void Logger.overrideLogger(false));
  afterAll(() => void Logger.overrideLogger(['log', 'error', 'warn']));
  afterEach(async () => {
    await node?.stop();
    reached.splice(0);
  });

  async function start(engine: DockerEngine): Promise<{ problem: string | null; isReachable: boolean }> {
    node = new ClusterNode(SWARM, engine, { onReachable: ({ name }) => void reached.push(name) });
    await node.start('test', 'this process');
    return node.view();
  }

  it('must be nothing where it answers', async () => {
    expect(await start(engineOf())).toMatchObject({ problem: null, isReachable: true });
    expect(reached).toEqual(['node-1']);
  });

  it.each<[string, () => Promise<never>, RegExp]>([
    [
      'a Docker without gVisor',
      () => Promise.reject(new ConfigError('SANDBOX_RUNTIME: Docker has no runtime runsc')),
      /^SANDBOX_RUNTIME: Docker has no runtime runsc$/,
    ],
    [
      'a firewall that cannot be made',
      () => Promise.reject(new EngineError('docker_error', 'no image of the firewall')),
      /no image of the firewall$/,
    ],
  ])('must be told as it is: %s', async (_what, prepare, problem) => {
    const view = await start(engineOf({ prepare }));
    expect(view).toMatchObject({ isReachable: false, problem: expect.stringMatching(problem) as string });
    expect(reached).toEqual([]);
  });

  it.each([
    [45_000, "its clock is 45 s off this machine's"],
    [-120_000, "its clock is -120 s off this machine's"],
    [20_000, null],
  ])('must be told of a clock that is %d ms ahead', async (skewMs, problem) => {
    const view = await start(engineOf({ look: () => Promise.resolve(new Date(Date.now() + skewMs)) }));
    // What runs there can be reached all the same.
    expect(view).toMatchObject({ isReachable: true, problem });
  });

  it.each([
    ['another-id', 'the Docker at tcp://192.0.2.1:2376 is another-id, not this node'],
    [null, 'the Docker at tcp://192.0.2.1:2376 is in no Swarm, not this node'],
  ])('must be told where another one has its address: %s', async (id, problem) => {
    const view = await start(engineOf({ swarmNodeId: () => Promise.resolve(id) }));
    expect(view).toMatchObject({ isReachable: false, problem });
  });
});

it('what is asked of two nodes must fail with the name of the one that does not answer', async () => {
  Logger.overrideLogger(false);
  const [from, to] = ['source', 'target'].map(
    (name) => new ClusterNode({ ...SWARM, name }, engineOf(), { onReachable: () => undefined }),
  );
  if (!from || !to) throw new Error('there are two');
  await Promise.all([from.start('test', 'this process'), to.start('test', 'this process')]);
  const gone = new EngineError('docker_unavailable', 'it is gone');
  const copied = from.call(() => to.call(() => Promise.reject(gone)));
  await expect(copied).rejects.toThrow(/^the node target does not answer: it is gone$/);
  await Promise.all([from.stop(), to.stop()]);
  Logger.overrideLogger(['log', 'error', 'warn']);
});

it('any number of calls must wait for one node, and Node.js not take that for a leak', async () => {
  Logger.overrideLogger(false);
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  const node = new ClusterNode(SWARM, engineOf(), { onReachable: () => undefined });
  await node.start('test', 'this process');
  const calls = Array.from({ length: 100 }, () => node.call(() => new Promise<never>(() => undefined)));
  const { signal } = node;
  expect(getEventListeners(signal, 'abort')).toHaveLength(100);
  // Warnings are emitted in the next turn.
  await nextTurn();
  const ended = Promise.allSettled(calls);
  await node.stop();
  const answers = new Set((await ended).map((call) => (call.status === 'rejected' ? String(call.reason) : 'answered')));
  expect([...answers]).toEqual(['EngineError: the node node-1 does not answer']);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  process.off('warning', note);
  Logger.overrideLogger(['log', 'error', 'warn']);
  expect(warnings).toEqual([]);
});

describe('a ping that a node does not answer in time', () => {
  const late = new EngineError('docker_unavailable', 'Docker did not answer within 50 ms');
  const timing = { pingEveryMs: 1, pingMs: 50, retryEveryMs: 60_000, maintainMs: 50 };

  beforeAll(() => void Logger.overrideLogger(false));
  afterAll(() => void Logger.overrideLogger(['log', 'error', 'warn']));

  /**
   * @param pings after the first; all further ones are answered
   * @param isAnswered whether other calls are answered meanwhile
   */
  async function afterPings(pings: readonly ('late' | 'answered')[], isAnswered: boolean): Promise<boolean> {
    const left = [...pings];
    let isOver = (): void => undefined;
    const over = new Promise<void>((resolve) => (isOver = resolve));
    const look = jest.fn<Promise<Date>, []>(() => {
      if (look.mock.calls.length === 1) return Promise.resolve(new Date());
      const ping = left.shift();
      if (ping === undefined) isOver();
      if (isAnswered) engine.daemon.answeredAt = performance.now() + 1;
      return ping === 'late' ? Promise.reject(late) : Promise.resolve(new Date());
    });
    const engine = engineOf({ look, answeredAt: -Infinity });
    const node = new ClusterNode(SWARM, engine, { onReachable: () => undefined, timing });
    await node.start('test', 'this process');
    // A silent node is not pinged again.
    await Promise.race([over, new Promise((resolve) => node.signal.addEventListener('abort', resolve))]);
    const { isReachable } = node;
    await node.stop();
    return isReachable;
  }

  it('makes the node silent if no other call was answered meanwhile', async () => {
    expect(await afterPings(['answered', 'late'], false)).toBe(false);
  });

  it('is repeated if other calls were answered meanwhile', async () => {
    expect(await afterPings(['late', 'answered', 'late', 'answered'], true)).toBe(true);
  });

  it('makes the node silent the second time, though other calls were answered', async () => {
    expect(await afterPings(['answered', 'late', 'late'], true)).toBe(false);
  });
});
