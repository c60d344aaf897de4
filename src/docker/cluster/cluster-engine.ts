import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { MessageQueue } from '../../scheduling';
import {
  ContainerEngine,
  type ContainerProcess,
  type EngineCapabilities,
  type EngineContainers,
  EngineError,
  type EngineHost,
  type EngineImages,
  type EngineLayers,
  type EngineNode,
  type EngineNodes,
  type EngineVolumes,
  type LayerCopy,
  type MachineResources,
  nodeName,
  nodeOf,
  plainId,
  qualifiedId,
  type WatchMessage,
  type WatchSubject,
} from '../../engine';
import { transferLayer } from '../layers/layer-transfer';
import { transferVolume } from '../volumes/volume-transfer';
import type { ClusterMember, ClusterMembers } from './cluster-members';
import { ClusterRoutes } from './cluster-routes';

/**
 * Runs sandboxes on several nodes, as ordinary containers of each node's own engine: a call goes to the node that it
 * concerns, and a list asks all nodes. This class neither places nor moves containers.
 */
export class ClusterEngine extends ContainerEngine implements OnApplicationShutdown {
  readonly nodes: ClusterNodes;
  readonly host: EngineHost;
  readonly containers: EngineContainers;
  readonly networks: ContainerEngine['networks'];
  readonly programs: ContainerEngine['programs'];
  readonly ports: ContainerEngine['ports'];
  readonly files: ContainerEngine['files'];
  readonly images: EngineImages;
  readonly layers: EngineLayers;
  readonly volumes: EngineVolumes;

  constructor(private readonly members: ClusterMembers) {
    super();
    const routes = new ClusterRoutes(members);
    this.nodes = new ClusterNodes(members, routes);
    this.host = new ClusterHost(members, routes);
    this.containers = clusterContainers(members, routes);
    this.networks = routes.byContainer('networks', ['reconnect']);
    this.programs = {
      ...routes.byContainer('programs', ['run', 'list', 'forget', 'prepare', 'end', 'signal', 'descendants']),
      start: (engineId, request) =>
        routes.at(engineId, async (engine, id, node) => programOn(node, await engine.programs.start(id, request))),
      attach: (engineId, attachment) =>
        routes.at(engineId, async (engine, id, node) => programOn(node, await engine.programs.attach(id, attachment))),
    };
    // Over the node's Docker: its containers' own addresses are not reachable from here.
    this.ports = routes.byContainer('ports', ['connect', 'listening']);
    this.files = routes.files();
    this.images = clusterImages(routes);
    this.layers = clusterLayers(routes);
    this.volumes = clusterVolumes(routes);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.members.close();
  }
}

/** A program on a node: while the node does not answer, nor do the questions about the program. */
function programOn(node: ClusterMember, program: ContainerProcess): ContainerProcess {
  return {
    id: program.id,
    pid: program.pid,
    startedAt: program.startedAt,
    from: program.from,
    to: program.to,
    output: program.output,
    stdin: program.stdin,
    resize: (size) => node.call(() => program.resize(size)),
    exit: () => node.call(() => program.exit()),
    close: () => program.close(),
  };
}

class ClusterNodes implements EngineNodes {
  private readonly logger = new Logger(ClusterEngine.name);

  constructor(
    private readonly members: ClusterMembers,
    private readonly routes: ClusterRoutes,
  ) {}

  list(): readonly EngineNode[] {
    return this.members.all().map((node) => node.view());
  }

  answers(id: string | null): boolean {
    return id === null || this.list().some((node) => node.id === id && node.isReachable);
  }

  remember(store: string, nodes: readonly EngineNode[]): void {
    this.members.remember(store, nodes);
  }

  setAvailability(node: string, availability: 'active' | 'drain'): Promise<void> {
    return this.members.setAvailability(node, availability);
  }

  async copyLayer(copy: LayerCopy): Promise<void> {
    const { reference: image, node, toNode } = copy;
    const names = { node: nodeName(this, node), to: nodeName(this, toNode) };
    const { bytes } = await this.routes.between(copy, (source, target, signal) =>
      transferLayer(source, target, { ...copy, signal }),
    );
    this.logger.log({ msg: 'copied a layer to another node', image, ...names, bytes });
  }
}

class ClusterHost implements EngineHost {
  private readonly logger = new Logger(ClusterEngine.name);

  constructor(
    private readonly members: ClusterMembers,
    private readonly routes: ClusterRoutes,
  ) {}

  async prepare(instance: string, process = ''): Promise<EngineCapabilities> {
    await this.members.prepare(instance, process);
    return this.capabilities;
  }

  /**
   * Maintains all reachable nodes. If one fails, the others are maintained nevertheless, and it is maintained later.
   */
  async maintain(): Promise<void> {
    await Promise.all(
      this.routes
        .reachable()
        .map((node) =>
          node
            .call((engine) => engine.host.maintain())
            .catch((error: unknown) =>
              this.logger.warn({ msg: `the node ${node.name} is not maintained`, err: error }),
            ),
        ),
    );
  }

  /** Those with probes on the nodes that answer. */
  async probingProcesses(): Promise<readonly string[]> {
    const found = await Promise.all(
      this.routes.reachable().map((node) => node.call((engine) => engine.host.probingProcesses()).catch(() => [])),
    );
    return [...new Set(found.flat())];
  }

  /** Only on the nodes that answer; on the others, {@link maintain} removes them later. */
  async removeProbes(dead: ReadonlySet<string>): Promise<void> {
    await Promise.all(
      this.routes
        .reachable()
        .map((node) => node.call((engine) => engine.host.removeProbes(dead)).catch(() => undefined)),
    );
  }

  /** The capabilities that all prepared nodes have. */
  get capabilities(): EngineCapabilities {
    const all = this.members
      .all()
      .filter((node) => node.isPrepared)
      .map((node) => node.engine.host.capabilities);
    if (all.length === 0) throw new EngineError('docker_error', 'no node has been prepared yet');
    const least = <K extends keyof EngineCapabilities>(
      name: K,
      strongest: EngineCapabilities[K],
    ): EngineCapabilities[K] => all.find((each) => each[name] !== strongest)?.[name] ?? strongest;
    return {
      runtime: least('runtime', 'runsc'),
      diskQuota: least('diskQuota', 'enforced'),
      hostFirewall: least('hostFirewall', 'enforced'),
      allowLists: least('allowLists', 'enforced'),
      // `move` is correct on every node, `none` is not.
      volumeResize: least('volumeResize', 'none'),
    };
  }

  async ping(): Promise<void> {
    this.routes.anyone();
    return Promise.resolve();
  }

  async identify(node: string | null = null): Promise<string | null> {
    if (node !== null) return Promise.resolve(this.routes.member(node).id);
    const { store } = this.members;
    if (store === null) throw new EngineError('docker_unavailable', 'no manager of the Swarm has answered yet');
    return Promise.resolve(store);
  }

  /** The sums over all reachable nodes. Their free resources are not known from here. */
  resources(): Promise<MachineResources> {
    const usable = this.routes.reachable().map((node) => node.view());
    const sum = (amounts: readonly (number | null)[]): number | null =>
      amounts.length === 0 || amounts.includes(null) ? null : amounts.reduce<number>((a, b) => a + (b ?? 0), 0);
    return Promise.resolve({
      memoryMb: sum(usable.map(({ memoryMb }) => memoryMb)),
      cpuShares: sum(usable.map(({ cpuShares }) => cpuShares)),
      freeMemoryMb: null,
      diskMb: null,
      freeDiskMb: null,
    });
  }
}

function clusterContainers(members: ClusterMembers, routes: ClusterRoutes): EngineContainers {
  return {
    ...routes.byContainer('containers', ['start', 'pause', 'unpause', 'stop', 'rename', 'stats']),
    async create(spec) {
      const node = routes.member(spec.node);
      return qualifiedId(node.id, await node.call((engine) => engine.containers.create(spec)));
    },
    createKey: (spec) => routes.on(spec.node ?? null, (engine) => engine.containers.createKey(spec)),
    async expectStop(engineId) {
      const node = nodeOf(engineId);
      const member = node === null ? undefined : members.find(node);
      if (member?.isReachable) await member.engine.containers.expectStop(plainId(engineId));
    },
    async remove(engineId) {
      // A container that is on no node of this cluster is gone.
      if (nodeOf(engineId) === null) return;
      return routes.at(engineId, (engine, id) => engine.containers.remove(id));
    },
    async inspect(engineId) {
      if (nodeOf(engineId) === null) return null;
      const observed = await routes.at(engineId, (engine, id) => engine.containers.inspect(id));
      return observed && { ...observed, engineId };
    },
    list: (filter) =>
      routes.list(filter.node, {
        list: (engine) => engine.containers.list(filter),
        own: (item, node) => ({ ...item, engineId: qualifiedId(node, item.engineId) }),
      }),
    watch: (instance, signal, subject = 'lives') => watchNodes(members, { instance, signal, subject }),
  };
}

function clusterImages(routes: ClusterRoutes): EngineImages {
  return {
    ...routes.byNode('images', ['remove', 'tag']),
    async ensure(reference, options = {}) {
      if (options.node != null) return routes.on(options.node, (engine) => engine.images.ensure(reference, options));
      const [first] = await routes.onAll((engine) => engine.images.ensure(reference, options));
      return first;
    },
    async isAbsent(reference) {
      return (await routes.onAll((engine) => engine.images.isAbsent(reference))).every(Boolean);
    },
    async find(name, node = null) {
      const member = node === null ? routes.anyone() : routes.member(node);
      return member.call((engine) => engine.images.find(name));
    },
    async present(references) {
      const present = await routes.onAll(
        (engine) => engine.images.present(references),
        (node) => node.view().availability === 'active',
      );
      return new Set(references.filter((reference) => present.every((there) => there.has(reference))));
    },
  };
}

function clusterLayers(routes: ClusterRoutes): EngineLayers {
  return {
    ...routes.byContainer('layers', ['measure']),
    ...routes.byNode('layers', ['persist', 'flatten']),
    commit: (commit) => routes.at(commit.engineId, (engine, engineId) => engine.layers.commit({ ...commit, engineId })),
    list: (filter) =>
      routes.list(filter.node, {
        list: (engine) => engine.layers.list(filter),
        own: (item, node) => ({ ...item, node }),
      }),
  };
}

function clusterVolumes(routes: ClusterRoutes): EngineVolumes {
  return {
    ...routes.byNode('volumes', ['ensure', 'measure']),
    async remove(name, node = null) {
      if (node === null) return;
      return routes.on(node, (engine) => engine.volumes.remove(name));
    },
    list: (filter) =>
      routes.list(filter.node, {
        list: (engine) => engine.volumes.list(filter),
        own: (item, node) => ({ ...item, node }),
      }),
    async copy(copy) {
      const { node, toNode = node } = copy;
      if (toNode === node) return routes.on(node, (engine) => engine.volumes.copy(copy));
      return routes.between(copy, (source, target, signal) =>
        transferVolume(source.volumes, target.volumes, { ...copy, signal }),
      );
    },
  };
}

/** Watches each node while it is reachable, and again once it answers again. */
async function* watchNodes(
  members: ClusterMembers,
  { instance, signal, subject }: { instance: string; signal: AbortSignal; subject: WatchSubject },
): AsyncGenerator<WatchMessage, void> {
  const queue = new MessageQueue<WatchMessage>();
  const follow = async (node: ClusterMember): Promise<void> => {
    const either = AbortSignal.any([signal, node.signal]);
    for await (const message of node.engine.containers.watch(instance, either, subject)) {
      if (message.kind === 'connected') queue.put({ kind: 'connected', node: node.id });
      else {
        const engineId = qualifiedId(node.id, message.event.engineId);
        queue.put({ kind: 'event', event: { ...message.event, engineId } });
      }
    }
  };
  const stop = members.onReachable((node) => void follow(node));
  for (const node of members.all()) if (node.isReachable) void follow(node);
  try {
    yield* queue.read(signal);
  } finally {
    stop();
  }
}
