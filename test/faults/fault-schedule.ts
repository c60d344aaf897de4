import { SeededRandom } from '../support/seeded-random';

/** Everything that is done to the services; what the proxies do to single calls comes on top. */
export const FAULTS = [
  ...(['process_kill', 'docker_restart', 'docker_kill', 'docker_outage', 'docker_connections_cut'] as const),
  ...(['event_streams_corrupted', 'postgres_restart', 'postgres_kill', 'redis_restart', 'redis_kill'] as const),
  ...(['container_kill', 'container_stop', 'container_remove', 'container_crash', 'container_start'] as const),
] as const;
export type Fault = (typeof FAULTS)[number];

/** How often in a run of 2,000 operations. A restart of Docker takes all containers with it, and its time. */
const TIMES: Readonly<Record<Fault, number>> = {
  process_kill: 20,
  docker_restart: 2,
  docker_kill: 2,
  docker_outage: 8,
  docker_connections_cut: 8,
  event_streams_corrupted: 8,
  postgres_restart: 2,
  postgres_kill: 2,
  redis_restart: 2,
  redis_kill: 2,
  container_kill: 20,
  container_stop: 8,
  container_remove: 25,
  container_crash: 10,
  container_start: 8,
};

export interface ScheduledFault {
  readonly fault: Fault;
  /** Before which operation, counted from 1. */
  readonly before: number;
}

/** When what goes wrong, in order. Each kind happens once at least, however short the run; none in its last tenth. */
export function scheduleFaults(random: SeededRandom, operations: number): ScheduledFault[] {
  const from = operations * 0.03;
  const span = operations * 0.87;
  return FAULTS.flatMap((fault) => {
    const times = Math.max(1, Math.round((TIMES[fault] * operations) / 2_000));
    // Each in its own share of the run, so that seeds differ in the when and not in the whether.
    return Array.from({ length: times }, (_none, index) => ({
      fault,
      before: Math.max(1, Math.ceil(from + (span * (index + random.next())) / times)),
    }));
  }).sort((a, b) => a.before - b.before);
}
