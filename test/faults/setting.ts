/** How large the run on several processes is. `BERTH_TEST_OPERATIONS` makes one that only tries something out. */
const OPERATIONS = Number(process.env['BERTH_TEST_OPERATIONS'] ?? 2_000);
const THINK_MS = 500;

/** How long nodes are away in the run on several. */
export const AWAY_MS = OPERATIONS >= 1_000 ? [1_000, 5_000, 15_000, 30_000] : [1_000, 5_000, 15_000];

/** How one of the runs is made. */
export interface RunSetting {
  readonly name: 'cluster' | 'sqlite' | 'nodes';
  readonly processes: number;
  readonly users: number;
  readonly operations: number;
  /** How long users think between requests, at most. */
  readonly thinkMs: number;
  /** Whether there is time enough for every kind of fault to be made, however faults meet. */
  readonly isLong: boolean;
}

export const CLUSTER_RUN: RunSetting = {
  name: 'cluster',
  processes: 3,
  // Whatever takes Docker away takes the containers of all of them, and brings them back.
  users: OPERATIONS >= 300 ? 20 : 6,
  operations: OPERATIONS,
  thinkMs: THINK_MS,
  isLong: OPERATIONS >= 1_000,
};

/**
 * What several processes and Docker's faults do is seen in the other; this one is about the file. In fewer too little
 * happens.
 */
export const SQLITE_RUN: RunSetting = {
  name: 'sqlite',
  processes: 1,
  users: 8,
  operations: Math.max(100, Math.ceil(OPERATIONS / 8)),
  thinkMs: THINK_MS,
  isLong: OPERATIONS >= 1_000,
};

/**
 * This one is about what several Dockers add. It takes as long as nodes are away, so its users take their time: they
 * are to be there all the while.
 */
export const NODES_RUN: RunSetting = {
  name: 'nodes',
  processes: 2,
  users: 6,
  operations: Math.max(80, Math.ceil(OPERATIONS / 12)),
  thinkMs: 5 * THINK_MS,
  isLong: false,
};

/** Which call of a process to Docker is struck: one in so many. */
export const STRIKE_EVERY = 25;
/** Which operation's client hangs up in the middle: one in so many. */
export const HANG_UP_EVERY = 15;

/**
 * Small, so that users come to their limits all the time, and two processors can carry the containers of all of them.
 */
const limits = { memory_mb: 512, cpu_shares: 1000, disk_mb: 2048, session: null, session_once: false, agents: 0 };
export const TIERS = {
  minimum: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
  tiers: {
    one: { containers: 1, ...limits },
    two: { containers: 2, ...limits },
    three: { containers: 3, ...limits },
  },
};
export const TIER_NAMES = ['one', 'two', 'three'] as const;

export const SIZES = [
  { memory_mb: 256, cpu_shares: 500, disk_mb: 1024 },
  { memory_mb: 384, cpu_shares: 500, disk_mb: 1024 },
  { memory_mb: 512, cpu_shares: 1000, disk_mb: 2048 },
] as const;

/**
 * Short terms, so that recovery happens during the run and not after it. That of a lease is the usual one: what a
 * process held that died is taken over long before its end.
 */
export const TERMS = {
  OPERATION_CLAIM_SECONDS: '30',
  OPERATION_WAIT_SECONDS: '10',
  SWEEP_INTERVAL_SECONDS: '4',
  ORPHAN_GRACE_SECONDS: '2',
  STOP_GRACE_SECONDS: '2',
  DOCKER_TIMEOUT_SECONDS: '15',
  VOLUME_RETENTION: '20s',
} as const;
