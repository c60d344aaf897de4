import { Logger } from '@nestjs/common';
import type { Config } from '../../config';
import {
  type EngineCapabilities,
  EngineError,
  type EngineHost,
  type EngineNetworks,
  type MachineResources,
} from '../../engine';
import { abortable } from '../connection/client';
import type { DockerDaemon } from '../connection/daemon';
import { exists } from '../connection/errors';
import { LABELS } from '../model/labels';
import type { RestrictedSandbox } from '../firewall/allow-rules';
import type { SandboxBridge } from '../firewall/firewall-rules';
import { HostFirewall, type HostNetwork } from '../firewall/host-firewall';
import type { PlacedContainer } from '../model/inspect';
import { LeftProbes, listProbes, probeDiskQuota, removeProbes } from './quota';
import { restrictedSandboxes } from '../firewall/restricted-sandboxes';
import { chooseRuntime, hasOwnNetworkStack, runtimesOf } from './runtime';
import type { SupervisorVolume } from '../supervisor/supervisor-volume';
import type { Access } from '../networks/docker-networks';
import type { NetworkKind } from '../model/network-names';
import { SandboxNetworks } from '../networks/sandbox-networks';

export type SandboxHostSettings = Pick<
  Config,
  | 'DOCKER_HOST'
  | 'SANDBOX_RUNTIME'
  | 'SANDBOX_FIREWALL'
  | 'SANDBOX_BLOCKED_NETWORKS'
  | 'SANDBOX_ALLOWED_SERVICES'
  | 'SANDBOX_NETWORK_SIZE'
  | 'SANDBOX_SUBNETS'
  | 'SANDBOX_DNS'
  | 'DISK_QUOTA'
>;

/**
 * The environment of sandboxes on their machine: the runtime, the disk limits, the networks, and the firewall between
 * these and the machine. The methods of {@link EngineHost} and {@link EngineNetworks} are documented there.
 */
export class SandboxHost implements EngineHost, EngineNetworks {
  private readonly logger = new Logger(SandboxHost.name);
  private readonly firewall: HostFirewall;
  private readonly probes = new LeftProbes();
  private prepared: {
    instance: string;
    process: string;
    networks: SandboxNetworks;
    probed: Omit<EngineCapabilities, 'hostFirewall' | 'allowLists'>;
    ownNetworkStack: boolean;
  } | null = null;

  private readonly daemon: DockerDaemon;
  private readonly supervisor: SupervisorVolume;

  /** @param parts.network the network of Docker's machine, if that is another machine */
  constructor(
    private readonly settings: SandboxHostSettings,
    {
      daemon,
      supervisor,
      network,
    }: { daemon: DockerDaemon; supervisor: SupervisorVolume; network?: HostNetwork | undefined },
  ) {
    this.daemon = daemon;
    this.supervisor = supervisor;
    this.firewall = new HostFirewall(settings, network);
  }

  async prepare(instance: string, process = ''): Promise<EngineCapabilities> {
    const { SANDBOX_RUNTIME, DISK_QUOTA } = this.settings;
    // Throws at once if there is no program.
    await this.supervisor.name();
    const info = await this.daemon.info();
    const runtimes = runtimesOf(info);
    const { runtime, warning } = chooseRuntime(SANDBOX_RUNTIME, runtimes);
    if (warning !== null) this.logger.warn(warning);
    const networks = new SandboxNetworks({
      settings: this.settings,
      instance,
      onNetwork: (network) => this.firewall.secure([network]),
      onRestricted: (sandbox) => this.admit(sandbox),
    });
    const bridges = await this.daemon.call('network', (signal, docker) => networks.prepare({ docker, signal }));
    await this.firewall.prepare(bridges, await this.restricted(instance, bridges));
    const diskQuota = await this.daemon.call('probe', (signal, docker) =>
      probeDiskQuota(docker, { wanted: DISK_QUOTA, instance, process, info, signal }),
    );
    const volumeResize = diskQuota === 'enforced' ? ('move' as const) : ('none' as const);
    const probed = { runtime, diskQuota, volumeResize };
    this.prepared = { instance, process, networks, probed, ownNetworkStack: hasOwnNetworkStack(runtimes) };
    // The first creation waits for it.
    this.supervisor.ensure().catch((error: unknown) => this.logger.warn(`no supervisor yet: ${String(error)}`));
    return this.capabilities;
  }

  async maintain(): Promise<void> {
    const { instance, networks } = this.ready();
    await this.daemon.call('probe', (signal, docker) => this.probes.remove(docker, instance, signal));
    await this.daemon.call('network', (signal, docker) => networks.removeUnused({ docker, signal }));
    await this.maintainFirewall();
    await this.supervisor.removeOld();
  }

  async probingProcesses(): Promise<readonly string[]> {
    const { instance } = this.ready();
    const probes = await this.daemon.call('probe', (signal, docker) => listProbes(docker, instance, signal));
    return [...new Set(probes.map(({ process }) => process))];
  }

  async removeProbes(dead: ReadonlySet<string>): Promise<void> {
    const { instance } = this.ready();
    await this.daemon.call('probe', (signal, docker) =>
      removeProbes(docker, { instance, signal, isLeft: ({ process }) => dead.has(process) }),
    );
  }

  /**
   * Blocks sandboxes from these addresses too: the other machines of a cluster. They replace those of the last call,
   * at once if the engine is prepared, otherwise with {@link prepare}.
   *
   * @throws EngineError `docker_unavailable`: the addresses are blocked with the next {@link maintain}
   */
  async blockAlso(addresses: readonly string[]): Promise<void> {
    this.firewall.blockAlso(addresses);
    if (this.prepared !== null) await this.maintainFirewall();
  }

  get capabilities(): EngineCapabilities {
    return { ...this.ready().probed, hostFirewall: this.firewall.state, allowLists: this.firewall.lists };
  }

  ping(): Promise<void> {
    return this.daemon.ping();
  }

  identify(): Promise<string | null> {
    return this.daemon.identify();
  }

  resources(): Promise<MachineResources> {
    return this.daemon.machine.resources();
  }

  async reconnect(engineId: string): Promise<'reconnected' | 'already_connected'> {
    const { connected } = await this.daemon.call('connect container', (signal, docker) =>
      this.connect({ docker, signal }, engineId),
    );
    return connected ? 'already_connected' : 'reconnected';
  }

  /**
   * Returns the id of one of the instance's networks, which no other daemon's store has. The id identifies the daemon
   * without `GET /info`, which a Swarm manager that has lost the others answers only after 20 s.
   *
   * @returns null if there is no network of the instance
   */
  async landmark(instance: string): Promise<string | null> {
    const filters = { label: [`${LABELS.instance}=${instance}`] };
    const networks = await this.daemon.call('network', (signal, docker) =>
      docker.listNetworks(abortable(signal, { filters })),
    );
    return networks[0]?.Id ?? null;
  }

  /** Whether the daemon has the network that {@link landmark} returned. */
  async hasLandmark(landmark: string): Promise<boolean> {
    return this.daemon.call('network', (_signal, docker) => exists(docker.getNetwork(landmark).inspect()));
  }

  /** @throws EngineError `docker_error` before {@link prepare} */
  get instance(): string {
    return this.ready().instance;
  }

  /** What this process names itself on probes. @throws EngineError `docker_error` before {@link prepare} */
  get process(): string {
    return this.ready().process;
  }

  /** @returns the name of a network with room, which is created if there is none */
  async networkFor(kind: NetworkKind): Promise<string> {
    const { networks } = this.ready();
    return (
      networks.withRoom(kind) ??
      (await this.daemon.call('network', (signal, docker) => networks.choose({ docker, signal }, kind)))
    );
  }

  /**
   * Puts the allow list of a sandbox in force before the sandbox starts.
   *
   * @throws EngineError `docker_error` if it cannot be enforced
   */
  async admit(sandbox: RestrictedSandbox): Promise<void> {
    if (this.firewall.lists !== 'enforced') await this.maintainFirewall();
    await this.firewall.admit(this.ready().instance, sandbox);
  }

  /**
   * Restores the firewall before a sandbox starts, if it was missing at the last check.
   *
   * @throws EngineError `docker_error` if the firewall is required and still missing
   */
  async secure(): Promise<void> {
    if (this.firewall.isSecure) return;
    const { networks } = this.ready();
    const bridges = await this.daemon.call('network', (signal, docker) => networks.bridges({ docker, signal }));
    // Restricted networks are checked for each container instead.
    const open = bridges.filter(({ isRestricted }) => !isRestricted);
    // Without a network there is nothing to secure yet: the start recreates the network.
    if (open.length > 0) await this.firewall.secure(open);
  }

  /** Connects a container to a network if it is in none: see {@link SandboxNetworks.connect}. */
  async connect(access: Access, engineId: string): ReturnType<SandboxNetworks['connect']> {
    const found = await this.ready().networks.connect(access, engineId);
    if (found.connected) return found;
    const isBlind = found.running && found.runtime === 'runsc' && this.ready().ownNetworkStack;
    const when = isBlind ? "; gVisor's own network stack will see it at the container's next start" : '';
    this.logger.warn(`container ${engineId} was not in the sandboxes' network and is connected to it again${when}`);
    return found;
  }

  /** Moves a container to another network after Docker refused its start: see {@link SandboxNetworks.move}. */
  async move(access: Access, engineId: string, refusal: unknown): Promise<void> {
    await this.ready().networks.move(access, engineId, refusal);
  }

  /** Notes that the container was created in this network. */
  joined(engineId: string, network: string): void {
    this.ready().networks.joined(engineId, network);
  }

  /** Notes that the container has stopped, or is gone. */
  left(engineId: string): void {
    this.prepared?.networks.left(engineId);
  }

  /** Learns the network of each container from a complete list of an instance's containers. */
  note(instance: string, listed: readonly PlacedContainer[]): void {
    if (instance === this.prepared?.instance) this.prepared.networks.note(listed);
  }

  private async maintainFirewall(): Promise<void> {
    const { instance, networks } = this.ready();
    const bridges = await this.daemon.call('network', (signal, docker) => networks.bridges({ docker, signal }));
    // The next start recreates a missing network.
    if (bridges.length > 0) await this.firewall.maintain(bridges, await this.restricted(instance, bridges));
  }

  /** All sandboxes in Docker that have an allow list; undefined if there is no network for them yet. */
  private async restricted(
    instance: string,
    bridges: readonly SandboxBridge[],
  ): Promise<{ instance: string; sandboxes: RestrictedSandbox[] } | undefined> {
    if (!bridges.some(({ isRestricted }) => isRestricted)) return undefined;
    const sandboxes = await this.daemon.call('list containers', (signal, docker) =>
      restrictedSandboxes(docker, { instance, signal }),
    );
    return { instance, sandboxes };
  }

  private ready(): NonNullable<typeof this.prepared> {
    if (this.prepared === null) throw new EngineError('docker_error', 'the engine is used before prepare()');
    return this.prepared;
  }
}
