import type Docker from 'dockerode';
import type { NetworkInspectInfo } from 'dockerode';
import type { Config } from '../../config';
import { EngineError } from '../../engine';
import { abortable } from '../connection/client';
import { LABELS } from '../model/labels';
import { ignoringRefusal, refusalOf } from '../connection/errors';
import type { SandboxBridge } from '../firewall/firewall-rules';
import { type NetworkKind, networkName, type Place, placeIn, PREFIXES } from '../model/network-names';
import { assertSubnetsFree, freeSubnet, rangeOf, subnetsOf } from './subnets';

/** A bridge's option: whether containers may talk to each other. */
const INTER_CONTAINER_TRAFFIC = 'com.docker.network.bridge.enable_icc';
/** A bridge's option: whether Docker gives what leaves it this machine's address. */
const ADDRESS_TRANSLATION = 'com.docker.network.bridge.enable_ip_masquerade';
/** A bridge's option: the name of its interface, if configured. */
const BRIDGE_NAME = 'com.docker.network.bridge.name';

/** Maximum attempts at a subnet, as another process may take the chosen one first. */
const SUBNET_TRIES = 5;

export type NetworkSettings = Pick<Config, 'DOCKER_HOST' | 'SANDBOX_NETWORK_SIZE' | 'SANDBOX_SUBNETS'>;

/** What a call to Docker requires. */
export interface Access {
  readonly docker: Docker;
  readonly signal: AbortSignal;
}

/** A network of this instance, as Docker has it. */
export interface InstanceNetwork extends Place {
  readonly name: string;
  readonly bridge: SandboxBridge;
}

/** The networks of an instance in Docker: their names, their options, their creation and removal. */
export class DockerNetworks {
  constructor(
    private readonly settings: NetworkSettings,
    private readonly instance: string,
  ) {}

  nameOf(place: Place): string {
    return networkName(this.instance, place);
  }

  /** @returns the kind and number in the name of a network of this instance; null if the name has another form */
  placeIn(name: string): Place | null {
    return placeIn(name, this.instance);
  }

  /** @throws ConfigError if the subnets of the settings are not free, or too small */
  async assertSubnetsFree(access: Access): Promise<void> {
    if (this.settings.SANDBOX_SUBNETS.length > 0) assertSubnetsFree(this.settings, await list(access, {}));
  }

  /** @returns the networks that exist now, in the order of their numbers; of duplicates the oldest */
  async find(access: Access): Promise<readonly InstanceNetwork[]> {
    const { instance } = this;
    const found = new Map<string, InstanceNetwork>();
    const names = Object.values(PREFIXES).map((prefix) => `${prefix}${instance}`);
    for (const network of await list(access, { name: names })) {
      const place = placeIn(network.Name, instance);
      // The name of another instance may end in a number, so that its first network looks like a further one of this
      // instance.
      const isOwn = place?.number === 1 || network.Labels?.[LABELS.instance] === instance;
      if (place && isOwn && !found.has(network.Name)) found.set(network.Name, this.known(network, place));
    }
    return [...found.values()].sort((a, b) => a.number - b.number);
  }

  /**
   * Makes sure that a network exists and has the required options.
   *
   * @throws EngineError `docker_error` if it is not isolated, has IPv6, or is restricted but was not made for allow
   *   lists; `no_capacity` if it cannot be created
   */
  async ensure(access: Access, place: Place): Promise<InstanceNetwork> {
    const name = this.nameOf(place);
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
    return this.known(network, place);
  }

  /** @returns false if the network is already gone, or in use (by a container that has its address there) */
  async remove({ docker, signal }: Access, id: string): Promise<boolean> {
    return ignoringRefusal(docker.getNetwork(id).remove(abortable(signal, {})) as Promise<unknown>);
  }

  /** Without a configured name, the interface has the name that Docker derives from the network's id. */
  private known(network: NetworkInspectInfo, { kind, number }: Place): InstanceNetwork {
    const { Id, Name, Options } = network;
    const [subnet] = subnetsOf(network);
    const name = Options?.[BRIDGE_NAME] ?? `br-${Id.slice(0, 12)}`;
    const bridge: SandboxBridge = { instance: this.instance, networkId: Id, bridge: name };
    return {
      kind,
      number,
      name: Name,
      bridge: kind === 'open' ? bridge : { ...bridge, isRestricted: true, ...(subnet !== undefined && { subnet }) },
    };
  }

  /** All networks with exactly this name, oldest first. Docker's filter also matches parts of names. */
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
          // Explicit, because a daemon's configuration can make IPv6 the default.
          EnableIPv6: false,
          Options: {
            [INTER_CONTAINER_TRAFFIC]: 'false',
            // Berth translates addresses itself, with the rules of the firewall.
            ...(kind === 'restricted' && { [ADDRESS_TRANSLATION]: 'false' }),
          },
          Labels: { [LABELS.managed]: 'true', [LABELS.instance]: this.instance },
          ...(subnet !== null && { IPAM: { Driver: 'default', Config: [{ Subnet: subnet }] } }),
          abortSignal: access.signal,
        });
        return;
      } catch (error) {
        const refusal = refusalOf(error);
        // Another process has created it.
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

  /** @returns null if Docker is to choose. @throws EngineError `no_capacity` if there is no subnet left */
  private async subnet(access: Access): Promise<string | null> {
    const { SANDBOX_SUBNETS: pools, SANDBOX_NETWORK_SIZE: containers } = this.settings;
    if (pools.length === 0) return null;
    const taken = (await list(access, {})).flatMap(subnetsOf).map(rangeOf);
    const free = freeSubnet(pools, { containers, taken });
    if (free === null)
      throw new EngineError('no_capacity', `no subnet of SANDBOX_SUBNETS (${pools.join(', ')}) is left`);
    return free;
  }
}

/** Docker's messages, from 20.10 to 28, if its default address pools have no free network. */
const NO_POOL_LEFT = /non-overlapping IPv4 address pool|predefined address pools have been fully subnetted/i;

/**
 * The networks that match, oldest first.
 *
 * @throws EngineError `docker_unavailable` if Docker's answer is not a list
 */
async function list({ docker, signal }: Access, filters: { name?: string[] }): Promise<NetworkInspectInfo[]> {
  const networks: unknown = await docker.listNetworks({ filters, abortSignal: signal });
  if (!Array.isArray(networks)) throw new EngineError('docker_unavailable', "Docker's list of networks cannot be read");
  return (networks as NetworkInspectInfo[]).sort((a, b) =>
    `${a.Created} ${a.Id}`.localeCompare(`${b.Created} ${b.Id}`),
  );
}
