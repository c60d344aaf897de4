import type { JSX } from 'preact';
import { at, cpus, megabytes, milliseconds, timeOfDay } from '../words/format';
import type { BerthEvent } from '@berth/client';
import { containerById } from '../data/live';
import { reasonInWords } from '../words/errors';
import { eventsWords } from '../words/events';
import { Link } from '../router';

/** How an event looks. */
const LOOKS: Readonly<Record<keyof typeof eventsWords.kinds, string>> = {
  container_created: 'creating',
  container_progress: 'creating',
  container_started: 'running',
  container_stopped: 'stopped',
  container_paused: 'paused',
  container_resumed: 'running',
  container_updated: 'ok',
  container_moved: 'ok',
  container_unreachable: 'warn',
  container_reachable: 'ok',
  container_expiring: 'warn',
  container_deleted: 'deleted',
  container_restored: 'stopped',
  container_error: 'error',
  container_ready: 'running',
  container_not_ready: 'warn',
  process_started: 'running',
  process_exited: 'stopped',
  process_lost: 'error',
  snapshot_created: 'creating',
  snapshot_progress: 'creating',
  snapshot_ready: 'ok',
  snapshot_failed: 'error',
  snapshot_deleted: 'deleted',
  node_drained: 'warn',
  node_activated: 'running',
  node_unreachable: 'error',
  node_reachable: 'running',
  node_forgotten: 'error',
  node_readmitted: 'running',
  agent_connected: 'online',
  agent_disconnected: 'offline',
  webhook_disabled: 'error',
};

const isKind = (type: string): type is keyof typeof LOOKS => Object.hasOwn(LOOKS, type);

const textOf = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : '';

/** What there is to say beside what happened. @param earlier the events before it, the newest first */
function detailOf(event: BerthEvent, earlier: readonly BerthEvent[]): string {
  const { type, data: facts } = event;
  const data = facts as unknown as Readonly<Record<string, unknown>>;
  if (type === 'container_progress') {
    const [message, percent] = [textOf(data['message']), textOf(data['progress'])];
    return percent === '' ? message : eventsWords.progress({ message, percent: eventsWords.percent(percent) });
  }
  if (type.startsWith('snapshot_')) return snapshotDetailOf(data);
  if (type.startsWith('process_')) {
    const [program, code] = [textOf(data['program']), textOf(data['exit_code'])];
    return code === '' ? program : eventsWords.exited({ program, code });
  }
  if (type === 'container_expiring') {
    const action = textOf(data['action']);
    const end = action === 'delete' || action === 'pause' ? action : 'stop';
    return eventsWords.ends[end](at(textOf(data['expires_at'])));
  }
  const reason = reasonInWords(textOf(data['reason']));
  const message = textOf(data['message']);
  const kept = ROOT_KEPT[String(data['root_kept'])] ?? null;
  const changes = event.type === 'container_updated' ? changesOf(event.data, earlier) : null;
  const restarted = event.type === 'container_updated' && event.data.restarted ? eventsWords.restarted : null;
  const parts = [
    changes,
    reason,
    message === '' ? null : message,
    data['recreated'] === true ? eventsWords.recreated : null,
    restarted,
    kept,
  ];
  return parts.filter((part) => part !== null).join(', ');
}

type ContainerFacts = Extract<BerthEvent, { type: 'container_updated' }>['data'];

/**
 * What an update changed, from what to what. The event has the new values only, so the old ones are those of the last
 * event before it; without one, what the container has now is said.
 */
function changesOf(now: ContainerFacts, earlier: readonly BerthEvent[]): string {
  const { memory_mb, cpu_shares, disk_mb } = now.resources;
  const event = earlier.find(({ data }) => 'db_id' in data && 'resources' in data && data.db_id === now.db_id);
  const words = eventsWords.changes;
  if (!event) return words.sizes({ memory: megabytes(memory_mb), cpu: cpus(cpu_shares), disk: megabytes(disk_mb) });
  const before = event.data as unknown as ContainerFacts;
  const values: readonly (readonly [name: string, of: (facts: ContainerFacts) => string])[] = [
    [words.name, ({ name }) => eventsWords.quoted(name)],
    [words.memory, ({ resources }) => megabytes(resources.memory_mb)],
    [words.cpu, ({ resources }) => cpus(resources.cpu_shares)],
    [words.disk, ({ resources }) => megabytes(resources.disk_mb)],
    [words.network, ({ network }) => (typeof network === 'string' ? words.networks[network] : network.allow.join(' '))],
    [words.labels, ({ labels }) => labelsInWords(labels)],
  ];
  const changes = values.flatMap(([what, of]) => {
    const [from, to] = [of(before), of(now)];
    return from === to ? [] : [words.of({ what, from, to })];
  });
  return changes.length === 0 ? words.other : changes.join(', ');
}

function labelsInWords(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([key, value]) => (value === '' ? key : `${key}: ${value}`));
  return texts.length === 0 ? eventsWords.changes.noLabels : texts.sort().join(', ');
}

/** What a recreation kept, by an event's `root_kept`. */
const ROOT_KEPT: Readonly<Record<string, string>> = {
  true: eventsWords.softwareKept,
  false: eventsWords.dataKept,
};

function snapshotDetailOf(data: Readonly<Record<string, unknown>>): string {
  const { percent, downtime_ms: downtime } = data;
  const parts = [
    eventsWords.quoted(textOf(data['name'])),
    reasonInWords(textOf(data['reason'])) ?? textOf(data['message']),
    ...(typeof percent === 'number' ? [eventsWords.percent(percent)] : []),
    ...(typeof downtime === 'number' && downtime > 0 ? [eventsWords.suspended(milliseconds(downtime))] : []),
  ];
  return parts.filter((part) => part !== '').join(', ');
}

interface EventListProps {
  /** The newest first. */
  readonly events: readonly BerthEvent[];
  /** Whether all are of one container, which need not be named. */
  readonly isOfOne?: boolean;
  /** How many are shown. */
  readonly most?: number;
}

export function EventList({ events, isOfOne = false, most = Infinity }: EventListProps): JSX.Element {
  return (
    <ol class={isOfOne ? 'events of-one' : 'panel'}>
      {events.slice(0, most).map((event, index) => {
        const type: string = event.type;
        const [words, look] = isKind(type) ? [eventsWords.kinds[type], LOOKS[type]] : [type.replaceAll('_', ' '), 'ok'];
        const data = event.data as unknown as Readonly<Record<string, unknown>>;
        const id = textOf(data['db_id'] ?? data['container_id']);
        // Events of processes lack the container's name; those of snapshots have their own.
        const own = 'db_id' in data || !('container_id' in data) ? (data['name'] ?? data['host']) : undefined;
        const name = textOf(own ?? containerById(id)?.name);
        return (
          <li key={event.seq} class="event">
            <time class="muted" dateTime={event.timestamp} title={at(event.timestamp)}>
              {timeOfDay(event.timestamp)}
            </time>
            <span class={`status ${look}`}>{words}</span>
            <span class="muted">
              {!isOfOne &&
                name !== '' &&
                (id !== '' && event.type !== 'container_deleted' ? (
                  <Link class="name" href={`/containers/${id}`}>
                    {name}
                  </Link>
                ) : (
                  <strong>{name}</strong>
                ))}{' '}
              {detailOf(event, events.slice(index + 1))}
            </span>
          </li>
        );
      })}
    </ol>
  );
}
