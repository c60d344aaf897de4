/** The texts of a container's page: its tabs, and what is said while its inside cannot be shown. */
export const containerWords = {
  title: 'Container',
  loading: 'Loading…',
  own: 'Your containers',
  deleted: 'Deleted containers, which can be restored',
  settings: 'Settings',
  more: (name: string) => `More for ${name}`,
  tabs: {
    overview: 'Overview',
    terminal: 'Terminal',
    files: 'Files',
    processes: 'Processes',
    logs: 'Logs',
    ports: 'Ports',
    snapshots: 'Snapshots',
    events: 'Events',
  },
  /** Why its inside is not shown, by its status. */
  closed: {
    creating: (name: string) => `“${name}” is being created`,
    paused: (name: string) => `“${name}” is paused`,
    stopped: (name: string) => `“${name}” is stopped`,
    error: (name: string) => `“${name}” has failed`,
  },
  /** What helps against that. */
  closedHint: {
    creating: 'Terminals, files and processes are available once it runs.',
    paused: 'Its processes continue when it is resumed.',
    stopped: 'Start it to use terminals, files and processes.',
    error: 'See the overview for the reason. Start it to try again.',
    restarting: 'It starts again in a moment.',
  },
  power: { pause: 'Pause', resume: 'Resume' },
  noEvents: 'No recent events',
};
