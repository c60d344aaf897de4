import type { ContainerFacts } from '../../src/events';
import { replay } from '../support/clients/replay';
import type { ContainerTruth, RowTruth, Truth, UserTruth, VolumeTruth } from './truth';

/** The marks of a container (`db_id`): those known to be written, and those that may be. */
export type MarksOf = (dbId: string) => { readonly written: ReadonlySet<string>; readonly tried: ReadonlySet<string> };

/** Each function describes the violations of one promise; an empty list means that it holds. */

/** Includes deleted rows: a purge is an operation. */
export function stuck({ rows }: Truth): string[] {
  return rows.flatMap((row) => [
    ...(row.operation === null ? [] : [`${about(row)} is held by ${row.operation}`]),
    ...(row.deleted_at !== null || row.status !== 'creating' ? [] : [`${about(row)} is still creating`]),
    ...(row.other_node_id === null ? [] : [`${about(row)} is also on ${row.other_node_id}`]),
    ...(row.deleted_at === null || row.purged_at !== null ? [] : [`${about(row)} is not purged`]),
  ]);
}

/** Every live row matches the container that it names, and has no other container. */
export function rowsUnlikeDocker({ rows, containers }: Truth): string[] {
  return live(rows).flatMap((row) => {
    const own = containers.filter(({ containerId }) => containerId === row.id);
    const others = own.filter(({ id }) => id !== row.docker_id).map(({ name }) => `${about(row)} has another: ${name}`);
    const current = own.find(({ id }) => id === row.docker_id);
    if (row.status === 'error') return [...others, ...(current ? [`${about(row)} has a container`] : [])];
    if (current) return [...others, ...differences(row, current)];
    return row.status === 'running' ? [...others, `${about(row)} has no container`] : others;
  });
}

function differences(row: RowTruth, container: ContainerTruth): string[] {
  const is = {
    running: container.running,
    node: container.node,
    name: container.name,
    volume: container.volume,
    runtime: container.runtime,
    generation: container.generation,
    memoryMb: container.memoryMb,
    cpuShares: container.cpuShares,
    connected: container.connected || !container.running,
    ip: container.ip,
    startedAt: container.startedAt,
  };
  const ought = {
    running: row.status === 'running',
    node: row.node_id,
    name: `berth-${row.id}`,
    volume: row.volume_name,
    runtime: process.env['SANDBOX_RUNTIME'] ?? 'runsc',
    generation: row.generation,
    memoryMb: row.memory_mb,
    cpuShares: row.cpu_shares,
    connected: true,
    ip: row.ip_address,
    startedAt: row.run_started_at,
  };
  const keys = Object.keys(ought) as (keyof typeof ought)[];
  return keys
    .filter((key) => is[key] !== ought[key])
    .map((key) => `${about(row)}: ${key} is ${String(is[key])} and ought to be ${String(ought[key])}`);
}

/** Containers without a live row. */
export function orphanContainers({ rows, containers }: Truth): string[] {
  const known = new Set(live(rows).map(({ id }) => id));
  return containers.filter(({ containerId }) => !known.has(containerId)).map(({ name }) => `${name} has no row`);
}

/** Volumes, on their node, without a row that keeps data there. */
export function orphanVolumes({ rows, volumes }: Truth): string[] {
  const kept = rows.filter(({ purged_at }) => purged_at === null);
  return volumes
    .filter((volume) => !isOfSnapshot(volume) && !kept.some((row) => isOf(volume, row)))
    .map(({ name, node }) => `the volume ${name} has no row${node === null ? '' : ` on ${node}`}`);
}

/**
 * Every row that ever had a container and is not purged has its volume, with all written marks and none of other users:
 * a copy has those of its original.
 */
export function lostData({ rows, volumes }: Truth, marksOf: MarksOf): string[] {
  return rows
    .filter(({ docker_id, purged_at }) => docker_id !== null && purged_at === null)
    .flatMap((row) => {
      const volume = volumes.find((one) => isOf(one, row));
      if (!volume) return [`${about(row)} has no volume`];
      const { written, tried } = marksOf(row.id);
      const lost = [...written].filter((mark) => volume.marks.get(mark) !== row.id);
      const family = rows.filter(({ user_id }) => user_id === row.user_id).map(({ id }) => marksOf(id));
      const foreign = [...volume.marks].filter(([mark, text]) =>
        tried.has(mark) ? written.has(mark) && text !== row.id : !family.some((each) => each.tried.has(mark)),
      );
      return [
        ...lost.map((mark) => `${about(row)} has lost ${mark}`),
        ...foreign.map(([mark]) => `${about(row)} has ${mark}, which was not written there`),
      ];
    });
}

/**
 * Every snapshot that is ready has its volume and its image; none is being made, or left from a fork. A deleted one
 * has its row for as long as a container needs its image.
 */
export function brokenSnapshots({ rows, snapshots, volumes, images }: Truth): string[] {
  const needed = neededImages(rows);
  return snapshots.flatMap(({ id, status, is_transient, is_clean, layer_id, data_bytes }) => {
    const isBase = images.some((image) => needed.has(image.id) && image.tags.includes(imageOf(id)));
    if (status === 'deleting' && isBase) return [];
    const isOver = (status === 'ready' && !is_transient) || (status === 'failed' && is_clean);
    if (!isOver) return [`the snapshot ${id} is ${status}`];
    if (status !== 'ready') return [];
    const hasVolume = data_bytes === 0 || volumes.some(({ name }) => name === volumeOf(id));
    const hasImage = layer_id === null || images.some(({ tags }) => tags.includes(imageOf(id)));
    return hasVolume && hasImage ? [] : [`the snapshot ${id} has no ${hasVolume ? 'image' : 'volume'}`];
  });
}

/** Volumes of snapshots that are not ready, and images of theirs that no container needs. */
export function leftOfSnapshots({ rows, snapshots, volumes, images }: Truth): string[] {
  const ready = snapshots.filter(({ status }) => status === 'ready').map(({ id }) => id);
  const needed = neededImages(rows);
  const left = volumes.filter((volume) => isOfSnapshot(volume) && !ready.some((id) => volumeOf(id) === volume.name));
  const tags = images.filter(({ id }) => !needed.has(id)).flatMap((image) => image.tags);
  // The layers that resizes kept are removed an hour later.
  const others = tags.filter((tag) => !/-g\d+$/.test(tag) && !ready.some((id) => imageOf(id) === tag));
  return [...left.map(({ name }) => name), ...others].map((name) => `${name} is left of a snapshot`);
}

/** The list has exactly the live rows, and no more than the tier allows. */
export function wrongCounts({ rows, users }: Truth): string[] {
  return users.flatMap(({ id, name, limit, list }) => {
    const rowsOf = live(rows).filter(({ user_id }) => user_id === id).length;
    const counts = { rows: rowsOf, listed: list.containers.length, count: list.count, usage: list.usage.containers };
    const wrong = Object.values(counts).some((count) => count !== rowsOf) || rowsOf > limit;
    return wrong ? [`${name} has ${JSON.stringify(counts)}, limit ${String(limit)}`] : [];
  });
}

/** The reserved sum of each machine equals the sum of its containers. */
export function wrongReserves({ rows, reserved }: Truth): string[] {
  const running = live(rows).filter(({ status }) => status === 'running');
  const nodes = new Set([...reserved.map(({ node }) => node), ...running.map(machineOf)]);
  return [...nodes].flatMap((node) => {
    const kept = reserved.find((sum) => sum.node === node);
    const is = [kept?.memory_mb ?? 0, kept?.cpu_shares ?? 0].join();
    const there = running.filter((row) => machineOf(row) === node);
    const sum = (column: 'memory_mb' | 'cpu_shares'): number => there.reduce((total, row) => total + row[column], 0);
    const ought = [sum('memory_mb'), sum('cpu_shares')].join();
    return is === ought ? [] : [`reserved of ${node} is ${is} and ought to be ${ought}`];
  });
}

/** The log and the follower both have the events 1…n, and the same ones. */
export function eventGaps({ users }: Truth): string[] {
  return users.flatMap(({ name, list, events, followed }) => {
    const seqs = events.map(({ seq }) => seq);
    const firstWrong = seqs.findIndex((seq, index) => seq !== index + 1);
    return [
      ...(firstWrong === -1
        ? []
        : [`${name}: event ${String(firstWrong + 1)} is numbered ${String(seqs[firstWrong])}`]),
      ...(seqs.length === list.event_seq
        ? []
        : [`${name} has ${String(seqs.length)} events and event_seq ${String(list.event_seq)}`]),
      ...(JSON.stringify(followed) === JSON.stringify(events)
        ? []
        : [
            `${name}: the follower was sent ${String(followed.length)} events that are not the ${String(events.length)} of the log`,
          ]),
    ];
  });
}

/** The state of a client that has followed all events equals the list, fact by fact. */
export function replayUnlikeList({ users }: Truth): string[] {
  return users.flatMap(({ name, events, list }: UserTruth) => {
    const told = facts([...replay(events).values()]);
    const listed = facts(list.containers);
    const onlyTold = [...told].filter((one) => !listed.has(one));
    const onlyListed = [...listed].filter((one) => !told.has(one));
    return [
      ...onlyTold.map((one) => `${name}: the events tell of ${one}`),
      ...onlyListed.map((one) => `${name}: the list tells of ${one}`),
    ];
  });
}

function facts(containers: readonly ContainerFacts[]): Set<string> {
  return new Set(
    containers.map(({ db_id, id, name, status, image, role, resources }) => {
      const { memory_mb, cpu_shares, disk_mb } = resources;
      return JSON.stringify({ db_id, id, name, status, image, role, memory_mb, cpu_shares, disk_mb });
    }),
  );
}

/** The images of all containers whose data is kept. */
function neededImages(rows: Truth['rows']): ReadonlySet<string | null> {
  return new Set(rows.filter(({ purged_at }) => purged_at === null).map(({ image_id }) => image_id));
}

const volumeOf = (snapshotId: string): string => `berth-snapshot-${snapshotId}`;
const imageOf = (snapshotId: string): string => `berth/layer:${snapshotId}`;

function isOfSnapshot({ name }: VolumeTruth): boolean {
  return name.startsWith(volumeOf(''));
}

function machineOf({ node_id }: RowTruth): string {
  return node_id ?? 'local';
}

function isOf(volume: VolumeTruth, row: RowTruth): boolean {
  return volume.name === row.volume_name && volume.node === row.node_id;
}

function live(rows: readonly RowTruth[]): RowTruth[] {
  return rows.filter(({ deleted_at }) => deleted_at === null);
}

function about({ id, status, deleted_at }: RowTruth): string {
  return `${deleted_at === null ? status : 'deleted'} ${id}`;
}
