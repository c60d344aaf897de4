interface Change {
  readonly what: string;
  readonly from: string;
  readonly to: string;
}

/** The texts of events, and of the pages that list them. */
export const eventsWords = {
  title: 'Events',
  hint: 'Live, newest first',
  withProgress: 'Show progress',
  none: {
    title: 'No events yet',
    hint: 'Events of your containers and agents appear here.',
  },
  /** What happened, by an event's type. */
  kinds: {
    container_created: 'Creation started',
    container_progress: 'Progress',
    container_started: 'Started',
    container_stopped: 'Stopped',
    container_paused: 'Paused',
    container_resumed: 'Resumed',
    container_updated: 'Changed',
    container_moved: 'Moved',
    container_unreachable: 'Machine not responding',
    container_reachable: 'Machine responds again',
    container_expiring: 'Ends soon',
    container_deleted: 'Deleted',
    container_restored: 'Restored',
    container_error: 'Failed',
    container_ready: 'Ready',
    container_not_ready: 'Not ready in time',
    process_started: 'Process started',
    process_exited: 'Process ended',
    process_lost: 'Process lost',
    snapshot_created: 'Snapshot started',
    snapshot_progress: 'Snapshot progress',
    snapshot_ready: 'Snapshot ready',
    snapshot_failed: 'Snapshot failed',
    snapshot_deleted: 'Snapshot deleted',
    node_drained: 'Node drained',
    node_activated: 'Node activated',
    node_unreachable: 'Node not responding',
    node_reachable: 'Node responds again',
    node_forgotten: 'Node removed',
    node_readmitted: 'Node is back',
    agent_connected: 'Agent connected',
    agent_disconnected: 'Agent disconnected',
    webhook_disabled: 'Webhook disabled',
  },
  percent: (value: number | string) => `${String(value)}%`,
  progress: ({ message, percent }: { readonly message: string; readonly percent: string }) => `${message} (${percent})`,
  exited: ({ program, code }: { readonly program: string; readonly code: string }) => `${program}, exit code ${code}`,
  /** What is near, by an event's `action`. */
  ends: {
    delete: (time: string) => `deleted at ${time}`,
    pause: (time: string) => `paused at ${time}`,
    stop: (time: string) => `stopped at ${time}`,
  },
  recreated: 'recreated',
  restarted: 'restarted',
  softwareKept: 'installed software kept',
  dataKept: 'only /home/user kept',
  suspended: (time: string) => `suspended ${time}`,
  quoted: (name: string) => `“${name}”`,
  /** What an update changed. */
  changes: {
    name: 'name',
    memory: 'memory',
    cpu: 'CPU',
    disk: 'disk',
    network: 'network',
    labels: 'labels',
    networks: { internet: 'internet', none: 'none' },
    noLabels: 'none',
    of: ({ what, from, to }: Change) => `${what} ${from} → ${to}`,
    sizes: ({ memory, cpu, disk }: { readonly memory: string; readonly cpu: string; readonly disk: string }) =>
      `${memory} memory, ${cpu}, ${disk} disk`,
    other: 'other settings',
  },
};
