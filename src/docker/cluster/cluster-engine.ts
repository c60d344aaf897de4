import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Semaphore } from 'async-mutex';
import { within } from '../../scheduling';
import {
  ContainerEngine,
  type ContainerSpec,
  type EngineCapabilities,
  type EngineImage,
  type EngineNode,
  type EnsureImageOptions,
  type Listed,
  type ListedVolume,
  type ListFilter,
  type MachineResources,
  type OwnerLabels,
  type VolumeCopy,
  type VolumeMeasurement,
} from '../container-engine';
import { nodeOf, plainId, qualifiedId } from '../container-ids';
import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from '../programs/container-process';
import { EngineError, type EngineErrorCode } from '../engine-error';
import { MessageQueue } from '../connection/message-queue';
import type {
  ContainerStats,
  ListedContainer,
  ObservedContainer,
  WatchMessage,
} from '../containers/observed-container';
import { transferVolume } from '../volumes/volume-transfer';
import type { ClusterMember, ClusterMembers } from './cluster-members';

/** Time limit of one node's list: a slower node does not delay the lists of the others. */
const LIST_MS = 5_000;

/**
 * How many nodes list at once. If a hundred lists of a megabyte each were read side by side, it would take seconds:
 * no list would be complete in time, and pings would be processed so late that nodes seem silent.
 */
const LISTS_AT_ONCE = 4;

/**
 * Runs sandboxes on several nodes, as ordinary containers of each node's own engine: a call goes to the node that it
 * concerns, and a list asks all nodes. This class neither places nor moves containers.
 */
export class ClusterEngine extends ContainerEngine implements OnApplicationShutdown {
  private readonly logger = new Logger(ClusterEngine.name);
  private readonly listing = new Semaphore(LISTS_AT_ONCE);

  constructor(private readonly members: ClusterMembers) {
    super();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.members.close();
  }

  override async prepare(instance: string): Promise<EngineCapabilities> {
    await this.members.prepare(instance);
    return this.capabilities;
  }

  /**
   * Maintains all reachable nodes. If one fails, the others are maintained nevertheless, and it is maintained later.
   */
  override async maintain(): Promise<void> {
    await Promise.all(
      this.reachable().map((node) =>
        node
          .call((engine) => engine.maintain())
          .catch((error: unknown) => this.logger.warn({ msg: `the node ${node.name} is not maintained`, err: error })),
      ),
    );
  }

  /** The capabilities that all prepared nodes have. */
  override get capabilities(): EngineCapabilities {
    const all = this.members
      .all()
      .filter((node) => node.isPrepared)
      .map((node) => node.engine.capabilities);
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

  override async ping(): Promise<void> {
    if (this.reachable().length === 0) throw new EngineError('docker_unavailable', 'no node answers');
    return Promise.resolve();
  }

  override async identify(node: string | null = null): Promise<string | null> {
    if (node !== null) return Promise.resolve(this.member(node).id);
    const { store } = this.members;
    if (store === null) throw new EngineError('docker_unavailable', 'no manager of the Swarm has answered yet');
    return Promise.resolve(store);
  }

  /** The sums over all reachable nodes. Their free resources are not known from here. */
  override resources(): Promise<MachineResources> {
    const usable = this.nodes().filter(({ isReachable }) => isReachable);
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

  override nodes(): readonly EngineNode[] {
    return this.members.all().map((node) => node.view());
  }

  override remember(store: string, nodes: readonly EngineNode[]): void {
    this.members.remember(store, nodes);
  }

  override setAvailability(node: string, availability: 'active' | 'drain'): Promise<void> {
    return this.members.setAvailability(node, availability);
  }

  override async createContainer(
    spec: ContainerSpec,
    options: { assertWanted?: () => Promise<void> } = {},
  ): Promise<string> {
    const node = this.member(spec.node);
    return qualifiedId(node.id, await node.call((engine) => engine.createContainer(spec, options)));
  }

  override startContainer(dockerId: string, options: { isNew?: boolean } = {}): Promise<'started' | 'already_running'> {
    return this.at(dockerId, (engine, id) => engine.startContainer(id, options));
  }

  override unpauseContainer(dockerId: string): Promise<void> {
    return this.at(dockerId, (engine, id) => engine.unpauseContainer(id));
  }

  override async expectStop(dockerId: string): Promise<void> {
    const node = nodeOf(dockerId);
    if (node !== null && this.answers(node)) await this.member(node).engine.expectStop(plainId(dockerId));
  }

  override stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'> {
    return this.at(dockerId, (engine, id) => engine.stopContainer(id, graceSeconds));
  }

  override async removeContainer(dockerId: string): Promise<void> {
    if (nodeOf(dockerId) === null) return;
    return this.at(dockerId, (engine, id) => engine.removeContainer(id));
  }

  override renameContainer(dockerId: string, name: string): Promise<void> {
    return this.at(dockerId, (engine, id) => engine.renameContainer(id, name));
  }

  override reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'> {
    return this.at(dockerId, (engine, id) => engine.reconnectContainer(id));
  }

  override exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    return this.at(dockerId, (engine, id) => engine.exec(id, request));
  }

  override startProcess(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    return this.at(dockerId, (engine, id) => engine.startProcess(id, request));
  }

  override endProcesses(
    dockerId: string,
    processes: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    return this.at(dockerId, (engine, id) => engine.endProcesses(id, processes));
  }

  override signalProcesses(dockerId: string, processes: MarkedProcesses): Promise<'sent' | 'none'> {
    return this.at(dockerId, (engine, id) => engine.signalProcesses(id, processes));
  }

  override stats(dockerId: string): Promise<ContainerStats> {
    return this.at(dockerId, (engine, id) => engine.stats(id));
  }

  override async inspectContainer(dockerId: string): Promise<ObservedContainer | null> {
    if (nodeOf(dockerId) === null) return null;
    const observed = await this.at(dockerId, (engine, id) => engine.inspectContainer(id));
    return observed && { ...observed, dockerId };
  }

  override listContainers(filter: ListFilter): Promise<Listed<ListedContainer>> {
    return this.list(filter.node, async (node) => {
      const { items } = await node.call((engine) => engine.listContainers(filter));
      return items.map((item) => ({ ...item, dockerId: qualifiedId(node.id, item.dockerId) }));
    });
  }

  override async ensureImage(reference: string, options: EnsureImageOptions = {}): Promise<EngineImage> {
    const { node = null } = options;
    if (node !== null) return this.member(node).call((engine) => engine.ensureImage(reference, options));
    const ensured = await Promise.all(
      this.reachable().map((each) => each.call((engine) => engine.ensureImage(reference, options))),
    );
    const [first] = ensured;
    if (!first) throw new EngineError('docker_unavailable', 'no node answers');
    return first;
  }

  override async findImage(name: string, node: string | null = null): Promise<EngineImage | null> {
    return (node === null ? this.anyone() : this.member(node)).call((engine) => engine.findImage(name));
  }

  override removeImage(image: {
    reference: string;
    id: string;
    node?: string | null;
  }): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
    return this.on(image.node, (engine) => engine.removeImage(image));
  }

  override async presentImages(references: readonly string[]): Promise<ReadonlySet<string>> {
    const nodes = this.reachable().filter((node) => node.view().availability === 'active');
    const present = await Promise.all(nodes.map((node) => node.call((engine) => engine.presentImages(references))));
    if (present.length === 0) throw new EngineError('docker_unavailable', 'no node answers');
    return new Set(references.filter((reference) => present.every((there) => there.has(reference))));
  }

  override ensureVolume(volume: {
    name: string;
    diskMb: number;
    owner: OwnerLabels;
    node?: string | null;
    isNew?: boolean;
  }): Promise<{ existed: boolean }> {
    return this.on(volume.node, (engine) => engine.ensureVolume(volume));
  }

  override async removeVolume(name: string, node: string | null = null): Promise<void> {
    if (node === null) return;
    return this.on(node, (engine) => engine.removeVolume(name));
  }

  override listVolumes(filter: ListFilter): Promise<Listed<ListedVolume>> {
    return this.list(filter.node, async (node) => {
      const { items } = await node.call((engine) => engine.listVolumes(filter));
      return items.map((item) => ({ ...item, node: node.id }));
    });
  }

  override measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null> {
    return this.on(volume.node, (engine) => engine.measureVolume(volume));
  }

  override async copyVolume(copy: VolumeCopy): Promise<{ bytes: number }> {
    const { node, toNode = node } = copy;
    if (toNode === node) return this.on(node, (engine) => engine.copyVolume(copy));
    const [from, to] = [this.member(node), this.member(toNode)];
    // If one of the nodes falls silent, the work at the other ends too.
    const signal = AbortSignal.any([from.signal, to.signal, ...(copy.signal ? [copy.signal] : [])]);
    return from.call((source) => to.call((target) => transferVolume(source, target, { ...copy, signal })));
  }

  /** Watches each node while it is reachable, and again once it answers again. */
  override async *watch(instance: string, signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    const queue = new MessageQueue<WatchMessage>();
    const follow = (node: ClusterMember): void => void this.watchNode(node, { instance, signal, queue });
    const stop = this.members.onReachable(follow);
    for (const node of this.reachable()) follow(node);
    try {
      yield* queue.read(signal);
    } finally {
      stop();
    }
  }

  private async watchNode(
    node: ClusterMember,
    { instance, signal, queue }: { instance: string; signal: AbortSignal; queue: MessageQueue<WatchMessage> },
  ): Promise<void> {
    const either = AbortSignal.any([signal, node.signal]);
    for await (const message of node.engine.watch(instance, either)) {
      if (message.kind === 'connected') queue.put({ kind: 'connected', node: node.id });
      else
        queue.put({
          kind: 'event',
          event: { ...message.event, dockerId: qualifiedId(node.id, message.event.dockerId) },
        });
    }
  }

  private reachable(): ClusterMember[] {
    return this.members.all().filter((node) => node.isReachable);
  }

  private anyone(): ClusterMember {
    const [first] = this.reachable();
    if (!first) throw new EngineError('docker_unavailable', 'no node answers');
    return first;
  }

  /**
   * @throws EngineError `node_unavailable` if the node is no longer a member (it may become one again);
   *   `docker_error` if no node is named
   */
  private member(id: string | null | undefined): ClusterMember {
    const node = id == null ? undefined : this.members.find(id);
    if (node) return node;
    const code: EngineErrorCode = id == null ? 'docker_error' : 'node_unavailable';
    throw new EngineError(code, id == null ? 'no node was named' : `the Swarm has no node ${id}`);
  }

  /**
   * Runs `work` on the node of a container.
   *
   * @throws EngineError `container_not_found` if the id names no node: the container was on a single Docker before,
   *   and is on none of these nodes
   */
  private async at<T>(dockerId: string, work: (engine: ContainerEngine, id: string) => Promise<T>): Promise<T> {
    const node = nodeOf(dockerId);
    if (node === null) throw new EngineError('container_not_found', 'the container is on no node');
    return this.member(node).call((engine) => work(engine, plainId(dockerId)));
  }

  /** Async, so that an unknown node becomes a rejection instead of an exception. */
  private async on<T>(node: string | null | undefined, work: (engine: ContainerEngine) => Promise<T>): Promise<T> {
    return this.member(node).call(work);
  }

  /** Lists one node, which must answer, or all nodes, of which some may be silent. */
  private async list<T>(
    only: string | null | undefined,
    listed: (node: ClusterMember) => Promise<readonly T[]>,
  ): Promise<Listed<T>> {
    const ofNode = (node: ClusterMember): Promise<readonly T[]> =>
      within(listed(node), {
        ms: LIST_MS,
        late: () => new EngineError('node_unavailable', `the node ${node.name} did not list in time`),
      });
    if (only != null) return { items: await ofNode(this.member(only)), silent: [] };
    const silent: string[] = [];
    const lists = await Promise.all(
      this.members.all().map((node) =>
        this.listing
          .runExclusive(() => ofNode(node))
          .catch((error: unknown) => {
            if (!(error instanceof EngineError)) throw error;
            silent.push(node.id);
            return [];
          }),
      ),
    );
    return { items: lists.flat(), silent };
  }
}
