import type { ContainerView, IdleAction } from '@berth/client';

interface Unused {
  /** Until it is stopped or paused; null: never. */
  readonly idle: string | null;
  readonly action: IdleAction;
  /** From then until it is deleted; null: never. */
  readonly deletion: string | null;
}

interface LifetimeWords {
  readonly action: ContainerView['end_action'];
  readonly left: string | null;
  readonly whole: string;
}

const AT_END = { stop: 'Stops', pause: 'Pauses', delete: 'Is deleted' } as const;
const WHEN_IDLE = { stop: 'Stops', pause_then_stop: 'Pauses, and later stops,', pause: 'Pauses' } as const;

/** The texts of a container's overview. */
export const overviewWords = {
  loading: 'Loading…',
  usage: {
    title: (name: string) => `Usage of ${name}`,
    /** Where nothing is measured, by the container's status. */
    none: {
      creating: (name: string) => `“${name}” is being created`,
      stopped: (name: string) => `“${name}” is stopped`,
      error: (name: string) => `“${name}” is not running`,
    },
    noneHint: 'CPU, memory, disk and network appear when it runs.',
  },
  problems: {
    title: 'Problems',
    output: 'Output of the program',
    settings: 'Resize',
    startAgain: 'Try again',
    keep: 'Keep it',
    keepRunning: 'Keep it running',
  },
  events: {
    title: 'Recent activity',
    all: 'All events',
    none: 'No recent events.',
  },
  listening: {
    title: 'Listening ports',
    more: 'Links and access',
    none: 'None. Servers you start in the container appear here.',
    /** As in “Address of port 3000 copied.” */
    address: (port: number) => `Address of port ${String(port)}`,
  },
  details: {
    title: 'Details',
    id: 'ID',
    address: 'Address',
    ssh: 'SSH',
    sshCommand: 'SSH command',
    template: 'Template',
    templateVersion: (version: string) => `version ${version}`,
    role: 'Role',
    roleStatuses: { pending: 'pending', installing: 'installing', installed: 'installed', failed: 'failed' },
    memory: 'Memory',
    cpu: 'CPU',
    disk: 'Disk',
    diskPlace: 'at /home/user',
    network: 'Network',
    networks: { internet: 'Internet', none: 'None' },
    use: 'Activity',
    ends: 'Ends',
    lifetime: 'Lifetime',
    /** `left` until the end, or null while it does not count; `whole` is that of each run. */
    lifetimeEnds: ({ action, left, whole }: LifetimeWords) =>
      left === null ? `${AT_END[action]} ${whole} after the next start` : `${AT_END[action]} in ${left}`,
    unused: 'When idle',
    unusedActions: ({ idle, action, deletion }: Unused) => {
      const first = idle === null ? 'Keeps running' : `${WHEN_IDLE[action]} after ${idle}`;
      return deletion === null ? first : `${first}, deleted ${deletion} after stopping`;
    },
    startCommand: 'Start command',
    ready: 'Ready',
    notReady: 'Not ready',
    labels: 'Labels',
    noLabels: 'None',
    isolation: 'Isolation',
    gvisor: 'gVisor (runsc)',
  },
};
