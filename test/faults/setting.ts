/** Size of the run on several processes. `BERTH_TEST_OPERATIONS` sets a smaller one, for experiments. */
const OPERATIONS = Number(process.env['BERTH_TEST_OPERATIONS'] ?? 2_000);
const THINK_MS = 500;

/** How long nodes are away in the run on several nodes. */
export const AWAY_MS = OPERATIONS >= 1_000 ? [1_000, 5_000, 15_000, 30_000] : [1_000, 5_000, 15_000];

/** The parameters of a run. */
export interface RunSetting {
  readonly name: 'cluster' | 'sqlite' | 'nodes';
  readonly processes: number;
  readonly users: number;
  readonly operations: number;
  /** Maximum pause of a user between requests. */
  readonly thinkMs: number;
  /** Whether the run is long enough to make every kind of fault, however faults coincide. */
  readonly isLong: boolean;
  readonly verbs: 'all' | 'without_snapshots';
}

export const CLUSTER_RUN: RunSetting = {
  name: 'cluster',
  processes: 3,
  // A fault that takes Docker away ends the containers of all users, which takes time to recover.
  users: OPERATIONS >= 300 ? 20 : OPERATIONS >= 100 ? 6 : 4,
  operations: OPERATIONS,
  thinkMs: THINK_MS,
  isLong: OPERATIONS >= 1_000,
  verbs: 'all',
};

/**
 * The other run covers several processes and Docker's faults; this one is about the database file. Fewer operations
 * would test too little.
 */
export const SQLITE_RUN: RunSetting = {
  name: 'sqlite',
  processes: 1,
  users: 8,
  operations: Math.max(100, Math.ceil(OPERATIONS / 8)),
  thinkMs: THINK_MS,
  isLong: OPERATIONS >= 1_000,
  verbs: 'all',
};

/**
 * This run adds the faults of several Dockers. It lasts as long as nodes are away, so its users pause longer, to make
 * requests all the while.
 */
export const NODES_RUN: RunSetting = {
  name: 'nodes',
  processes: 2,
  users: 6,
  operations: Math.max(80, Math.ceil(OPERATIONS / 12)),
  thinkMs: 5 * THINK_MS,
  isLong: false,
  verbs: 'without_snapshots',
};

/** One in this many calls of a process to Docker gets a fault. */
export const STRIKE_EVERY = 25;
/** One in this many operations has a client that hangs up in the middle. */
export const HANG_UP_EVERY = 15;

/** Small, so that users often reach their limits, and two processors can run the containers of all users. */
const limits = {
  memory_mb: 512,
  cpu_shares: 1000,
  disk_mb: 2048,
  session: null,
  session_once: false,
  agents: 0,
  snapshots: 2,
  snapshot_mb: 1024,
};
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
 * Short times, so that recovery happens during the run and not after it. A lease has its usual term: a dead process's
 * leases are taken over long before they expire.
 */
export const TERMS = {
  OPERATION_CLAIM_SECONDS: '30',
  OPERATION_WAIT_SECONDS: '10',
  SWEEP_INTERVAL_SECONDS: '4',
  ORPHAN_GRACE_SECONDS: '2',
  STOP_GRACE_SECONDS: '2',
  DOCKER_TIMEOUT_SECONDS: '15',
  VOLUME_RETENTION: '20s',
  SNAPSHOT_RETENTION: '20s',
  VOLUME_COPY_IMAGE: process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest',
} as const;
