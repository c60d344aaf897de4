import type { JSX } from 'preact';
import { at, milliseconds, timeOfDay } from '../data/format';
import type { BerthEvent } from '@berth/client';
import { containerById } from '../data/live';
import { reasonInWords } from '../data/words';
import { Link } from '../router';

/** What an event is called, and how it looks. */
const KINDS: Readonly<Record<string, readonly [words: string, look: string]>> = {
  container_created: ['Creation began', 'creating'],
  container_progress: ['Progress', 'creating'],
  container_started: ['Started', 'running'],
  container_stopped: ['Stopped', 'stopped'],
  container_paused: ['Paused', 'paused'],
  container_resumed: ['Resumed', 'running'],
  container_updated: ['Changed', 'ok'],
  container_moved: ['Moved', 'ok'],
  container_unreachable: ['Machine silent', 'warn'],
  container_reachable: ['Machine answers', 'ok'],
  container_expiring: ['Ends soon', 'warn'],
  container_deleted: ['Deleted', 'deleted'],
  container_restored: ['Restored', 'stopped'],
  container_error: ['Failed', 'error'],
  container_ready: ['Ready', 'running'],
  container_not_ready: ['Not ready in time', 'warn'],
  process_started: ['Process started', 'running'],
  process_exited: ['Process ended', 'stopped'],
  process_lost: ['Process lost', 'error'],
  snapshot_created: ['Snapshot begun', 'creating'],
  snapshot_progress: ['Snapshot progress', 'creating'],
  snapshot_ready: ['Snapshot ready', 'ok'],
  snapshot_failed: ['Snapshot failed', 'error'],
  snapshot_deleted: ['Snapshot deleted', 'deleted'],
  node_drained: ['Node drained', 'warn'],
  node_activated: ['Node activated', 'running'],
  node_unreachable: ['Node silent', 'error'],
  node_reachable: ['Node answers', 'running'],
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

/** What there is to say beside what happened. */
function detailOf({ type, data: facts }: BerthEvent): string {
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
  const parts = [reason, message === '' ? null : message, data['recreated'] === true ? 'recreated' : null, kept];
  return parts.filter((part) => part !== null).join(', ');
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

/** Events, the newest first. @param isOfOne all are of one container, which need not be named */
export function EventList({
  events,
  isOfOne = false,
}: {
  events: readonly BerthEvent[];
  isOfOne?: boolean;
}): JSX.Element {
  return (
    <ol class="panel">
      {events.map((event) => {
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
              {detailOf(event)}
            </span>
          </li>
        );
      })}
    </ol>
  );
}
