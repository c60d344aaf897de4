/** The fields that the forms of a creation, of settings and of templates share. */
export const containerFieldWords = {
  memory: 'Memory, GB',
  cpus: 'CPUs',
  disk: 'Disk, GB',
  notEnforced: (range: string) => `${range}; not enforced by this server`,
  labels: { title: 'Labels', hint: 'Such as team and core. The list can be filtered by them.' },
  network: {
    title: 'Network',
    internet: 'Internet',
    allow: 'Only listed addresses',
    none: 'None',
    hints: {
      internet: 'What this server lets containers reach.',
      allow: 'These addresses, and name servers.',
      none: 'Nothing at all; no role can be installed.',
    },
    addresses: 'Reachable addresses',
    addressesHint: 'One per line: 203.0.113.0/24:8000, 198.51.100.7:53/udp or 203.0.113.9:*',
  },
  lifetime: {
    /** @param most what an empty field means; null: never */
    hint: (most: string | null) =>
      `Such as 30 min, 2 h or 7 d. ${most === null ? 'Empty: never.' : `Empty: after ${most}, the most on your tier.`}`,
    idleAfter: 'Idle when unused for',
    idleExample: '2 h',
    idleAction: 'When idle',
    idleActions: {
      usual: 'As the tier says',
      stop: 'Stop',
      pause_then_stop: 'Pause, and stop later',
      pause: 'Pause',
    },
    deleteAfter: 'Delete when stopped for',
    deleteExample: '7 d',
    autoStart: 'Start it when a preview of its ports is opened',
  },
  start: {
    title: 'Start command',
    hint: 'Run after every start of the container. Quotes keep words together; no shell reads it.',
    hintWithUnset: (unset: string) =>
      'Run after every start of the container. Quotes keep words together; no shell reads it.' +
      ` Empty: ${unset.charAt(0).toLowerCase()}${unset.slice(1)}.`,
    restart: 'When it ends',
    onFailure: 'Run it again if it failed',
    never: 'Leave it',
    readyPort: 'Ready once this port listens',
    readyPortHint: 'Empty for no condition',
  },
};
