import { Logger } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import type Docker from 'dockerode';
import type { NetworkInspectInfo } from 'dockerode';
import { networkInterfaces } from 'node:os';
import { type Config, ConfigError } from '../config';
import { abortable } from './client';
import { EngineError } from './container-engine';
import { containerOf } from './container-verbs';
import { LABELS } from './create-options';
import { ignoringRefusal, isConnected, isNetworkFull, isNetworkMissing, refusalOf } from './errors';
import type { RestrictedSandbox } from './firewall/allow-rules';
import type { SandboxBridge } from './firewall/firewall-rules';
import { observedConnection, type PlacedContainer } from './inspect';
import { restrictedIn } from './restricted-sandboxes';
import { freeSubnet, overlap, type Range, rangeOf, subnetSize } from './subnets';

/** A bridge's option: whether containers may talk to each other. */
const INTER_CONTAINER_TRAFFIC = 'com.docker.network.bridge.enable_icc';
/** A bridge's option: whether what leaves it has this machine's address. */
const ADDRESS_TRANSLATION = 'com.docker.network.bridge.enable_ip_masquerade';
/** A bridge's option: the name of its interface, if configured. */
const BRIDGE_NAME = 'com.docker.network.bridge.name';

/** How often another subnet is tried, if somebody takes the chosen one meanwhile. */
const SUBNET_TRIES = 5;

export type NetworkSettings = Pick<Config, 'DOCKER_HOST' | 'SANDBOX_NETWORK_SIZE' | 'SANDBOX_SUBNETS'>;

/** `restricted`: for sandboxes that have an allow list. */
export type NetworkKind = 'open' | 'restricted';

/** No name of one kind, whatever the instance is called, is one of the other. */
const PREFIXES: Readonly<Record<NetworkKind, string>> = { open: 'berth-', restricted: 'berth.allow-' };

interface Place {
  readonly kind: NetworkKind;
  readonly number: number;
}

/** @returns the name of an instance's network; the first of a kind has no number */
function networkName(instance: string, { kind, number }: Place): string {
  const base = `${PREFIXES[kind]}${instance}`;
  return number === 1 ? base : `${base}-${String(number)}`;
}

/** @returns what the name of a network of this instance says; null if the name is not of such a form */
function placeIn(name: string, instance: string): Place | null {
  const kind = name.startsWith(PREFIXES.restricted) ? 'restricted' : 'open';
  const base = networkName(instance, { kind, number: 1 });
  if (name === base) return { kind, number: 1 };
  const number = name.startsWith(`${base}-`) ? /^[1-9]\d{0,3}$/.exec(name.slice(base.length + 1))?.[0] : undefined;
  return number === undefined || number === '1' ? null : { kind, number: Number(number) };
}

/** Whether a container of this instance with a network of this name is in a sandbox network, of its kind. */
export function isNetworkOf(instance: string, kind?: NetworkKind): (name: string) => boolean {
  return (name) => {
    const found = placeIn(name, instance)?.kind;
    return found !== undefined && (kind ?? found) === found;
  };
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

/** What a call to Docker needs. */
export interface Access {
  readonly docker: Docker;
  readonly signal: AbortSignal;
}

interface Options {
  readonly settings: NetworkSettings;
  readonly instance: string;
  /** To be done for a network before a container joins it. */
  readonly onNetwork: (network: SandboxBridge) => Promise<void>;
  /** To be done for a container with an allow list before it starts, or joins a network. */
  readonly onRestricted: (sandbox: RestrictedSandbox) => Promise<void>;
}

/** A network of this instance, as Docker has it. */
interface Known extends Place {
  readonly name: string;
  readonly bridge: SandboxBridge;
}

/**
 * The networks of an instance's sandboxes: isolated bridges. A Linux bridge takes 1,023 ports (moby#44973), so a
 * further network is made before that, and one that is no longer needed is removed.
 *
 * Which container is where is known from Docker's list, at each sweep, and from this process's own starts since. That
 * is an estimate where several processes start containers, so a network may get a few more than the bound; one that
 * really is full refuses a start, and the container moves to another. Everything here may be done by several processes
 * at once.
 */
export class SandboxNetworks {
  private readonly logger = new Logger(SandboxNetworks.name);
  private readonly choosing = new Mutex();
  private networks: readonly Known[] = [];
  /** The network of each container that runs, or is about to. */
  private readonly places = new Map<string, string>();
  /** Networks that refused a container since the last list. */
  private readonly full = new Set<string>();

  constructor(private readonly options: Options) {}

  /**
   * Makes sure that there is an open network; a restricted one is made for the first container that needs it.
   *
   * @returns all of them
   * @throws ConfigError if the subnets are not free or too small; EngineError `docker_error` if a network of that name
   *   lets its containers talk to each other, or has IPv6
   */
  async prepare(access: Access): Promise<readonly SandboxBridge[]> {
    await this.assertSubnetsFree(access);
    await this.ensure(access, { kind: 'open', number: 1 });
    return this.bridges(access);
  }

  /** All that exist now; possibly none. */
  async bridges(access: Access): Promise<readonly SandboxBridge[]> {
    this.networks = await this.find(access);
    return this.networks.map(({ bridge }) => bridge);
  }

  /** Learns from a complete list of the instance's containers where they are. */
  note(listed: readonly PlacedContainer[]): void {
    this.full.clear();
    this.places.clear();
    for (const { dockerId, state, network } of listed) {
      if (network !== null && state !== 'exited' && state !== 'dead') this.places.set(dockerId, network);
    }
  }

  /** The container has stopped, or is gone. */
  left(dockerId: string): void {
    this.places.delete(dockerId);
  }

  /** The container was created in this network. */
  joined(dockerId: string, network: string): void {
    this.places.set(dockerId, network);
  }

  /** @returns the name of the first known network that has room; null if there is none */
  withRoom(kind: NetworkKind): string | null {
    return this.networks.find((known) => known.kind === kind && this.hasRoom(known.name))?.name ?? null;
  }

  /**
   * @returns the name of the first network that has room, made if there is none
   * @throws EngineError `no_capacity` if none can be made
   */
  async choose(access: Access, kind: NetworkKind): Promise<string> {
    return this.choosing.runExclusive(async () => {
      // Another process may have made one, or ours may be gone.
      if (this.withRoom(kind) === null) this.networks = await this.find(access);
      const found = this.withRoom(kind);
      if (found !== null) return found;
      let number = 1;
      const isOut = (name: string): boolean =>
        this.networks.some((known) => known.name === name) || !this.hasRoom(name);
      while (isOut(networkName(this.options.instance, { kind, number }))) number += 1;
      const made = await this.ensure(access, { kind, number });
      this.logger.log(`the sandboxes' network ${made.name} was made`);
      return made.name;
    });
  }

  /**
   * Connects a container to a network with room, if it is in none, or in one that is full and does not run. After
   * `docker network disconnect`, Docker starts it without any network.
   *
   * One that is to start in a network that was removed is moved as well, before Docker refuses the start: Docker 28.5
   * has created the sandbox by then, can neither use nor end it, and never starts the container again.
   *
   * @returns how it was, and whether it was in a network
   * @throws Docker's refusal
   */
  async connect(
    access: Access,
    dockerId: string,
  ): Promise<Omit<Connection, 'network' | 'networkId' | 'wantsNone' | 'restricted'> & { connected: boolean }> {
    const { docker, signal } = access;
    const [networks, answer] = await Promise.all([
      this.find(access),
      containerOf(docker, dockerId).inspect({ abortSignal: signal }) as Promise<unknown>,
    ]);
    const { network, networkId, wantsNone, restricted, ...found } = connectionIn(answer, this.options.instance);
    if (wantsNone) return { ...found, connected: true };
    if (restricted) await this.options.onRestricted(restricted);
    if (network === null) {
      await this.join(access, dockerId, restricted);
      return { ...found, connected: false };
    }
    const isRemoved = networkId !== null && !networks.some(({ bridge }) => bridge.networkId === networkId);
    if (isRemoved && !found.running) {
      await this.ensureNamed(access, network);
      await this.move(access, dockerId);
      return { ...found, connected: false };
    }
    const isSettled = found.running || this.places.get(dockerId) === network || this.hasRoom(network);
    if (isSettled) this.joined(dockerId, network);
    else await this.move(access, dockerId);
    return { ...found, connected: true };
  }

  /**
   * For a start that Docker refused. A stopped container remembers its network by id: if the network was removed
   * (`docker network prune`) and recreated, it no longer starts (Docker 26.1: 404 "network … not found"). Moves it to a
   * network that is there, and not the full one.
   *
   * @param refusal Docker's; none if the network is known to be full
   */
  async move(access: Access, dockerId: string, refusal?: unknown): Promise<void> {
    const { docker, signal } = access;
    const answer: unknown = await containerOf(docker, dockerId).inspect({ abortSignal: signal });
    const { network, restricted } = connectionIn(answer, this.options.instance);
    this.left(dockerId);
    if (network !== null) {
      if (isNetworkFull(refusal)) this.full.add(network);
      if (isNetworkMissing(refusal)) await this.ensureNamed(access, network);
      const former = docker.getNetwork(network);
      await ignoringRefusal(former.disconnect(abortable(signal, { Container: dockerId, Force: true })));
    }
    await this.join(access, dockerId, restricted);
  }

  /** Removes networks beyond the first of their kind that hold nothing, if the others have room to spare. */
  async removeUnused(access: Access): Promise<void> {
    await this.choosing.runExclusive(async () => {
      const inUse = new Set(this.places.values());
      const spare = Math.ceil(this.options.settings.SANDBOX_NETWORK_SIZE / 4);
      for (const { kind, number, name, bridge } of await this.find(access)) {
        const others = this.networks.filter((known) => known.kind === kind && known.number < number);
        const room = others.map((known) => this.options.settings.SANDBOX_NETWORK_SIZE - this.count(known.name));
        if (number === 1 || inUse.has(name) || !room.some((free) => free >= spare)) continue;
        // Refused, without harm, if a container of another process has just been started there.
        if (await this.remove(access, bridge.networkId)) this.logger.log(`the unused network ${name} was removed`);
      }
      this.networks = await this.find(access);
    });
  }

  private async join(access: Access, dockerId: string, restricted: RestrictedSandbox | null): Promise<void> {
    const name = await this.choose(access, kindOf(restricted));
    // Again, as another process or somebody else may have removed it.
    const { bridge } = await this.ensureNamed(access, name);
    await this.options.onNetwork(bridge);
    // Docker before 25 ignores it; in a network of another name the container then reaches nothing.
    const EndpointConfig = restricted ? { MacAddress: restricted.macAddress } : {};
    try {
      await access.docker.getNetwork(name).connect(abortable(access.signal, { Container: dockerId, EndpointConfig }));
    } catch (error) {
      if (!isConnected(error)) throw error;
    }
    this.joined(dockerId, name);
  }

  private count(name: string): number {
    let count = 0;
    for (const network of this.places.values()) if (network === name) count += 1;
    return count;
  }

  private hasRoom(name: string): boolean {
    return !this.full.has(name) && this.count(name) < this.options.settings.SANDBOX_NETWORK_SIZE;
  }

  /** Also before a container leaves it: Docker disconnects only from a network that is there, and goes by the name. */
  private ensureNamed(access: Access, name: string): Promise<Known> {
    return this.ensure(access, placeIn(name, this.options.instance) ?? { kind: 'open', number: 1 });
  }

  private async ensure(access: Access, place: Place): Promise<Known> {
    const name = networkName(this.options.instance, place);
    if ((await this.namesakes(access, name)).length === 0) await this.create(access, name, place.kind);
    const [network, ...duplicates] = await this.namesakes(access, name);
    if (network?.Driver !== 'bridge' || network.Options?.[INTER_CONTAINER_TRAFFIC] !== 'false') {
      throw new EngineError(
        'docker_error',
        `the Docker network ${name} is not isolated (a bridge with ${INTER_CONTAINER_TRAFFIC}=false); remove it and start again`,
      );
    }
    if (place.kind === 'restricted' && network.Options[ADDRESS_TRANSLATION] !== 'false') {
      throw new EngineError('docker_error', `the Docker network ${name} was not made for allow lists; remove it`);
    }
    if (network.EnableIPv6) {
      throw new EngineError('docker_error', `the Docker network ${name} has IPv6, which sandboxes must not; remove it`);
    }
    // Daemons before 25 let two processes create two networks of one name. Both keep the oldest, so both keep the same
    // one.
    for (const duplicate of duplicates) await this.remove(access, duplicate.Id);
    const known = this.known(network, place);
    if (!this.networks.some(({ bridge }) => bridge.networkId === network.Id)) {
      await this.options.onNetwork(known.bridge);
      const others = this.networks.filter((other) => other.name !== name);
      this.networks = [...others, known].sort((a, b) => a.number - b.number);
    }
    return known;
  }

  /** In the order of their numbers; of duplicates the oldest. */
  private async find(access: Access): Promise<readonly Known[]> {
    const { instance } = this.options;
    const found = new Map<string, Known>();
    const names = Object.values(PREFIXES).map((prefix) => `${prefix}${instance}`);
    for (const network of await list(access, { name: names })) {
      const place = placeIn(network.Name, instance);
      // Another instance's name may end in a number.
      const isOwn = place?.number === 1 || network.Labels?.[LABELS.instance] === instance;
      if (place && isOwn && !found.has(network.Name)) found.set(network.Name, this.known(network, place));
    }
    return [...found.values()].sort((a, b) => a.number - b.number);
  }

  /** Docker's own naming rule for an interface without a configured name. */
  private known(network: NetworkInspectInfo, { kind, number }: Place): Known {
    const { Id, Name, Options } = network;
    const [subnet] = subnetsOf(network);
    const name = Options?.[BRIDGE_NAME] ?? `br-${Id.slice(0, 12)}`;
    const bridge: SandboxBridge = { instance: this.options.instance, networkId: Id, bridge: name };
    return {
      kind,
      number,
      name: Name,
      bridge: kind === 'open' ? bridge : { ...bridge, isRestricted: true, ...(subnet !== undefined && { subnet }) },
    };
  }

  /** Oldest first. The filter also matches parts of names. */
  private async namesakes(access: Access, name: string): Promise<NetworkInspectInfo[]> {
    return (await list(access, { name: [name] })).filter((network) => network.Name === name);
  }

  /** @throws EngineError `no_capacity` if there is no subnet left */
  private async create(access: Access, name: string, kind: NetworkKind): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const subnet = await this.subnet(access);
      try {
        await access.docker.createNetwork({
          Name: name,
          Driver: 'bridge',
          CheckDuplicate: true,
          // Explicit, as a daemon's configuration can make it the default.
          EnableIPv6: false,
          Options: {
            [INTER_CONTAINER_TRAFFIC]: 'false',
            // Berth does, with the rules of the firewall.
            ...(kind === 'restricted' && { [ADDRESS_TRANSLATION]: 'false' }),
          },
          Labels: { [LABELS.managed]: 'true', [LABELS.instance]: this.options.instance },
          ...(subnet !== null && { IPAM: { Driver: 'default', Config: [{ Subnet: subnet }] } }),
          abortSignal: access.signal,
        });
        return;
      } catch (error) {
        const refusal = refusalOf(error);
        // Another process was faster.
        if (refusal?.status === 409 || (await this.namesakes(access, name)).length > 0) return;
        if (refusal !== null && NO_POOL_LEFT.test(refusal.message)) {
          throw new EngineError('no_capacity', `Docker has no addresses left for the network ${name}`, {
            cause: error,
          });
        }
        const isTaken = subnet !== null && refusal !== null && /overlaps/i.test(refusal.message);
        if (!isTaken || tries === SUBNET_TRIES) throw error;
      }
    }
  }

  /** @returns null if Docker is to choose */
  private async subnet(access: Access): Promise<string | null> {
    const { SANDBOX_SUBNETS: pools, SANDBOX_NETWORK_SIZE: containers } = this.options.settings;
    if (pools.length === 0) return null;
    const taken = (await list(access, {})).flatMap(subnetsOf).map(rangeOf);
    const free = freeSubnet(pools, { containers, taken });
    if (free === null)
      throw new EngineError('no_capacity', `no subnet of SANDBOX_SUBNETS (${pools.join(', ')}) is left`);
    return free;
  }

  /** Those of other Berths are left alone, and do no harm. */
  private async assertSubnetsFree(access: Access): Promise<void> {
    const { SANDBOX_SUBNETS: pools, SANDBOX_NETWORK_SIZE: containers, DOCKER_HOST } = this.options.settings;
    if (pools.length === 0) return;
    const networks = await list(access, {});
    const isOurs = ({ Labels }: NetworkInspectInfo): boolean => Labels?.[LABELS.managed] === 'true';
    const ours = networks.filter(isOurs).flatMap(subnetsOf).map(rangeOf);
    const others = networks
      .filter((network) => !isOurs(network))
      .flatMap((network) => subnetsOf(network).map((cidr) => ({ cidr, whose: `Docker's network ${network.Name}` })));
    // Of this machine, which is Docker's only if it is reached by a socket.
    const here = DOCKER_HOST.startsWith('unix:') ? hostNetworks(ours) : [];
    const needed = subnetSize(containers);
    const faults: string[] = [];
    for (const pool of pools) {
      const range = rangeOf(pool);
      if (range.size < needed) {
        const prefix = `/${String(32 - Math.log2(needed))}`;
        faults.push(`${pool} is smaller than the ${prefix} that SANDBOX_NETWORK_SIZE=${String(containers)} needs`);
      }
      for (const { cidr, whose } of others.concat(here)) {
        if (overlap(range, rangeOf(cidr))) faults.push(`${pool} overlaps ${cidr} of ${whose}`);
      }
    }
    if (faults.length > 0) throw new ConfigError(`SANDBOX_SUBNETS:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
  }

  /** @returns false if it is gone already, or in use (by a container that has its address there) */
  private async remove({ docker, signal }: Access, id: string): Promise<boolean> {
    return ignoringRefusal(docker.getNetwork(id).remove(abortable(signal, {})) as Promise<unknown>);
  }
}

/** Docker's words, from 20.10 to 28, for default address pools without a free network. */
const NO_POOL_LEFT = /non-overlapping IPv4 address pool|predefined address pools have been fully subnetted/i;

/** Oldest first. */
async function list({ docker, signal }: Access, filters: { name?: string[] }): Promise<NetworkInspectInfo[]> {
  const networks: unknown = await docker.listNetworks({ filters, abortSignal: signal });
  if (!Array.isArray(networks)) throw new EngineError('docker_unavailable', "Docker's list of networks cannot be read");
  return (networks as NetworkInspectInfo[]).sort((a, b) =>
    `${a.Created} ${a.Id}`.localeCompare(`${b.Created} ${b.Id}`),
  );
}

/** IPv4 only. */
function subnetsOf({ IPAM }: NetworkInspectInfo): string[] {
  const subnets = (IPAM?.Config ?? []).map(({ Subnet }) => Subnet);
  return subnets.filter((subnet): subnet is string => subnet !== undefined && !subnet.includes(':'));
}

/** The networks that this machine is in, but those of bridges of ours. */
function hostNetworks(ours: readonly Range[]): { cidr: string; whose: string }[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.flatMap(({ family, cidr }) => {
      if (family !== 'IPv4' || cidr === null || ours.some((range) => overlap(range, rangeOf(cidr)))) return [];
      return [{ cidr, whose: `this machine's interface ${name}` }];
    }),
  );
}
