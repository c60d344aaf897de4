import { setTimeout as delay } from 'node:timers/promises';
import { RealDocker } from '../support/docker/real-docker';
import { DatabaseView } from './database-view';
import { FaultyCluster } from './faulty-cluster';

/** The fields of an unsettled row that show what it waits for. */
const TOLD = [
  'id',
  'status',
  'operation',
  'operation_id',
  'operation_holder',
  'operation_expires_at',
  'docker_id',
  'node_id',
  'generation',
  'run_started_at',
  'deleted_at',
  'purge_at',
  'purged_at',
] as const;

/** @throws an error that describes the remaining work when the time is over */
export async function inTime<T>(
  ms: number,
  work: Promise<T>,
  { what, left = () => [] }: { what: string; left?: () => Promise<readonly string[]> | readonly string[] },
): Promise<T> {
  const over = new AbortController();
  const late = delay(ms, undefined, { signal: over.signal }).then(async () => {
    const lines = await Promise.resolve(left()).catch((error: unknown) => [String(error)]);
    throw new Error([`${what} did not come to an end in ${String(ms)} ms:`, ...lines].join('\n  '));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
    late.catch(() => undefined);
  }
}

/** A name, and how to list the entries under it. */
type Told = readonly [string, () => Promise<string[]>];

/** Describes the state that an unsettled run leaves: held rows and programs, and all that Docker has. */
export async function whatIsThere({
  cluster,
  database,
  dockers,
}: {
  cluster: FaultyCluster;
  database: DatabaseView;
  dockers: readonly RealDocker[];
}): Promise<string[]> {
  const label = `berth.instance=${cluster.instance}`;
  const told: Told[] = [
    ['row', () => openRows(database)],
    ['process', async () => (await database.runningProcesses()).map((process) => JSON.stringify(process))],
    ...dockers.flatMap((docker): Told[] => {
      const where = docker.id === null ? '' : ` on ${docker.id}`;
      const containers = async (): Promise<string[]> =>
        (await docker.containers(label)).map(({ id, name, state }) => `${id.slice(0, 12)} ${name}: ${state}`);
      return [
        [`container${where}`, containers],
        [`volume${where}`, () => docker.volumes(label)],
      ];
    }),
  ];
  const lines = told.map(async ([what, find]) => {
    const found = await find().catch((error: unknown) => [`cannot be told: ${String(error)}`]);
    return found.map((line) => `${what} ${line}`);
  });
  const servers = cluster.members.map(
    ({ name, up, deaths }) => `${name} ${up ? 'listens' : 'is down'}, ${String(deaths)} deaths`,
  );
  return [...servers, ...(await Promise.all(lines)).flat()];
}

/** Rows that are live, leased or not purged. */
async function openRows(database: DatabaseView): Promise<string[]> {
  const rows = (await database.rows()).filter(({ operation, purged_at }) => operation !== null || purged_at === null);
  return rows.map((row) =>
    JSON.stringify(Object.fromEntries(TOLD.map((name) => [name, row[name as keyof typeof row]]))),
  );
}
