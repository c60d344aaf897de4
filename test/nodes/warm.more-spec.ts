import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiClient, SMALL, testImage } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { TestNodes } from '../support/docker/test-nodes';
import { eventually } from '../support/eventually';

jest.setTimeout(400_000);

const MADE = { timeoutMs: 120_000 };

describe('warm slots on several nodes', () => {
  const nodes = new TestNodes();
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
  let berth: Cluster;
  let clients: readonly ApiClient[];
  let admin: ApiClient;
  let instance: string;

  beforeAll(async () => {
    await nodes.allWell();
    const file = join(folder, 'slots.json');
    const slot = { image: testImage(), tier: 'enterprise', ...SMALL, count: nodes.nodes.length };
    writeFileSync(file, JSON.stringify({ slots: [slot] }));
    berth = await Cluster.start('warm-nodes', {
      processes: 2,
      environment: { ...nodes.environment, WARM_POOL: file, WARM_POOL_MEMORY_MB: '4096', DISK_QUOTA: 'off' },
    });
    instance = berth.environment['INSTANCE_ID'] ?? '';
    clients = await berth.user();
    [admin] = (await berth.user('pro', ['--scopes', 'read,admin'])) as [ApiClient, ApiClient];
  });

  afterAll(async () => {
    await nodes.allWell();
    await berth.stop();
    for (const node of nodes.nodes) await node.removeInstance(instance);
    rmSync(folder, { recursive: true });
  });

  /** The Docker ids of the slots on each node, once all are ready and `expected` holds of their numbers. */
  const ready = (expected: (counts: readonly number[]) => void): Promise<string[][]> =>
    eventually(async () => {
      const { body } = await admin.call('GET', '/api/admin/warm');
      expect(body['slots']).toMatchObject([{ ready: nodes.nodes.length, making: 0, releasing: 0 }]);
      const listed = await Promise.all(nodes.nodes.map((node) => node.containers(`berth.instance=${instance}`)));
      const taken = (await clients[0]?.call('GET', '/api/containers'))?.body['containers'] as { id: string }[];
      const slots = listed.map((there) => there.map(({ id }) => id).filter((id) => !taken.some((of) => of.id === id)));
      expected(slots.map(({ length }) => length));
      return slots;
    }, MADE);

  it('must be ready on each, be taken once each through any process, and leave a node that is drained', async () => {
    const onEach = (counts: readonly number[]): void => expect(counts).toEqual([1, 1, 1]);
    const slots = await ready(onEach);
    const answers = await Promise.all(slots.map(async (_none, at) => clients[at % clients.length]?.create()));
    expect(answers.map((answer) => answer?.body['status'])).toEqual(slots.map(() => 'running'));
    expect(new Set(answers.map((answer) => answer?.body['id']))).toEqual(new Set(slots.flat()));
    await ready(onEach);
    const drained = nodes.nodes[0].name;
    expect((await admin.call('POST', `/api/admin/nodes/${drained}/drain`)).status).toBe(200);
    try {
      const left = await ready(([there, ...others]) => {
        expect(there).toBe(0);
        expect(others).toEqual(expect.arrayContaining([1, 2]));
      });
      const next = await clients[1]?.create();
      expect(left.flat()).toContain(next?.body['id']);
    } finally {
      await admin.call('POST', `/api/admin/nodes/${drained}/activate`);
    }
  });
});
