import { count, counted, tenths } from './format';

/** The texts of the machine: its health and its capacity. */
export const machineWords = {
  title: 'Machine',
  compare: 'Compare with Docker',
  machine: 'machine',
  cluster: 'cluster',
  theMachine: 'the machine',
  theCluster: 'the cluster',
  lastDay: 'The last day',
  memory: 'Memory',
  cpu: 'CPU',
  freeMemory: 'Free memory',
  disk: 'Disk',
  unknown: 'unknown',
  status: {
    ok: 'Healthy',
    degraded: 'Has notices',
    notReady: 'Not ready',
  },
  capacity: {
    memoryReserve: (reserve: string) => `Nothing is started with less than ${reserve} free.`,
    diskReserve: (reserve: string) =>
      `Nothing is created or started with less than ${reserve} free. ` +
      'Disk sizes of containers are limits: they are not reserved.',
    reservedIs: 'The limits of all running containers together are reserved.',
    isUnknown: 'Unknown: Docker does not run on the server’s own machine.',
    reserved: (resource: string) => `${resource}, reserved`,
    used: (resource: string) => `${resource}, used`,
  },
  idle: {
    title: 'Idle sandboxes',
    /** What follows the number. */
    unused: 'not used for 10 minutes',
    cost: (shares: number) => `An idle sandbox uses ${tenths(shares / 10)} % of a core.`,
    notMeasured: 'What an idle sandbox uses was not measured.',
  },
  report: {
    summary: (counts: readonly string[]) => `Compared with Docker: ${counts.join(', ')}.`,
    looked: (containers: number) => `${counted(containers, 'container')} compared`,
    reconciled: (rows: number) => `${counted(rows, 'row')} corrected after Docker`,
    finished: (operations: number) => `${counted(operations, 'operation')} finished`,
    under_way: (operations: number) => `${count(operations)} in progress`,
    reconnected: (containers: number) => `${count(containers)} reconnected to their network`,
    moved: (containers: number) => `${count(containers)} moved to another network`,
    removed_orphans: (containers: number) => `${count(containers)} orphans removed`,
    purged: (containers: number) => `${count(containers)} purged`,
    failed: (containers: number) => `${count(containers)} failed`,
  },
  warm: {
    title: 'Warm slots',
    empty: 'Empty',
    wanted: 'Wanted',
    ready: 'Ready',
    starting: 'Starting',
    taken: ({ hits, misses }: { readonly hits: number; readonly misses: number }) =>
      `Creations that took one: ${count(hits)}; that did not: ${count(misses)}.`,
    fewer: (why: string) => `Fewer than wanted: ${why}.`,
  },
  today: {
    title: 'Used today, by user',
    running: 'Running',
  },
  health: {
    title: 'Health',
    checks: { database: 'Database', docker: 'Docker' },
    runtime: 'Runtime',
    firewall: 'Firewall',
    allowLists: 'Allow lists',
    diskQuotas: 'Disk quotas',
    dockerIs: 'Docker identity',
    sandboxProof: 'Sandbox proof',
    diskFree: ({ free, total }: { readonly free: string; readonly total: string }) => `${free} of ${total} free`,
    notices: 'Notices',
  },
};
