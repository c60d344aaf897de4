import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WarmSlots } from '../../src/containers/rows/warm-slots';
import { SlotMaker } from '../../src/containers/warm/slot-maker';
import { WarmWants } from '../../src/containers/warm/warm-wants';
import { NodeWatch } from '../../src/containers/nodes/node-watch';
import { NodeEntity } from '../../src/containers/model/node.entity';
import { Database } from '../../src/database';
import { WarmFiller } from '../../src/containers/warm/warm-filler';
import type { WarmSlot } from '../../src/containers/model/warm-slot.entity';
import { Poll } from '../../src/scheduling';
import { SMALL, testImage } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { FakeCluster } from '../support/fakes/fake-cluster';
import { Berth, type TestUser } from '../support/servers/berth';

describe('warm slots on several machines', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
  const file = join(folder, 'slots.json');
  let cluster: FakeCluster;
  let berth: Berth;
  let operator: TestUser;
  let user: TestUser;

  async function start(...slots: readonly { count: number; nodes?: readonly string[] }[]): Promise<void> {
    const each = { image: testImage(), tier: 'enterprise', ...SMALL };
    writeFileSync(file, JSON.stringify({ slots: slots.map((slot) => ({ ...each, ...slot })) }));
    cluster = new FakeCluster(['one', 'two']);
    const pool = { WARM_POOL: file, WARM_POOL_MEMORY_MB: '1024' };
    const environment = { INSTANCE_ID: 'warm-nodes', SWEEP_INTERVAL_SECONDS: '3600', ...pool };
    berth = await Berth.start({ engine: cluster.engine(), environment });
    Object.assign(berth.app.get(SlotMaker), { watchMs: 0 });
    berth.app.get<{ poll: Poll }>(WarmFiller).poll.stop();
    operator = await berth.user('pro', ['admin', 'read']);
    user = await berth.user('enterprise');
    await filled();
  }

  afterEach(async () => {
    for (const { daemon } of cluster.nodes) expect(daemon.violations).toEqual([]);
    await berth.stop();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const filled = async (): Promise<void> => {
    Object.assign(berth.app.get(WarmFiller), { nextCheck: 0 });
    await berth.app.get(WarmFiller).look();
  };
  const slots = async (): Promise<readonly WarmSlot[]> =>
    (await berth.app.get(WarmSlots).all()).map(({ slot }) => slot);
  const nodes = async (): Promise<readonly (string | null)[]> =>
    (await slots()).map(({ nodeId }) => nodeId).sort((a, b) => String(a).localeCompare(String(b)));
  const nodeOf = async (id: unknown): Promise<string | undefined> => {
    const { body } = await operator.api.call('GET', '/api/admin/containers');
    return (body['containers'] as { db_id: string; node?: string }[]).find(({ db_id }) => db_id === id)?.node;
  };

  it('must be spread over them, and each be taken where it is', async () => {
    await start({ count: 2 });
    expect(await nodes()).toEqual(['one', 'two']);
    const bodies = [(await user.api.create()).body, (await user.api.create()).body];
    expect(bodies.map(({ status }) => status)).toEqual(['running', 'running']);
    const places = await Promise.all(bodies.map(({ db_id }) => nodeOf(db_id)));
    expect(new Set(places)).toEqual(new Set(['one', 'two']));
    for (const [at, place] of places.entries()) {
      const running = cluster.named(place ?? '').daemon.running(String(bodies[at]?.['db_id']));
      expect(running).toHaveLength(1);
    }
    expect((await user.api.delete(String(bodies[0]?.['db_id']))).status).toBe(200);
  });

  it('must be on the machines that their entry names, each entry for itself', async () => {
    await start({ count: 1, nodes: ['one'] }, { count: 2, nodes: ['two'] });
    expect(await nodes()).toEqual(['one', 'two', 'two']);
    const view = (await operator.api.call('GET', '/api/admin/warm')).body;
    expect(view['slots']).toMatchObject([{ wanted: 3, ready: 3 }]);
    await filled();
    expect(await nodes()).toEqual(['one', 'two', 'two']);
  });

  it('must leave a drained machine, and not be taken there', async () => {
    await start({ count: 2 });
    await cluster.setAvailability('one', 'drain');
    const { body: first } = await user.api.create();
    expect([first['status'], await nodeOf(first['db_id'])]).toEqual(['running', 'two']);
    await filled();
    expect(await nodes()).toEqual(['two', 'two']);
    expect(cluster.named('one').daemon.running()).toEqual([]);
    for (const { body } of [await user.api.create(), await user.api.create()]) {
      expect([body['status'], await nodeOf(body['db_id'])]).toEqual(['running', 'two']);
    }
  });

  it('must not be taken on a silent machine, and be made on another; and be one again once it is back', async () => {
    await start({ count: 2 });
    cluster.named('one').cut();
    const first = await user.api.create();
    expect([first.body['status'], await nodeOf(first.body['db_id'])]).toEqual(['running', 'two']);
    await filled();
    expect(await nodes()).toEqual(['one', 'two', 'two']);
    cluster.named('one').heal();
    // What was started on it meanwhile is not known, so its slot is given up.
    await eventually(async () => {
      await filled();
      expect(await nodes()).toEqual(['two', 'two']);
    });
    expect(cluster.named('one').daemon.running()).toEqual([]);
  });

  it.each(['auto', 'off'])(
    'are removed with their volumes from a machine that was given up and is back: %s',
    async (mode) => {
      await start({ count: 2 });
      const one = cluster.named('one');
      one.cut();
      const silent = { reachableAt: new Date(0), silentSince: new Date(0) };
      await berth.app.get(Database).manager.update(NodeEntity, { id: 'one' }, silent);
      expect((await operator.api.call('POST', '/api/admin/nodes/one/forget')).status).toBe(200);
      if (mode === 'off') jest.spyOn(berth.app.get(WarmWants), 'isOff', 'get').mockReturnValue(true);
      const stop = jest.spyOn(berth.app.get<{ poll: Poll }>(WarmFiller).poll, 'stop');
      await filled();
      expect([one.daemon.containers.size, one.daemon.volumes.size]).toEqual([1, 1]);
      one.heal();
      await berth.app.get(NodeWatch).look();
      expect(stop).not.toHaveBeenCalled();
      const old = [...one.daemon.volumes.keys()];
      await eventually(async () => {
        await filled();
        expect([...one.daemon.volumes.keys()]).not.toEqual(expect.arrayContaining(old));
      });
      expect(one.daemon.containers.size).toBe(one.daemon.volumes.size);
      expect(stop).toHaveBeenCalledTimes(mode === 'off' ? 1 : 0);
    },
  );
});
