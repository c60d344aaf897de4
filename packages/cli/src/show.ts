import type * as api from '@berth/client';
import { bytes, duration, mebibytesText, moment, type Section, saySections } from './output.ts';
import { showNetwork } from './values.ts';

/** Writes a container, or an agent, for people. @param limits of its owner, for what is left to the tier */
export function showContainer(container: api.ContainerView | api.AgentView, limits: api.LimitsView): void {
  saySections('db_id' in container ? sectionsOf(container, limits) : agentSections(container));
}

function sectionsOf(container: api.ContainerView, limits: api.LimitsView): readonly Section[] {
  const { resources, template, start, ip_address: address } = container;
  return [
    {
      title: 'Container',
      facts: [
        ['Name', container.name],
        ['Status', statusOf(container)],
        ['Node', container.node_state === 'unreachable' ? 'unreachable; the status is the last known one' : null],
        ['ID', container.db_id],
        ['Docker ID', container.id === container.db_id ? null : container.id.slice(0, 12)],
        ['Image', container.image],
        ['Template', template && `${template.name} ${template.version}`],
        ['Role', container.role && `${container.role}${inBrackets(container.role_status)}`],
        ['Labels', labelsOf(container.labels)],
        ['Created', moment(container.created_at)],
        ['Last used', moment(container.last_used_at)],
      ],
    },
    {
      title: 'Resources',
      facts: [
        ['Memory', mebibytesText(resources.memory_mb)],
        ['CPUs', resources.cpu_shares / 1_000],
        ['Disk', mebibytesText(resources.disk_mb)],
        ['Runtime', container.runtime],
      ],
    },
    {
      title: 'Network',
      facts: [
        ['Access', networkOf(container.network)],
        ['Address', address],
      ],
    },
    { title: 'Lifetime', facts: lifetimeOf(container, limits) },
    { title: 'Start command', facts: start === null ? [] : startOf(start, container.ready) },
  ];
}

/** Such as `stopped (oom)`. */
export function statusOf({ status, status_reason: reason }: { status: string; status_reason: string | null }): string {
  return `${status}${inBrackets(reason)}`;
}

function inBrackets(text: string | null): string {
  return text === null ? '' : ` (${text})`;
}

/** Such as `team=core, gpu`; null if there are none. */
export function labelsOf(labels: Readonly<Record<string, string>>, separator = ', '): string | null {
  const texts = Object.entries(labels).map(([key, value]) => (value === '' ? key : `${key}=${value}`));
  return texts.length === 0 ? null : texts.join(separator);
}

function networkOf(policy: api.NetworkPolicy): string {
  if (policy === 'internet') return 'internet';
  return policy === 'none' ? 'none' : `only ${showNetwork(policy).replaceAll(',', ', ')}`;
}

const IDLE_ACTIONS: Readonly<Record<api.IdleAction, string>> = {
  stop: 'stops',
  pause: 'pauses',
  pause_then_stop: 'pauses, and stops after the same time again',
};

const END_ACTIONS: Readonly<Record<api.ContainerView['end_action'], string>> = {
  stop: 'stops',
  pause: 'pauses',
  delete: 'is deleted',
};

function endOf({ lifetime_seconds: seconds, end_action: action, ends_at: end }: api.ContainerView): string | null {
  if (seconds === null) return null;
  const when = end === null ? `${duration(seconds)} after its next start` : moment(end);
  return `${END_ACTIONS[action]} ${when}`;
}

function lifetimeOf(container: api.ContainerView, limits: api.LimitsView): Section['facts'] {
  const { auto_stop_seconds: stop, auto_delete_seconds: remove, idle_action: action, expires_at: ends } = container;
  const idle = leastOf(stop, limits.auto_stop_seconds);
  const deleted = leastOf(remove, limits.auto_delete_seconds);
  return [
    ['Run ends', ends === null ? null : moment(ends)],
    ['Lifetime', endOf(container)],
    [
      'When idle',
      idle === null ? 'runs on' : `${IDLE_ACTIONS[action ?? limits.idle_action]} after ${duration(idle)} without use`,
    ],
    ['When stopped', deleted === null ? 'is kept' : `is deleted after ${duration(deleted)}`],
    ['Started by', container.auto_start ? 'you, previews and SSH' : 'you'],
  ];
}

/** The container's own limit and the tier's: the shorter applies. */
function leastOf(own: number | null, tier: number | null): number | null {
  const limits = [own, tier].filter((each) => each !== null);
  return limits.length === 0 ? null : Math.min(...limits);
}

function startOf({ command, restart, ready }: api.StartCommand, isReady: boolean | null): Section['facts'] {
  const within = ready === null ? '' : `, within ${duration(ready.within_seconds)}`;
  const condition = ready?.port === undefined ? quoted(ready?.command ?? []) : `port ${String(ready.port)} is open`;
  return [
    ['Command', quoted(command)],
    ['Restarts', restart === 'never' ? 'never' : 'on failure'],
    ['Ready when', ready === null ? null : `${condition}${within}`],
    ['Ready', isReady === null ? null : isReady ? 'yes' : 'no'],
  ];
}

/** A command as one would type it in a shell. */
export function quoted(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

function agentSections(agent: api.AgentView): readonly Section[] {
  const { load, memory_used_mb: used, memory_total_mb: total, uptime_seconds: uptime } = agent;
  return [
    {
      title: 'Agent',
      facts: [
        ['Name', agent.name],
        ['Status', agent.status],
        ['ID', agent.id],
        ['Description', agent.description],
        ['Tags', agent.tags.length === 0 ? null : agent.tags.join(', ')],
        ['Version', agent.version],
        ['Created', moment(agent.created_at)],
        ['Connected', agent.connected_at === null ? null : moment(agent.connected_at)],
        ['Last seen', agent.last_seen_at === null ? null : moment(agent.last_seen_at)],
      ],
    },
    {
      title: 'Machine',
      facts: [
        ['System', [agent.os, agent.arch].filter((each) => each !== null).join(' ') || null],
        ['Uptime', uptime === null ? null : duration(uptime)],
        ['Load', load?.map((each) => each.toFixed(2)).join(' ')],
        ['Memory', used === null || total === null ? null : `${mebibytesText(used)} of ${mebibytesText(total)}`],
      ],
    },
  ];
}

/** Writes a snapshot for people. */
export function showSnapshot(snapshot: api.SnapshotView): void {
  saySections([
    {
      title: 'Snapshot',
      facts: [
        ['Name', snapshot.name],
        ['Status', statusOf(snapshot)],
        ['ID', snapshot.id],
        ['Description', snapshot.description],
        ['Labels', labelsOf(snapshot.labels)],
        ['Size', bytes(snapshot.bytes)],
        ['Contains', snapshot.root ? 'all files' : '/home/user'],
        ['Created', moment(snapshot.created_at)],
      ],
    },
    {
      title: 'Created from',
      facts: [
        ['Container', snapshot.container_id],
        ['Image', snapshot.image],
        ['Role', snapshot.role],
        ['Disk', mebibytesText(snapshot.disk_mb)],
      ],
    },
  ]);
}

/** Writes a user with scopes, use and limits for people. */
export function showUser(me: api.MeView, { server, context }: { server: string; context: string | null }): void {
  const { user, limits, usage, scopes, container, session } = me;
  const { min, max } = limits;
  const range = (low: number, high: number): string => `${mebibytesText(low)} to ${mebibytesText(high)}`;
  const lasting = limits.session_seconds;
  saySections([
    {
      title: 'User',
      facts: [
        ['Name', user.username],
        ['Tier', user.tier],
        ['ID', user.id],
        ['Server', server],
        ['Context', context],
        ['Scopes', scopes.join(', ')],
        ['Only container', container && `${container.id}${container.forks ? ' and its forks' : ''}`],
        ['Session ends', session === null ? null : moment(session.expires_at)],
      ],
    },
    {
      title: 'Usage and limits',
      facts: [
        ['Containers', `${String(usage.containers)} of ${String(limits.containers)}`],
        ['Agents', `${String(usage.agents)} of ${String(limits.agents)}`],
        ['Snapshots', `at most ${String(limits.snapshots)}, ${mebibytesText(limits.snapshot_mb)} in total`],
        ['Webhooks', `at most ${String(limits.webhooks)}`],
      ],
    },
    {
      title: 'Limits of a container',
      facts: [
        ['Memory', range(min.memory_mb, max.memory_mb)],
        ['CPUs', `${String(min.cpu_shares / 1_000)} to ${String(max.cpu_shares / 1_000)}`],
        ['Disk', range(min.disk_mb, max.disk_mb)],
        ['Network', networkOf(limits.network)],
        ['Processes', limits.processes],
        ['Commands and files', limits.exec ? null : 'not allowed'],
        ['Public ports', limits.public_previews ? 'allowed' : 'not allowed'],
        ['Session', lasting === null ? null : `${duration(lasting)}${limits.session_once ? ', once' : ' a run'}`],
        [
          'When idle',
          limits.auto_stop_seconds === null
            ? null
            : `${IDLE_ACTIONS[limits.idle_action]} after ${duration(limits.auto_stop_seconds)} without use`,
        ],
        [
          'When stopped',
          limits.auto_delete_seconds === null ? null : `is deleted after ${duration(limits.auto_delete_seconds)}`,
        ],
      ],
    },
  ]);
}
