import { Logger } from '@nestjs/common';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { ConfigError } from '../../config';
import { Poll } from '../../scheduling';
import { type EngineCalls, EngineError, type EngineNode } from '../../engine';
import type { ClientCertificate } from '../connection/client';
import { DockerEngine, type DockerEngineSettings } from '../docker-engine';
import type { ClusterMember, ClusterMembers } from './cluster-members';
import { ClusterNode } from './cluster-node';
import { NodeDirectory } from './node-directory';

/** How often the managers are asked for the nodes. */
const REFRESH_MS = 5_000;

const STORE = 'swarm-';

interface SwarmParts {
  readonly settings: DockerEngineSettings;
  readonly managers: readonly string[];
  readonly tls: ClientCertificate;
  readonly calls: EngineCalls;
  /** Other addresses that no sandbox may reach, such as the database server's. */
  readonly addresses: readonly string[];
}

/** The nodes of a Docker Swarm, each with an engine of its own over mutual TLS. */
export class SwarmMembers implements ClusterMembers {
  private readonly logger = new Logger(SwarmMembers.name);
  private readonly directory: NodeDirectory;
  private readonly members = new Map<string, ClusterNode>();
  private readonly listeners = new Set<(member: ClusterMember) => void>();
  private readonly poll: Poll;
  private prepared: { readonly instance: string; readonly process: string } | null = null;
  private blocked: readonly string[] = [];

  constructor(private readonly parts: SwarmParts) {
    this.directory = new NodeDirectory(parts.managers, parts.tls);
    this.poll = new Poll({
      everyMs: REFRESH_MS,
      work: () => this.follow(),
      onFault: (error) => this.logger.error({ msg: 'the nodes could not be followed', err: error }),
    });
  }

  get store(): string | null {
    const { id } = this.directory;
    return id === null ? null : STORE + id;
  }

  /** @throws ConfigError if there is no manager or no node that can be used */
  async prepare(instance: string, process: string): Promise<void> {
    this.prepared = { instance, process };
    await this.follow();
    this.poll.start();
    const nodes = this.all().map((node) => node.view());
    if (nodes.some(({ isReachable, problem }) => isReachable && problem === null)) return;
    const faults = nodes.map(({ name, problem }) => `  ${name}: ${problem ?? 'it does not answer'}`);
    throw new ConfigError(`no node of the Swarm can be used:\n${faults.join('\n')}`);
  }

  all(): readonly ClusterNode[] {
    return [...this.members.values()];
  }

  find(id: string): ClusterNode | undefined {
    return this.members.get(id);
  }

  onReachable(listener: (member: ClusterMember) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  remember(store: string, nodes: readonly EngineNode[]): void {
    if (store.startsWith(STORE)) this.directory.remember(store.slice(STORE.length), nodes);
  }

  async setAvailability(id: string, availability: 'active' | 'drain'): Promise<void> {
    await this.directory.setAvailability(id, availability);
    if (await this.follow()) return;
    throw new EngineError('docker_unavailable', 'no manager of the Swarm says how its nodes are by now');
  }

  async close(): Promise<void> {
    this.poll.stop();
    this.directory.close();
    await Promise.all(this.all().map((node) => node.stop()));
  }

  /** Asks the managers for the nodes, and adds and removes members accordingly. @returns whether a manager answered */
  private async follow(): Promise<boolean> {
    const isAnswered = await this.directory.refresh();
    const { prepared } = this;
    const listed = this.directory.nodes;
    if (prepared === null || listed === null) return isAnswered;
    const gone = [...this.members.values()].filter((node) => {
      const now = listed.find(({ id }) => id === node.id);
      return now === undefined || now.address !== node.address;
    });
    for (const node of gone) {
      this.members.delete(node.id);
      void node.stop();
    }
    const joined = listed.filter(({ id }) => !this.members.has(id));
    for (const node of listed) this.members.get(node.id)?.note(node);
    const fresh = joined.map((node) => {
      const settings = { ...this.parts.settings, DOCKER_HOST: node.address };
      const engine = new DockerEngine(settings, this.parts.calls, { tls: this.parts.tls, node: node.name });
      const member = new ClusterNode(node, engine, {
        onReachable: (reachable) => this.listeners.forEach((listener) => listener(reachable)),
      });
      this.members.set(node.id, member);
      return member;
    });
    await this.block(listed.map(({ address }) => new URL(address).hostname));
    await Promise.all(fresh.map((node) => node.start(prepared.instance, prepared.process)));
    return isAnswered;
  }

  /**
   * Blocks sandboxes on every node from the IPv4 addresses of all nodes and managers, of this machine, and of the
   * servers in the settings.
   */
  private async block(nodes: readonly string[]): Promise<void> {
    const own = Object.values(networkInterfaces()).flatMap((of) =>
      (of ?? []).flatMap(({ address, internal, family }) => (internal || family !== 'IPv4' ? [] : [address])),
    );
    const managers = this.parts.managers.map((host) => new URL(host).hostname);
    const wanted = [...nodes, ...managers, ...own, ...this.parts.addresses].filter((address) => isIP(address) === 4);
    const addresses = [...new Set(wanted)].sort();
    const isSame = addresses.join() === this.blocked.join();
    this.blocked = addresses;
    await Promise.all(
      this.all().map(async (node) => {
        // New nodes get the addresses before they are prepared.
        if (isSame && node.isPrepared) return;
        const telling = node.engine.host.blockAlso(addresses);
        telling.catch((error: unknown) => {
          this.logger.warn({ msg: `the firewall of the node ${node.name} is behind`, err: error });
        });
        // A node that does not answer applies the addresses before it is used again.
        if (node.isReachable || !node.isPrepared) await node.whileReachable(telling).catch(() => undefined);
      }),
    );
  }
}
