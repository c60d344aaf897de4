import { count, counted, tenths } from './format';

/** The texts of the machine: its health and its capacity. */
export const machineWords = {
  title: 'Machine',
  compare: 'Reconcile with Docker',
  machine: 'machine',
  cluster: 'cluster',
  theMachine: 'the machine',
  theCluster: 'the cluster',
  lastDay: 'Last 24 hours',
  memory: 'Memory',
  cpu: 'CPU',
  freeMemory: 'Free memory',
  disk: 'Disk',
  unknown: 'unknown',
  status: {
    ok: 'Healthy',
    degraded: 'Needs attention',
    notReady: 'Not ready',
  },
  capacity: {
    memoryReserve: (reserve: string) => `New starts are blocked below ${reserve} free.`,
    diskReserve: (reserve: string) =>
      `New containers and starts are blocked below ${reserve} free. ` + 'Disk sizes are limits, not reservations.',
    diskNotEnforced: 'They are not enforced: Docker has no disk quotas, so containers can exceed them.',
    reservedIs: 'Reserved is the sum of the limits of all running containers.',
    isUnknown: 'Unknown: Docker runs on another machine.',
    reserved: (resource: string) => `${resource}, reserved`,
    used: (resource: string) => `${resource}, used`,
  },
  idle: {
    title: 'Idle sandboxes',
    /** What follows the number. */
    unused: 'idle for 10 minutes',
    cost: (shares: number) => `An idle sandbox uses ${tenths(shares / 10)}% of a core.`,
    notMeasured: 'The cost of an idle sandbox was not measured.',
  },
  report: {
    summary: (counts: readonly string[]) => `Reconciled with Docker: ${counts.join(', ')}.`,
    looked: (containers: number) => `${counted(containers, 'container')} compared`,
    reconciled: (rows: number) => `${counted(rows, 'row')} corrected`,
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
      `Creations from a slot: ${count(hits)}; without one: ${count(misses)}.`,
    fewer: (why: string) => `Fewer than wanted: ${why}.`,
  },
  today: {
    title: 'Usage today by user',
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
