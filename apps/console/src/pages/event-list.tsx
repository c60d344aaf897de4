import type { JSX } from 'preact';
import { at, cpus, megabytes, milliseconds, timeOfDay } from '../data/format';
import type { BerthEvent } from '@berth/client';
import { containerById } from '../data/live';
import { reasonInWords } from '../words/errors';
import { Link } from '../router';

/** What an event is called, and how it looks. */
const KINDS: Readonly<Record<string, readonly [words: string, look: string]>> = {
  container_created: ['Creation started', 'creating'],
  container_progress: ['Progress', 'creating'],
  container_started: ['Started', 'running'],
  container_stopped: ['Stopped', 'stopped'],
  container_paused: ['Paused', 'paused'],
  container_resumed: ['Resumed', 'running'],
  container_updated: ['Changed', 'ok'],
  container_moved: ['Moved', 'ok'],
  container_unreachable: ['Machine not answering', 'warn'],
  container_reachable: ['Machine answers again', 'ok'],
  container_expiring: ['Ends soon', 'warn'],
  container_deleted: ['Deleted', 'deleted'],
  container_restored: ['Restored', 'stopped'],
  container_error: ['Failed', 'error'],
  container_ready: ['Ready', 'running'],
  container_not_ready: ['Not ready in time', 'warn'],
  process_started: ['Process started', 'running'],
  process_exited: ['Process ended', 'stopped'],
  process_lost: ['Process lost', 'error'],
  snapshot_created: ['Snapshot started', 'creating'],
  snapshot_progress: ['Snapshot progress', 'creating'],
  snapshot_ready: ['Snapshot ready', 'ok'],
  snapshot_failed: ['Snapshot failed', 'error'],
  snapshot_deleted: ['Snapshot deleted', 'deleted'],
  node_drained: ['Node drained', 'warn'],
  node_activated: ['Node activated', 'running'],
  node_unreachable: ['Node not answering', 'error'],
  node_reachable: ['Node answers again', 'running'],
  node_forgotten: ['Node given up', 'error'],
  node_readmitted: ['Node is back', 'running'],
  agent_connected: ['Agent connected', 'online'],
  agent_disconnected: ['Agent disconnected', 'offline'],
  webhook_disabled: ['Webhook disabled', 'error'],
};

const textOf = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : '';

/** What is near, by an event's `action`. */
const ENDS: Readonly<Record<string, string>> = { delete: 'deleted', pause: 'paused' };

/** What there is to say beside what happened. @param earlier the events before it, the newest first */
function detailOf(event: BerthEvent, earlier: readonly BerthEvent[]): string {
  const { type, data: facts } = event;
  const data = facts as unknown as Readonly<Record<string, unknown>>;
  const percent = textOf(data['progress']);
  if (type === 'container_progress') return `${textOf(data['message'])}${percent === '' ? '' : ` (${percent} %)`}`;
  if (type.startsWith('snapshot_')) return snapshotDetailOf(data);
  if (type.startsWith('process_')) {
    const code = textOf(data['exit_code']);
    return `${textOf(data['program'])}${code === '' ? '' : `, exit code ${code}`}`;
  }
  if (type === 'container_expiring') {
    const action = ENDS[textOf(data['action'])] ?? 'stopped';
    return `${action} at ${at(textOf(data['expires_at']))}`;
  }
  const reason = reasonInWords(textOf(data['reason']));
  const message = textOf(data['message']);
  const kept = ROOT_KEPT[String(data['root_kept'])] ?? null;
  const changes = event.type === 'container_updated' ? changesOf(event.data, earlier) : null;
  const restarted = event.type === 'container_updated' && event.data.restarted ? 'restarted' : null;
  const parts = [
    changes,
    reason,
    message === '' ? null : message,
    data['recreated'] === true ? 'recreated' : null,
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
  if (!event) return `${megabytes(memory_mb)} memory, ${cpus(cpu_shares)}, ${megabytes(disk_mb)} disk`;
  const before = event.data as unknown as ContainerFacts;
  const values: readonly (readonly [name: string, of: (facts: ContainerFacts) => string])[] = [
    ['name', ({ name }) => `“${name}”`],
    ['memory', ({ resources }) => megabytes(resources.memory_mb)],
    ['CPU', ({ resources }) => cpus(resources.cpu_shares)],
    ['disk', ({ resources }) => megabytes(resources.disk_mb)],
    ['network', ({ network }) => (typeof network === 'string' ? network : network.allow.join(' '))],
    ['labels', ({ labels }) => labelsInWords(labels)],
  ];
  const changes = values.flatMap(([name, of]) => {
    const [from, to] = [of(before), of(now)];
    return from === to ? [] : [`${name} ${from} → ${to}`];
  });
  return changes.length === 0 ? 'other settings' : changes.join(', ');
}

function labelsInWords(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([key, value]) => (value === '' ? key : `${key}: ${value}`));
  return texts.length === 0 ? 'none' : texts.sort().join(', ');
}

/** What a recreation kept, by an event's `root_kept`. */
const ROOT_KEPT: Readonly<Record<string, string>> = {
  true: 'installed software kept',
  false: 'only /home/user kept',
};

function snapshotDetailOf(data: Readonly<Record<string, unknown>>): string {
  const { percent, downtime_ms: downtime } = data;
  const parts = [
    `“${textOf(data['name'])}”`,
    reasonInWords(textOf(data['reason'])) ?? textOf(data['message']),
    ...(typeof percent === 'number' ? [`${String(percent)} %`] : []),
    ...(typeof downtime === 'number' && downtime > 0 ? [`suspended ${milliseconds(downtime)}`] : []),
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
        const [words, look] = KINDS[event.type] ?? [event.type.replaceAll('_', ' '), 'ok'];
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
