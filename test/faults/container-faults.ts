import type Docker from 'dockerode';
import { type Actions, InVain, type Parts } from './fault-injector';

/** The change that each fault makes to a container. */
const CHANGES = {
  container_kill: ({ container }) => container.kill(),
  container_stop: ({ container }) => container.stop({ t: 2 }),
  container_remove: ({ container }) => container.remove({ force: true }),
  container_start: ({ container }) => container.start(),
  container_disconnect: ({ container, network }) => network.disconnect({ Container: container.id, Force: true }),
  /** The main process dies, and Docker's restart policy starts the container again. */
  container_crash: async ({ container }) => {
    const { Pid } = (await container.inspect()).State;
    if (Pid > 0) process.kill(Pid, 'SIGKILL');
  },
} satisfies Record<string, (target: Target) => Promise<unknown>>;

interface Target {
  readonly container: Docker.Container;
  readonly network: Docker.Network;
}

type ContainerFault = keyof typeof CHANGES;

/** Changes to containers behind Berth's back. */
export function containerFaults(parts: Parts): Actions<ContainerFault> {
  const faults = Object.keys(CHANGES) as ContainerFault[];
  const actions = faults.map((fault) => [fault, (): Promise<string> => behindBerthsBack(fault, parts)]);
  return Object.fromEntries(actions) as Actions<ContainerFault>;
}

async function behindBerthsBack(fault: ContainerFault, parts: Parts): Promise<string> {
  const { dockers, cluster, random, cohabitation } = parts;
  const filters = { label: [`berth.instance=${cluster.instance}`] };
  try {
    const lists = dockers.map(async ({ docker }) =>
      (await docker.listContainers({ all: true, filters })).map((found) => ({ ...found, docker })),
    );
    // A node may not answer.
    const listed = (await Promise.allSettled(lists)).flatMap((list) => (list.status === 'fulfilled' ? list.value : []));
    const isFitting = ({ State }: Docker.ContainerInfo): boolean =>
      fault === 'container_remove' || (State === 'running') === (fault !== 'container_start');
    const fitting = listed.filter(isFitting);
    // If every container runs, one is stopped first.
    const choice = fitting.length > 0 || fault !== 'container_start' ? fitting : listed;
    if (choice.length === 0) throw new Error('there is no such container');
    const { Id, Labels, docker } = random.pick(choice);
    if (fault === 'container_start') cohabitation.meddle(Labels['berth.container_id'] ?? '');
    const container = docker.getContainer(Id);
    if (choice !== fitting) await container.stop({ t: 2 });
    await CHANGES[fault]({ container, network: docker.getNetwork(`berth-${cluster.instance}`) });
    return Id;
  } catch (error) {
    // These actions can fail because of the other faults, too.
    throw new InVain(String(error));
  }
}
