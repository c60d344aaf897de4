/** The fields that the forms of a creation, of settings and of templates share. */
export const containerFieldWords = {
  memory: 'Memory (GB)',
  cpus: 'CPUs',
  disk: 'Disk (GB)',
  notEnforced: (range: string) => `${range} · not enforced on this server`,
  labels: { title: 'Labels', hint: 'Key–value pairs for filtering, e.g. team = core' },
  network: {
    title: 'Network',
    internet: 'Internet',
    allow: 'Only listed addresses',
    none: 'None',
    hints: {
      internet: 'Everything this server allows',
      allow: 'Only these addresses and DNS',
      none: 'No network access. Roles cannot be installed.',
    },
    addresses: 'Reachable addresses',
    addressesHint: 'One per line, e.g. 203.0.113.0/24:8000, 198.51.100.7:53/udp or 203.0.113.9:*',
  },
  lifetime: {
    /** @param most what an empty field means; null: never */
    hint: (most: string | null) =>
      `e.g. 30 min, 2 h or 7 d. ${most === null ? 'Leave empty for never.' : `Leave empty for your tier’s maximum, ${most}.`}`,
    idleAfter: 'Idle timeout',
    idleExample: '2 h',
    idleAction: 'When idle',
    idleActions: {
      usual: 'Tier default',
      stop: 'Stop',
      pause_then_stop: 'Pause, then stop',
      pause: 'Pause',
    },
    deleteAfter: 'Delete when stopped for',
    deleteExample: '7 d',
    autoStart: 'Start when a preview is opened',
  },
  start: {
    title: 'Start command',
    hint: "Runs after every start, without a shell. For pipes use sh -c '…'.",
    hintWithUnset: (unset: string) =>
      "Runs after every start, without a shell. For pipes use sh -c '…'." +
      ` If empty: ${unset.charAt(0).toLowerCase()}${unset.slice(1)}.`,
    restart: 'When it exits',
    onFailure: 'Restart on failure',
    never: 'Do not restart',
    readyPort: 'Ready when this port is open',
    readyPortHint: 'Optional',
  },
};
