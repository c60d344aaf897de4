import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { qualifiedId } from '../../src/engine';
import type { BerthEvent } from '../../src/events';
import { ApiClient } from '../support/clients/api-client';
import { RealDocker } from '../support/docker/real-docker';
import { DatabaseView } from './database-view';
import { FaultyCluster } from './faulty-cluster';
import { Follower } from './follower';
import { TIERS } from './setting';
import type { ContainerTruth, ImageTruth, Truth, UserTruth, VolumeTruth } from './truth';
import { User } from './user';

const MB = 1024 * 1024;
const PAGE = 500;

/** Reads everything: the database, each Docker, the contents of the volumes, and the API's answers to each user. */
export async function findTruth(
  { cluster, database, dockers }: { cluster: FaultyCluster; database: DatabaseView; dockers: readonly RealDocker[] },
  users: readonly { user: User; follower: Follower }[],
): Promise<Truth> {
  const idOf = new Map((await database.users()).map(({ id, username }) => [username, id]));
  const told: UserTruth[] = [];
  for (const [index, { user, follower }] of users.entries()) {
    const { url } = cluster.members[index % cluster.members.length] ?? {};
    const api = new ApiClient(url ?? '', user.token);
    told.push({ id: idOf.get(user.name) ?? '', ...(await toldTo(user, api)), followed: [...follower.events] });
  }
  const filters = { label: [`berth.instance=${cluster.instance}`] };
  const network = `berth-${cluster.instance}`;
  const containers: ContainerTruth[] = [];
  const volumes: VolumeTruth[] = [];
  for (const docker of dockers) {
    containers.push(...(await containersIn(docker, filters, network)));
    volumes.push(...(await volumesIn(docker, filters)));
  }
  const images = await Promise.all(dockers.map((docker) => imagesIn(docker, cluster.instance)));
  return {
    rows: await database.rows(),
    containers,
    volumes,
    snapshots: await database.snapshots(),
    images: images.flat(),
    reserved: await database.reserved(),
    users: told,
  };
}

async function toldTo(user: User, api: ApiClient): Promise<Omit<UserTruth, 'id' | 'followed'>> {
  const events: BerthEvent[] = [];
  for (let page = PAGE; page === PAGE;) {
    const after = String(events.at(-1)?.seq ?? 0);
    const { body } = await api.call('GET', `/api/events?after=${after}&limit=${String(PAGE)}`);
    const got = body['events'] as BerthEvent[];
    events.push(...got);
    page = got.length;
  }
  const { body: list } = await api.call('GET', '/api/containers');
  const { containers: limit } = TIERS.tiers[user.tier as keyof typeof TIERS.tiers];
  return { name: user.name, limit, list: list as unknown as UserTruth['list'], events };
}

type Filters = Readonly<Record<string, string[]>>;

async function containersIn(
  { docker, id: node }: RealDocker,
  filters: Filters,
  network: string,
): Promise<ContainerTruth[]> {
  const listed = await docker.listContainers({ all: true, filters });
  return Promise.all(
    listed.map(async ({ Id }) => {
      const { Name, State, Config, HostConfig, Mounts, NetworkSettings } = await docker.getContainer(Id).inspect();
      return {
        id: qualifiedId(node, Id),
        node,
        name: Name.slice(1),
        running: State.Running,
        containerId: Config.Labels['berth.container_id'] ?? '',
        // On a helper container the label exists without a value.
        generation: Number.parseInt(Config.Labels['berth.generation'] ?? '', 10),
        memoryMb: (HostConfig.Memory ?? 0) / MB,
        cpuShares: (1000 * (HostConfig.CpuQuota ?? 0)) / (HostConfig.CpuPeriod ?? 1),
        runtime: HostConfig.Runtime ?? '',
        volume: Mounts.find(({ Destination }) => Destination === '/home/user')?.Name ?? '',
        connected: NetworkSettings.Networks[network] !== undefined,
        ip: State.Running ? (Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? null) : null,
        startedAt: State.Running ? State.StartedAt : null,
      };
    }),
  );
}

async function imagesIn({ docker }: RealDocker, instance: string): Promise<ImageTruth[]> {
  const listed = await docker.listImages({ filters: { label: [`berth.layer=${instance}`] } });
  return listed.map(({ Id, RepoTags }) => ({ id: Id, tags: (RepoTags as string[] | null) ?? [] }));
}

async function volumesIn({ docker, id: node }: RealDocker, filters: Filters): Promise<VolumeTruth[]> {
  // By name: a volume without its labels still belongs to a container.
  const { Volumes } = await docker.listVolumes({ filters: { name: ['berth-'] } });
  const [label] = filters['label'] ?? [];
  const isOwn = (labels: Readonly<Record<string, string>> | null): boolean =>
    labels?.['berth.managed'] === undefined || `berth.instance=${String(labels['berth.instance'])}` === label;
  return Promise.all(
    Volumes.filter(({ Labels }) => isOwn(Labels)).map(async ({ Name, Labels, Mountpoint }) => {
      const files = (await readdir(Mountpoint)).filter((file) => file.startsWith('mark-'));
      const marks = files.map(async (file) => [file, (await readFile(join(Mountpoint, file), 'utf8')).trim()] as const);
      return {
        name: Name,
        node,
        containerId: (Labels as typeof Labels | null)?.['berth.container_id'] ?? Name.slice('berth-'.length, 42),
        marks: new Map(await Promise.all(marks)),
      };
    }),
  );
}
