import { setTimeout as delay } from 'node:timers/promises';
import { ApiClient } from '../support/clients/api-client';
import { controlService, ending } from './fault-control';
import type { DockerProxy } from '../support/faults/docker-proxy';
import { type Actions, type Begin, InVain, type Parts } from './fault-injector';
import type { Member } from './faulty-cluster';
import { SIZES } from './setting';
import type { RowTruth } from './truth';

type DockerFault =
  | 'docker_restart'
  | 'docker_kill'
  | 'docker_emptied'
  | 'docker_outage'
  | 'docker_connections_cut'
  | 'docker_starts_refused'
  | 'event_streams_corrupted';

/** Longer than `VOLUME_RETENTION` and a sweep, so that purges come due while their volumes are away. */
const EMPTY_MS = 30_000;
/** Maximum time until a row matches its container, even after a failed rollback. Two seconds on an idle machine. */
const FOLLOWS_WITHIN_MS = 6_000;
/** If the machine is too busy for this many looks in that time, the servers had too little time as well. */
const LEAST_LOOKS = 20;

/** Faults of Docker and of the connections to it. */
export function dockerFaults(parts: Parts): Actions<DockerFault> {
  const { cluster, random, turns } = parts;
  return {
    docker_restart: ending('docker', 'restart', parts),
    docker_kill: ending('docker', 'kill', parts),
    docker_emptied: (begin) => turns.take('docker', () => emptyDocker(parts), begin),
    docker_outage: async () => {
      const { name, docker } = proxied(random.pick(cluster.members));
      docker.down = true;
      docker.cut();
      await delay(500 + 4_500 * random.next());
      docker.down = false;
      return name;
    },
    docker_connections_cut: () => {
      for (const member of cluster.members) proxied(member).docker.cut();
      return Promise.resolve('all');
    },
    docker_starts_refused: (begin) => refuseStarts(parts, begin),
    event_streams_corrupted: () => {
      const { name, docker } = proxied(random.pick(cluster.members));
      docker.corruptEvents();
      return Promise.resolve(name);
    },
  };
}

function proxied({ name, docker }: Member): { name: string; docker: DockerProxy } {
  if (!docker) throw new Error(`${name} has no proxy before Docker`);
  return { name, docker };
}

/** Docker comes back without its data, as with a disk that was not mounted, and later with it. */
function emptyDocker({ excuses, journal }: Parts): Promise<string> {
  return excuses.during('docker_emptied', {}, async () => {
    journal.say('docker: without its data');
    await controlService('/docker/empty');
    await delay(EMPTY_MS);
    await controlService('/docker/refill');
    journal.say('docker has its data again');
    return 'docker';
  });
}

/** Neither the new nor the old container of a resize can start. The row must still become right. */
async function refuseStarts(parts: Parts, begin: Begin): Promise<string> {
  const { cluster, random, turns } = parts;
  const member = cluster.pick(random);
  const refuse = async (): Promise<string> => {
    const { container, token } = await someRunning(parts);
    const api = new ApiClient(member.url, token);
    member.startsRefused = true;
    try {
      const size = SIZES.find(({ memory_mb }) => memory_mb !== container.memory_mb) ?? SIZES[0];
      const answer = await api.update(container.id, { name: container.name, ...size }).catch((error: unknown) => {
        throw new InVain(String(error));
      });
      if (answer.body['error'] !== 'failed to update settings') throw new InVain(JSON.stringify(answer.body));
      await rowFollows(container.id, parts);
      return container.id;
    } finally {
      member.startsRefused = false;
    }
  };
  return turns.take(`starts of ${member.name}`, refuse, begin);
}

/** @returns a running container, and its user's token. @throws InVain */
async function someRunning({ database, users, random }: Parts): Promise<{ container: RowTruth; token: string }> {
  try {
    const running = (await database.rows()).filter(({ status, deleted_at }) => status === 'running' && !deleted_at);
    const container = random.pick(running);
    const owner = (await database.users()).find(({ id }) => id === container.user_id);
    const user = users.find(({ name }) => name === owner?.username);
    if (user) return { container, token: user.token };
    throw new Error('its user is not known');
  } catch (error) {
    throw new InVain(String(error));
  }
}

async function rowFollows(dbId: string, { database, dockers, journal }: Parts): Promise<void> {
  const deadline = Date.now() + FOLLOWS_WITHIN_MS;
  for (let looks = 1; ; looks += 1) {
    const agree = await rowAgrees(dbId, { database, dockers });
    if (agree === true) return;
    if (looks >= LEAST_LOOKS && Date.now() > deadline) {
      journal.complain(`after a failed rollback the row does not follow Docker: ${agree}`);
      return;
    }
    await delay(100);
  }
}

/** @returns true, or a description of the difference */
async function rowAgrees(
  dbId: string,
  { database, dockers }: Pick<Parts, 'database' | 'dockers'>,
): Promise<true | string> {
  try {
    const row = await database.row(dbId);
    const found = await Promise.all(dockers.map((docker) => docker.containersOf(dbId)));
    const running = found.flat().some(({ id, state }) => id === row?.docker_id && state === 'running');
    const says = row?.deleted_at === null && row.status === 'running';
    return says === running ? true : `${dbId} is ${String(row?.status)}, and it ${running ? 'runs' : 'does not run'}`;
  } catch (error) {
    throw new InVain(String(error));
  }
}
