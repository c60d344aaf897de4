import type { BerthEvent, ContainerFacts } from '../../src/events';
import * as invariants from './invariants';
import type { ContainerTruth, RowTruth, SnapshotTruth, Truth, UserTruth, VolumeTruth } from './truth';

const RESOURCES = { memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
const RESERVED = { node: 'local', memory_mb: 256, cpu_shares: 500 };
const GONE = { deleted_at: new Date(), purged_at: new Date() };

function row(changes: Partial<RowTruth> = {}): RowTruth {
  return {
    id: 'c',
    user_id: 'u',
    name: 'dev',
    status: 'running',
    memory_mb: 256,
    cpu_shares: 500,
    generation: 2,
    docker_id: 'd',
    image_id: 'i',
    node_id: null,
    other_node_id: null,
    volume_name: 'v',
    operation: null,
    deleted_at: null,
    purged_at: null,
    ip_address: '172.18.0.2',
    run_started_at: '2026',
    ...changes,
  };
}

function container(changes: Partial<ContainerTruth> = {}): ContainerTruth {
  return {
    id: 'd',
    node: null,
    name: 'berth-c',
    running: true,
    containerId: 'c',
    generation: 2,
    memoryMb: 256,
    cpuShares: 500,
    runtime: 'runsc',
    volume: 'v',
    connected: true,
    ip: '172.18.0.2',
    startedAt: '2026',
    ...changes,
  };
}

function volume(marks: Readonly<Record<string, string>> = {}, changes: Partial<VolumeTruth> = {}): VolumeTruth {
  return { name: 'v', node: null, containerId: 'c', marks: new Map(Object.entries(marks)), ...changes };
}

function facts(changes: Partial<ContainerFacts> = {}): ContainerFacts {
  return {
    id: 'd',
    db_id: 'c',
    name: 'dev',
    status: 'running',
    image: 'i',
    role: null,
    labels: {},
    resources: RESOURCES,
    network: 'internet',
    ...changes,
  };
}

function event(seq: number, type: string, changes: Partial<ContainerFacts> = {}): BerthEvent {
  return { type, seq, timestamp: '', data: facts(changes) } as unknown as BerthEvent;
}

function user(changes: Partial<UserTruth> = {}): UserTruth {
  const events = [event(1, 'container_created', { status: 'creating' }), event(2, 'container_started')];
  const list = { containers: [facts()], count: 1, usage: { containers: 1 }, event_seq: 2 };
  return { id: 'u', name: 'ada', limit: 1, list, events, followed: events, ...changes };
}

function truth(changes: Partial<Truth> = {}): Truth {
  return {
    rows: [row()],
    containers: [container()],
    volumes: [volume()],
    snapshots: [],
    images: [],
    reserved: [RESERVED],
    users: [user()],
    ...changes,
  };
}

const marksOf =
  (written: string[], tried = written) =>
  () => ({ written: new Set(written), tried: new Set(tried) });
const none = marksOf([]);

describe('the invariants', () => {
  it('must all hold where everything agrees', () => {
    for (const contradictions of Object.values(invariants)) expect(contradictions(truth(), none)).toEqual([]);
  });

  it.each<[string, Partial<RowTruth>]>([
    ['c is held by update', { operation: 'update' }],
    ['creating c is still creating', { status: 'creating' }],
    ['deleted c is not purged', { deleted_at: new Date() }],
    ['c is held by purge', { ...GONE, operation: 'purge' }],
    ['c is also on n2', { other_node_id: 'n2' }],
  ])('stuck must find that %s', (complaint, changes) => {
    expect(invariants.stuck(truth({ rows: [row(changes)] }))).toEqual([expect.stringContaining(complaint)]);
  });

  it.each<[string, Partial<RowTruth>, ContainerTruth[]]>([
    ['running c has no container', {}, []],
    ['running c has no container', {}, [container({ containerId: 'other' })]],
    ['stopped c: running is true', { status: 'stopped' }, [container()]],
    ['running c: running is false', {}, [container({ running: false })]],
    ['running c has another: berth-c-g3', {}, [container(), container({ id: 'e', name: 'berth-c-g3' })]],
    ['stopped c has another: berth-c-g3', { status: 'stopped' }, [container({ id: 'e', name: 'berth-c-g3' })]],
    ['error c has a container', { status: 'error' }, [container()]],
    ['error c has another: berth-c', { status: 'error', docker_id: null }, [container()]],
    ['name is berth-c-g2 and ought to be berth-c', {}, [container({ name: 'berth-c-g2' })]],
    ['memoryMb is 512 and ought to be 256', {}, [container({ memoryMb: 512 })]],
    ['cpuShares is 1000 and ought to be 500', {}, [container({ cpuShares: 1000 })]],
    ['volume is w and ought to be v', {}, [container({ volume: 'w' })]],
    ['runtime is runc and ought to be runsc', {}, [container({ runtime: 'runc' })]],
    ['ip is 172.18.0.3 and ought to be 172.18.0.2', {}, [container({ ip: '172.18.0.3' })]],
    ['connected is false and ought to be true', {}, [container({ connected: false })]],
    ['startedAt is 2027 and ought to be 2026', {}, [container({ startedAt: '2027' })]],
    ['generation is 1 and ought to be 2', {}, [container({ generation: 1 })]],
    ['node is n2 and ought to be n1', { node_id: 'n1' }, [container({ node: 'n2' })]],
  ])('rowsUnlikeDocker must find that %s', (complaint, changes, containers) => {
    const found = invariants.rowsUnlikeDocker(truth({ rows: [row(changes)], containers }));
    expect(found).toEqual([expect.stringContaining(complaint)]);
  });

  it('rowsUnlikeDocker must allow a stopped row whose container is gone, as a restored one is', () => {
    expect(invariants.rowsUnlikeDocker(truth({ rows: [row({ status: 'stopped' })], containers: [] }))).toEqual([]);
  });

  it('rowsUnlikeDocker must allow a stopped container that is in no network: its start puts it into one', () => {
    const stopped = [container({ running: false, connected: false })];
    expect(invariants.rowsUnlikeDocker(truth({ rows: [row({ status: 'stopped' })], containers: stopped }))).toEqual([]);
  });

  it('orphans must be found of deleted rows and of no row', () => {
    const deleted = truth({ rows: [row(GONE)] });
    expect(invariants.orphanContainers(deleted)).toEqual(['berth-c has no row']);
    expect(invariants.orphanVolumes(deleted)).toEqual(['the volume v has no row']);
    expect(invariants.orphanContainers(truth({ rows: [] }))).toHaveLength(1);
    expect(invariants.orphanVolumes(truth({ rows: [] }))).toHaveLength(1);
  });

  it('a deleted row must keep its volume until it is purged', () => {
    const kept = truth({ rows: [row({ deleted_at: new Date() })], containers: [] });
    expect(invariants.orphanVolumes(kept)).toEqual([]);
    expect(invariants.lostData({ ...kept, volumes: [] }, none)).toEqual(['deleted c has no volume']);
  });

  it('a volume on another node than its row must be found there, and missed where it ought to be', () => {
    const elsewhere = truth({ rows: [row({ node_id: 'n1' })], volumes: [volume({}, { node: 'n2' })] });
    expect(invariants.orphanVolumes(elsewhere)).toEqual(['the volume v has no row on n2']);
    expect(invariants.lostData(elsewhere, none)).toEqual(['running c has no volume']);
  });

  it.each<[string, VolumeTruth[], string[], string[]]>([
    ['has no volume', [], [], []],
    ['has lost mark-1', [volume()], ['mark-1'], ['mark-1']],
    ['has mark-2, which was not written there', [volume({ 'mark-2': 'c' })], [], []],
  ])('lostData must find that a container %s', (complaint, volumes, written, tried) => {
    const found = invariants.lostData(truth({ volumes }), marksOf(written, tried));
    expect(found).toEqual([expect.stringContaining(complaint)]);
  });

  it('lostData must allow what was written and what may have been, and no volume where there never was a container', () => {
    const volumes = [volume({ 'mark-1': 'c', 'mark-2': '' })];
    expect(invariants.lostData(truth({ volumes }), marksOf(['mark-1'], ['mark-1', 'mark-2', 'mark-3']))).toEqual([]);
    expect(invariants.lostData(truth({ rows: [row({ docker_id: null })], volumes: [] }), none)).toEqual([]);
  });

  it("lostData must allow the marks of a user's other containers, which copies begin with", () => {
    const volumes = [volume({ 'mark-1': 'e' }), volume({ 'mark-1': 'e' }, { name: 'w' })];
    const marks = (id: string) => marksOf(id === 'e' ? ['mark-1'] : [])();
    const rows = [row(), row({ id: 'e', volume_name: 'w' })];
    expect(invariants.lostData(truth({ rows, volumes }), marks)).toEqual([]);
    const [own, other] = rows;
    const others = truth({ rows: own && other ? [own, { ...other, user_id: 'other' }] : [], volumes });
    expect(invariants.lostData(others, marks)).toEqual([expect.stringContaining('c has mark-1')]);
  });

  const SNAPSHOT: SnapshotTruth = {
    id: 's',
    user_id: 'u',
    status: 'ready',
    is_transient: false,
    is_clean: true,
    layer_id: 'l',
    data_bytes: 1,
  };
  const IMAGE = { id: 'l', tags: ['berth/layer:s'] };
  const ofSnapshot = volume({}, { name: 'berth-snapshot-s' });

  it('a ready snapshot must have its volume and its image, and one that failed neither', () => {
    const whole = truth({ snapshots: [SNAPSHOT], volumes: [ofSnapshot], images: [IMAGE] });
    expect([...invariants.brokenSnapshots(whole), ...invariants.leftOfSnapshots(whole)]).toEqual([]);
    expect(invariants.orphanVolumes(whole)).toEqual([]);
    const failed = truth({ snapshots: [{ ...SNAPSHOT, status: 'failed' }] });
    expect([...invariants.brokenSnapshots(failed), ...invariants.leftOfSnapshots(failed)]).toEqual([]);
  });

  it.each<[string, Partial<SnapshotTruth>, Partial<Truth>]>([
    ['the snapshot s is making', { status: 'making' }, {}],
    ['the snapshot s is failed', { status: 'failed', is_clean: false }, {}],
    ['the snapshot s is ready', { is_transient: true }, {}],
    ['the snapshot s has no volume', {}, { volumes: [] }],
    ['the snapshot s has no image', {}, { images: [] }],
  ])('brokenSnapshots must find that %s', (complaint, changes, without) => {
    const snapshots = [{ ...SNAPSHOT, ...changes }];
    const found = invariants.brokenSnapshots(truth({ snapshots, volumes: [ofSnapshot], images: [IMAGE], ...without }));
    expect(found).toEqual([complaint]);
  });

  it('brokenSnapshots must find a deleted snapshot, except for one whose image a container needs', () => {
    const deleting = truth({ snapshots: [{ ...SNAPSHOT, status: 'deleting' }], images: [IMAGE] });
    expect(invariants.brokenSnapshots(deleting)).toEqual(['the snapshot s is deleting']);
    expect(invariants.brokenSnapshots({ ...deleting, rows: [row({ image_id: 'l' })] })).toEqual([]);
    const gone = { ...deleting, rows: [row({ image_id: 'l' })], images: [] };
    expect(invariants.brokenSnapshots(gone)).toEqual(['the snapshot s is deleting']);
  });

  it('leftOfSnapshots must find what no ready snapshot has, except for images that containers need', () => {
    const left = truth({ volumes: [ofSnapshot], images: [IMAGE, { id: 'k', tags: ['berth/layer:c-g2'] }] });
    expect(invariants.leftOfSnapshots(left)).toEqual([
      'berth-snapshot-s is left of a snapshot',
      'berth/layer:s is left of a snapshot',
    ]);
    const needed = { ...left, rows: [row({ image_id: 'l' })] };
    expect(invariants.leftOfSnapshots(needed)).toEqual(['berth-snapshot-s is left of a snapshot']);
  });

  it.each<[string, Partial<Truth>]>([
    ['one more row than is listed', { rows: [row(), row({ id: 'e' })], users: [user({ limit: 2 })] }],
    ['more rows than the tier allows', { users: [user({ limit: 0 })] }],
    ['another count', { users: [user({ list: { ...user().list, count: 2 } })] }],
    ['another usage', { users: [user({ list: { ...user().list, usage: { containers: 2 } } })] }],
    ['a row that is listed and deleted', { rows: [row(GONE)] }],
  ])('wrongCounts must find %s', (_what, changes) => {
    expect(invariants.wrongCounts(truth(changes))).toHaveLength(1);
  });

  it.each<[string, Partial<Truth>]>([
    ['less than what runs', { reserved: [{ ...RESERVED, memory_mb: 0 }] }],
    ['nothing', { reserved: [] }],
    ['what does not run', { rows: [row({ status: 'stopped' })] }],
    ['what runs elsewhere', { reserved: [RESERVED, { ...RESERVED, node: 'n2' }] }],
  ])('wrongReserves must find that there is reserved %s', (_what, changes) => {
    expect(invariants.wrongReserves(truth(changes))).toHaveLength(1);
  });

  it.each<[string, Partial<UserTruth>]>([
    ['a missing event', { events: [event(1, 'container_created')], followed: [event(1, 'container_created')] }],
    ['an event that was not sent', { followed: user().events.slice(0, 1) }],
    ['events in another order', { followed: [...user().events].reverse() }],
  ])('eventGaps must find %s', (_what, changes) => {
    expect(invariants.eventGaps(truth({ users: [user(changes)] }))).toHaveLength(1);
  });

  it('eventGaps must find a number that comes twice', () => {
    const events = [event(1, 'container_created'), event(1, 'container_started')];
    expect(invariants.eventGaps(truth({ users: [user({ events, followed: events })] }))).toEqual([
      'ada: event 2 is numbered 1',
    ]);
  });

  it.each<[string, BerthEvent[]]>([
    ['another status', [event(1, 'container_started'), event(2, 'container_stopped', { status: 'stopped' })]],
    ['another id', [event(1, 'container_started'), event(2, 'container_updated', { id: 'e' })]],
    ['other limits', [event(1, 'container_updated', { resources: { ...RESOURCES, memory_mb: 512 } })]],
    ['no container', [event(1, 'container_started'), event(2, 'container_deleted')]],
    ['a second container', [event(1, 'container_started'), event(2, 'container_created', { db_id: 'e' })]],
    [
      'late progress of a creation',
      [event(1, 'container_started'), event(2, 'container_progress', { status: 'creating' })],
    ],
  ])('replayUnlikeList must find events that report %s', (_what, events) => {
    expect(invariants.replayUnlikeList(truth({ users: [user({ events })] }))).not.toEqual([]);
  });
});
