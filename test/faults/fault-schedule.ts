import { SeededRandom } from '../support/seeded-random';

/** How often each fault is made in a run of 2,000 operations. */
export type Times<F extends string> = Readonly<Record<F, number>>;

/**
 * Faults of the services and their data. The proxies add faults of single calls. A restart of Docker ends all
 * containers, and takes time.
 */
export const CLUSTER_FAULTS = {
  process_kill: 20,
  process_pause: 4,
  process_clock_back: 3,
  docker_restart: 2,
  docker_kill: 2,
  docker_emptied: 1,
  docker_outage: 8,
  docker_connections_cut: 8,
  docker_starts_refused: 8,
  event_streams_corrupted: 8,
  postgres_restart: 2,
  postgres_kill: 2,
  database_silent: 4,
  row_locked: 8,
  redis_restart: 2,
  redis_kill: 2,
  container_kill: 20,
  container_stop: 8,
  container_remove: 25,
  container_crash: 10,
  container_start: 8,
  container_disconnect: 8,
} as const;

/** The faults of the run on SQLite. */
export const SQLITE_FAULTS = { process_kill: 20, database_locked: 30 } as const;

/** The faults of the run on several nodes: some of each kind that applies to one Docker, and those of nodes. */
export const NODES_FAULTS = {
  node_kill: 30,
  node_restart: 10,
  node_cut: 30,
  node_drain: 20,
  quorum_lost: 10,
  container_move: 40,
  process_kill: 30,
  process_pause: 10,
  postgres_kill: 10,
  database_silent: 10,
  row_locked: 10,
  redis_kill: 10,
  container_kill: 20,
  container_stop: 10,
  container_remove: 20,
  container_crash: 10,
  container_start: 10,
  container_disconnect: 10,
} as const;

export interface ScheduledFault<F extends string> {
  readonly fault: F;
  /** The fault comes before this operation, counted from 1. */
  readonly before: number;
}

/** Schedules the faults, in order. Each kind is made at least once, however short the run; none in the last tenth. */
export function scheduleFaults<F extends string>(
  times: Times<F>,
  random: SeededRandom,
  operations: number,
): ScheduledFault<F>[] {
  const from = operations * 0.03;
  const span = operations * 0.87;
  const faults = Object.entries<number>(times) as [F, number][];
  return faults
    .flatMap(([fault, often]) => {
      const count = Math.max(1, Math.round((often * operations) / 2_000));
      // Each repetition falls into its own share of the run, so that seeds change the times and not the numbers.
      return Array.from({ length: count }, (_none, index) => ({
        fault,
        before: Math.max(1, Math.ceil(from + (span * (index + random.next())) / count)),
      }));
    })
    .sort((a, b) => a.before - b.before);
}
