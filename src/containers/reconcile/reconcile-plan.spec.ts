import type { EngineState, ListedContainer, ListedVolume } from '../../engine';
import type { ContainerStatus } from '../model/container.entity';
import type { SweptRow } from '../rows/container.queries';
import { TERM_OVER } from '../leases/lease-term';
import { type ReconcileAction, ReconcilePlan } from './reconcile-plan';

const NOW = new Date('2026-01-01T12:00:00.000Z');
const GRACE = 60_000;
const before = (ms: number): Date => new Date(NOW.getTime() - ms);

function row(id: string, status: ContainerStatus, lease: Partial<SweptRow> = {}): SweptRow {
  const volumeName = `berth-${id}`;
  const free = { operation: null, operationExpiresAt: null };
  return {
    id,
    status,
    nodeId: null,
    otherNodeId: null,
    formerNodeId: null,
    engineId: `docker-${id}`,
    volumeName,
    runStartedAt: '2026',
    ...free,
    ...lease,
  };
}

function listed(containerId: string | null, state: EngineState, more: Partial<ListedContainer> = {}): ListedContainer {
  const id = containerId ?? 'x';
  return {
    engineId: `docker-${id}`,
    name: `berth-${id}`,
    state,
    createdAt: before(GRACE),
    containerId,
    generation: 1,
    connected: true,
    ...more,
  };
}

function volumeOf(changes: Partial<ListedVolume>): ListedVolume {
  return { name: 'berth-a', containerId: 'a', labelled: true, ...changes };
}

const told = (action: ReconcileAction): string =>
  action.do === 'remove_orphan' ? `remove_orphan ${action.engineId}` : `${action.do} ${action.row.id}`;

async function sweep(rows: SweptRow[], found: ListedContainer[], volumes: ListedVolume[] = []): Promise<string[]> {
  const plan = await ReconcilePlan.of({ listed: found, volumes, now: NOW, orphanGraceMs: GRACE, wasUnwatched: false });
  return [...plan.forRows(rows), ...plan.forOrphans()].map(told);
}

describe('a sweep', () => {
  it.each<[ContainerStatus, EngineState, string[]]>([
    ['running', 'running', []],
    ['running', 'paused', ['look a']],
    ['paused', 'paused', []],
    ['paused', 'running', ['look a']],
    ['paused', 'exited', ['look a']],
    ['stopped', 'paused', ['look a']],
    ['running', 'exited', ['look a']],
    ['running', 'restarting', ['look a']],
    ['running', 'broken', ['look a']],
    ['stopped', 'exited', []],
    ['stopped', 'created', []],
    ['stopped', 'running', ['look a']],
    ['error', 'exited', []],
  ])('of a row that is %s and a container that is %s must find %j', async (status, state, actions) => {
    expect(await sweep([row('a', status)], [listed('a', state)])).toEqual(actions);
  });

  it('must look at a running row that nobody has looked at since its start', async () => {
    expect(await sweep([row('a', 'running', { runStartedAt: null })], [listed('a', 'running')])).toEqual(['look a']);
    expect(await sweep([row('b', 'stopped', { runStartedAt: null })], [listed('b', 'exited')])).toEqual([]);
  });

  it('must look at a running row whose container is missing, and leave a stopped one alone', async () => {
    expect(await sweep([row('a', 'running'), row('b', 'stopped')], [])).toEqual(['look a']);
  });

  it('must put a container back into its network, running or not, unless it is half gone or held', async () => {
    const lost = { connected: false };
    expect(await sweep([row('a', 'running')], [listed('a', 'running', lost)])).toEqual(['reconnect a']);
    expect(await sweep([row('a', 'stopped')], [listed('a', 'exited', lost)])).toEqual(['reconnect a']);
    expect(await sweep([row('a', 'running')], [listed('a', 'broken', lost)])).toEqual(['look a']);
    const held = { operation: 'update', operationExpiresAt: new Date(NOW.getTime() + 1) } as const;
    expect(await sweep([row('a', 'running', held)], [listed('a', 'running', lost)])).toEqual([]);
  });

  it('must leave alone what an operation holds, and finish what a dead one held', async () => {
    const held = row('a', 'running', { operation: 'update', operationExpiresAt: new Date(NOW.getTime() - 1) });
    const dead = row('b', 'running', { operation: 'update', operationExpiresAt: TERM_OVER });
    const strays = ['a', 'b'].map((id) => listed(id, 'running', { engineId: `stray-${id}` }));
    expect(await sweep([held, dead], strays)).toEqual(['finish b']);
  });

  it('must look at all that should run, and at nothing else, after a time in which nobody listened to Docker', async () => {
    const plan = await ReconcilePlan.of({
      listed: [listed('a', 'running'), listed('b', 'exited')],
      volumes: [],
      now: NOW,
      orphanGraceMs: GRACE,
      wasUnwatched: true,
    });
    expect(plan.forRows([row('a', 'running'), row('b', 'stopped')]).map(told)).toEqual(['look a']);
  });

  it('must remove a container without a row only after the grace period', async () => {
    expect(await sweep([], [listed('gone', 'running')])).toEqual(['remove_orphan docker-gone']);
    expect(await sweep([], [listed('new', 'running', { createdAt: before(GRACE - 1) })])).toEqual([]);
  });

  it('must do nothing to a container whose label cannot be read', async () => {
    expect(await sweep([], [listed(null, 'running')])).toEqual([]);
  });

  it('must reconcile a row with a second container, or with one that still has a replacement name', async () => {
    const second = listed('a', 'exited', { engineId: 'old' });
    expect(await sweep([row('a', 'running')], [listed('a', 'running'), second])).toEqual(['reconcile a']);
    expect(await sweep([row('a', 'running')], [listed('a', 'running', { name: 'berth-a-g2' })])).toEqual([
      'reconcile a',
    ]);
  });

  it('must reconcile a row with a volume that is not its own, and leave alone what no live row knows', async () => {
    const volume = (containerId: string | null, name: string): ListedVolume => volumeOf({ containerId, name });
    const own = volume('a', 'berth-a');
    const moved = row('a', 'running', { volumeName: 'berth-a-v2-1' });
    expect(await sweep([row('a', 'running')], [listed('a', 'running')], [own])).toEqual([]);
    expect(await sweep([moved], [listed('a', 'running')], [volume('a', 'berth-a-v2-1')])).toEqual([]);
    expect(await sweep([moved], [listed('a', 'running')], [volume('a', 'berth-a-v2-1'), own])).toEqual(['reconcile a']);
    expect(await sweep([], [], [own, volume(null, 'other')])).toEqual([]);
    const held = { operation: 'update', operationExpiresAt: new Date(NOW.getTime() + 1) } as const;
    expect(await sweep([row('a', 'running', held)], [listed('a', 'running')], [volume('a', 'berth-a-v2-1')])).toEqual(
      [],
    );
  });

  it('must move the data of a stopped container out of a volume that has lost its labels, unless it cannot', async () => {
    const bare = volumeOf({ labelled: false });
    expect(await sweep([row('a', 'stopped')], [listed('a', 'exited')], [bare])).toEqual(['move_data a']);
    expect(await sweep([row('a', 'running')], [listed('a', 'running')], [bare])).toEqual([]);
    const stuck = new Set([bare.name]);
    const plan = await ReconcilePlan.of({
      listed: [],
      volumes: [bare],
      stuck,
      now: NOW,
      orphanGraceMs: GRACE,
      wasUnwatched: false,
    });
    expect(plan.forRows([row('a', 'stopped')])).toEqual([]);
  });

  it('must call orphans only what none of the pages of rows knew', async () => {
    const found = ['a', 'b', 'gone'].map((id) => listed(id, 'running'));
    const volumes = ['a', 'b', 'gone', null].map((containerId) =>
      volumeOf({ containerId, name: `berth-${String(containerId)}` }),
    );
    const plan = await ReconcilePlan.of({
      listed: found,
      volumes,
      now: NOW,
      orphanGraceMs: GRACE,
      wasUnwatched: false,
    });
    expect(['a', 'b'].map((id) => plan.forRows([row(id, 'running')]))).toEqual([[], []]);
    expect(plan.forOrphans().map(told)).toEqual(['remove_orphan docker-gone']);
    expect(plan.orphanVolumes().map(({ name }) => name)).toEqual(['berth-gone', 'berth-null']);
  });
});
