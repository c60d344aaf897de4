import { Logger } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import { abortable } from '../connection/client';
import { containerOf } from '../connection/container-verbs';
import { type Access, DockerNetworks, type InstanceNetwork, type NetworkSettings } from './docker-networks';
import { isNetworkOf, type NetworkKind, type Place } from '../model/network-names';
import { exists, ignoringRefusal, isConnected, isNetworkFull, isNetworkMissing } from '../connection/errors';
import type { RestrictedSandbox } from '../firewall/allow-rules';
import type { SandboxBridge } from '../firewall/firewall-rules';
import { observedConnection, type PlacedContainer } from '../model/inspect';
import { restrictedIn } from '../firewall/restricted-sandboxes';

interface Options {
  readonly settings: NetworkSettings;
  readonly instance: string;
  /** Called for a network before a container joins it. */
  readonly onNetwork: (network: SandboxBridge) => Promise<void>;
  /** Called for a container with an allow list before it starts or joins a network. */
  readonly onRestricted: (sandbox: RestrictedSandbox) => Promise<void>;
}

/**
 * The networks of an instance's sandboxes: isolated bridges. A Linux bridge takes 1,023 ports (moby#44973), so
 * another network is created before that, and one that is no longer needed is removed.
 *
 * The network of each container is known from Docker's list, at each sweep, and from this process's own starts since.
 * That is an estimate if several processes start containers, so a network may get a few more than the bound. A
 * network that really is full refuses a start, and the container moves to another. Several processes may call all of
 * these methods at once.
 */
export class SandboxNetworks {
  private readonly logger = new Logger(SandboxNetworks.name);
  private readonly choosing = new Mutex();
  private networks: readonly InstanceNetwork[] = [];
  /** The network of each container that runs or is about to, by Docker id. */
  private readonly places = new Map<string, string>();
  /** Networks that refused a container since the last list. */
  private readonly full = new Set<string>();

  private readonly dockerNetworks: DockerNetworks;

  constructor(private readonly options: Options) {
    this.dockerNetworks = new DockerNetworks(options.settings, options.instance);
  }

  /**
   * Makes sure that there is an open network; a restricted one is created for the first container that needs it.
   *
   * @returns all networks
   * @throws ConfigError if the subnets are not free or too small; EngineError `docker_error` if a network of that
   *   name lets its containers talk to each other, or has IPv6
   */
  async prepare(access: Access): Promise<readonly SandboxBridge[]> {
    await this.dockerNetworks.assertSubnetsFree(access);
    await this.ensure(access, { kind: 'open', number: 1 });
    return this.bridges(access);
  }

  /** All networks that exist now; possibly none. */
  async bridges(access: Access): Promise<readonly SandboxBridge[]> {
    this.networks = await this.dockerNetworks.find(access);
    return this.networks.map(({ bridge }) => bridge);
  }

  /** Learns the network of each container from a complete list of the instance's containers. */
  note(listed: readonly PlacedContainer[]): void {
    this.full.clear();
    this.places.clear();
    for (const { engineId, state, network } of listed) {
      if (network !== null && state !== 'exited' && state !== 'broken') this.places.set(engineId, network);
    }
  }

  /** The container has stopped, or is gone. */
  left(engineId: string): void {
    this.places.delete(engineId);
  }

  /** The container was created in this network. */
  joined(engineId: string, network: string): void {
    this.places.set(engineId, network);
  }

  /** @returns the name of the first known network that has room; null if there is none */
  withRoom(kind: NetworkKind): string | null {
    return this.networks.find((known) => known.kind === kind && this.hasRoom(known.name))?.name ?? null;
  }

  /**
   * @returns the name of the first network that has room, created if there is none
   * @throws EngineError `no_capacity` if none can be created
   */
  async choose(access: Access, kind: NetworkKind): Promise<string> {
    return this.choosing.runExclusive(async () => {
      // Another process may have created one, or ours may have been removed.
      if (this.withRoom(kind) === null) this.networks = await this.dockerNetworks.find(access);
      const found = this.withRoom(kind);
      if (found !== null) return found;
      let number = 1;
      const isOut = (name: string): boolean =>
        this.networks.some((known) => known.name === name) || !this.hasRoom(name);
      while (isOut(this.dockerNetworks.nameOf({ kind, number }))) number += 1;
      const made = await this.ensure(access, { kind, number });
      this.logger.log(`the sandboxes' network ${made.name} was made`);
      return made.name;
    });
  }

  /**
   * Connects a container to a network with room if it is in none, or if it does not run and its network is full.
   * After `docker network disconnect`, Docker would start it without any network.
   *
   * A stopped container whose network was removed is moved as well, before Docker refuses the start: Docker 28.5 has
   * created its network sandbox by then, can neither use nor end that, and never starts the container again.
   *
   * @returns the container's state before, and whether it was in an existing network or wants none
   * @throws Docker's refusal
   */
  async connect(
    access: Access,
    engineId: string,
  ): Promise<Omit<Connection, 'network' | 'networkId' | 'wantsNone' | 'restricted'> & { connected: boolean }> {
    const { docker, signal } = access;
    const answer: unknown = await containerOf(docker, engineId).inspect({ abortSignal: signal });
    const { network, networkId, wantsNone, restricted, ...found } = connectionIn(answer, this.options.instance);
    if (wantsNone) return { ...found, connected: true };
    if (restricted) await this.options.onRestricted(restricted);
    if (network === null) {
      await this.join(access, engineId, restricted);
      return { ...found, connected: false };
    }
    // By its id: for a list, a Swarm's manager asks the other managers, and answers only after they have a leader.
    const isThere = (id: string): Promise<boolean> => exists(docker.getNetwork(id).inspect());
    if (!found.running && networkId !== null && !(await isThere(networkId))) {
      await this.ensureNamed(access, network);
      await this.move(access, engineId);
      return { ...found, connected: false };
    }
    const isSettled = found.running || this.places.get(engineId) === network || this.hasRoom(network);
    if (isSettled) this.joined(engineId, network);
    else await this.move(access, engineId);
    return { ...found, connected: true };
  }

  /**
   * Moves a container whose start Docker refused to a network that exists and is not the full one. A stopped
   * container remembers its network by id: if the network was removed (`docker network prune`) and recreated, the
   * container no longer starts (Docker 26.1: 404 "network … not found").
   *
   * @param refusal Docker's; absent if the network is known to be full or removed
   */
  async move(access: Access, engineId: string, refusal?: unknown): Promise<void> {
    const { docker, signal } = access;
    const answer: unknown = await containerOf(docker, engineId).inspect({ abortSignal: signal });
    const { network, restricted } = connectionIn(answer, this.options.instance);
    this.left(engineId);
    if (network !== null) {
      if (isNetworkFull(refusal)) this.full.add(network);
      if (isNetworkMissing(refusal)) await this.ensureNamed(access, network);
      const former = docker.getNetwork(network);
      await ignoringRefusal(former.disconnect(abortable(signal, { Container: engineId, Force: true })));
    }
    await this.join(access, engineId, restricted);
  }

  /**
   * Removes networks without containers, except the first of each kind, if one with a lower number has room to spare:
   * a quarter of SANDBOX_NETWORK_SIZE.
   */
  async removeUnused(access: Access): Promise<void> {
    await this.choosing.runExclusive(async () => {
      const inUse = new Set(this.places.values());
      const spare = Math.ceil(this.options.settings.SANDBOX_NETWORK_SIZE / 4);
      for (const { kind, number, name, bridge } of await this.dockerNetworks.find(access)) {
        const others = this.networks.filter((known) => known.kind === kind && known.number < number);
        const room = others.map((known) => this.options.settings.SANDBOX_NETWORK_SIZE - this.count(known.name));
        if (number === 1 || inUse.has(name) || !room.some((free) => free >= spare)) continue;
        // Docker refuses, without harm, if another process has just started a container there.
        if (await this.dockerNetworks.remove(access, bridge.networkId))
          this.logger.log(`the unused network ${name} was removed`);
      }
      this.networks = await this.dockerNetworks.find(access);
    });
  }

  private async join(access: Access, engineId: string, restricted: RestrictedSandbox | null): Promise<void> {
    const name = await this.choose(access, kindOf(restricted));
    // Again, because another process or an operator may have removed it.
    const { bridge } = await this.ensureNamed(access, name);
    await this.options.onNetwork(bridge);
    // Docker before 25 ignores it. In a network of another name the container then has another MAC address, and
    // reaches nothing.
    const EndpointConfig = restricted ? { MacAddress: restricted.macAddress } : {};
    try {
      await access.docker.getNetwork(name).connect(abortable(access.signal, { Container: engineId, EndpointConfig }));
    } catch (error) {
      if (!isConnected(error)) throw error;
    }
    this.joined(engineId, name);
  }

  private count(name: string): number {
    let count = 0;
    for (const network of this.places.values()) if (network === name) count += 1;
    return count;
  }

  private hasRoom(name: string): boolean {
    return !this.full.has(name) && this.count(name) < this.options.settings.SANDBOX_NETWORK_SIZE;
  }

  /**
   * Also needed before a container leaves a network: Docker finds the network by its name, and disconnects only from
   * one that exists.
   */
  private ensureNamed(access: Access, name: string): Promise<InstanceNetwork> {
    return this.ensure(access, this.dockerNetworks.placeIn(name) ?? { kind: 'open', number: 1 });
  }

  private async ensure(access: Access, place: Place): Promise<InstanceNetwork> {
    const network = await this.dockerNetworks.ensure(access, place);
    if (!this.networks.some(({ bridge }) => bridge.networkId === network.bridge.networkId)) {
      await this.options.onNetwork(network.bridge);
      const others = this.networks.filter((other) => other.name !== network.name);
      this.networks = [...others, network].sort((a, b) => a.number - b.number);
    }
    return network;
  }
}

function kindOf(sandbox: RestrictedSandbox | null): NetworkKind {
  return sandbox === null ? 'open' : 'restricted';
}

function connectionIn(answer: unknown, instance: string): Connection {
  const { labels, ...found } = observedConnection(answer, (name, of) =>
    isNetworkOf(instance, kindOf(restrictedIn(of)))(name),
  );
  return { ...found, restricted: restrictedIn(labels) };
}

type Connection = Omit<ReturnType<typeof observedConnection>, 'labels'> & {
  readonly restricted: RestrictedSandbox | null;
};
