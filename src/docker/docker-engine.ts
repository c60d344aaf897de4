import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Readable, Writable } from 'node:stream';
import type { Config } from '../config';
import {
  ContainerEngine,
  type ContainerSpec,
  type EngineCapabilities,
  type EngineImage,
  type EnsureImageOptions,
  type Listed,
  type ListedVolume,
  type ListFilter,
  type MachineResources,
  type OwnerLabels,
  type VolumeCopy,
  type VolumeMeasurement,
} from './container-engine';
import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from './programs/container-process';
import type { ContainerStats, ListedContainer, ObservedContainer, WatchMessage } from './containers/observed-container';
import { Processes } from './programs/processes';
import { abortable, type ClientCertificate } from './connection/client';
import { DockerDaemon, EngineCalls } from './connection/daemon';
import { LABELS } from './containers/create-options';
import { exists, toEngineError } from './connection/errors';
import { watchEvents } from './connection/docker-events';
import type { HostNetwork } from './firewall/host-firewall';
import { remoteHost } from './firewall/remote-host';
import { Images } from './images/images';
import { NameServers } from './networks/name-servers';
import { NodeHelper } from './firewall/node-helper';
import { RegistryCredentials } from './images/registry-auth';
import { SandboxContainers } from './containers/sandbox-containers';
import { SandboxHost, type SandboxHostSettings } from './sandbox-host';
import { openEvents } from './connection/streams';
import type { VolumeDigest, VolumeWork } from './volumes/volume-copy';
import type { TransferringEngine } from './volumes/volume-transfer';
import { Volumes } from './volumes/volumes';

export type DockerEngineSettings = SandboxHostSettings &
  Pick<Config, 'DOCKER_TIMEOUT_SECONDS' | 'REGISTRY_AUTH_FILE' | 'NODE_FIREWALL_IMAGE'>;

/** Runs sandboxes on one Docker daemon; each method of the port delegates to the class of its subject. */
export class DockerEngine extends ContainerEngine implements TransferringEngine, OnApplicationShutdown {
  private readonly logger = new Logger(DockerEngine.name);
  private readonly daemon: DockerDaemon;
  private readonly host: SandboxHost;
  private readonly images: Images;
  private readonly volumes: Volumes;
  private readonly processes: Processes;
  private readonly containers: SandboxContainers;

  /**
   * @param machine for a Docker on another machine: the client certificate, and the node's name
   * @throws ConfigError if the file of registry credentials is not valid
   */
  constructor(
    settings: DockerEngineSettings,
    calls = new EngineCalls(),
    machine: { tls?: ClientCertificate; node?: string } = {},
  ) {
    super();
    const daemon = new DockerDaemon(settings, calls, machine);
    const images = new Images(daemon, new RegistryCredentials(settings.REGISTRY_AUTH_FILE));
    const host = new SandboxHost(settings, daemon, networkOf(settings, { daemon, images }));
    const processes = new Processes(daemon);
    const nameServers = new NameServers(settings);
    this.daemon = daemon;
    this.host = host;
    this.images = images;
    this.processes = processes;
    this.volumes = new Volumes(daemon, host);
    this.containers = new SandboxContainers({ daemon, host, images, processes, nameServers });
  }

  /** Closes the connections to the daemon, after everything that may still need them. */
  onApplicationShutdown(): void {
    this.daemon.close();
  }

  override async prepare(instance: string): Promise<EngineCapabilities> {
    await this.host.prepare(instance);
    return this.capabilities;
  }

  override maintain(): Promise<void> {
    return this.host.maintain();
  }

  /**
   * Blocks sandboxes from these addresses too: the other machines of a cluster. They replace those of the last call,
   * at once if the engine is prepared, otherwise with {@link prepare}.
   *
   * @throws EngineError `docker_unavailable`: the addresses are blocked with the next {@link maintain}
   */
  blockAlso(addresses: readonly string[]): Promise<void> {
    return this.host.blockAlso(addresses);
  }

  /**
   * Pings the daemon on a connection that waits for no other call.
   *
   * @returns how far the daemon's clock is ahead of this machine's
   */
  async look(timeoutMs: number): Promise<{ skewMs: number }> {
    const at = await this.daemon.look(timeoutMs);
    return { skewMs: at.getTime() - Date.now() };
  }

  /**
   * @returns the daemon's node id in its Swarm; null if it is in none
   * @throws EngineError
   */
  async swarmNodeId(): Promise<string | null> {
    const { Swarm } = (await this.daemon.info()) as { Swarm?: { NodeID?: unknown } };
    const id = Swarm?.NodeID;
    return typeof id === 'string' && id !== '' ? id : null;
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

  /** Closes all connections, which ends the calls on them; later calls open new ones. */
  disconnect(): void {
    this.daemon.close();
  }

  override get capabilities(): EngineCapabilities {
    return this.host.capabilities;
  }

  override ping(): Promise<void> {
    return this.daemon.ping();
  }

  override identify(): Promise<string | null> {
    return this.daemon.identify();
  }

  override resources(): Promise<MachineResources> {
    return this.daemon.machine.resources();
  }

  override createContainer(spec: ContainerSpec, options: { assertWanted?: () => Promise<void> } = {}): Promise<string> {
    return this.containers.create(spec, options);
  }

  override startContainer(dockerId: string, options: { isNew?: boolean } = {}): Promise<'started' | 'already_running'> {
    return this.containers.start(dockerId, options);
  }

  override reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'> {
    return this.containers.reconnect(dockerId);
  }

  override unpauseContainer(dockerId: string): Promise<void> {
    return this.containers.unpause(dockerId);
  }

  override expectStop(dockerId: string): Promise<void> {
    return this.containers.expectStop(dockerId);
  }

  override stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'> {
    return this.containers.stop(dockerId, graceSeconds);
  }

  override removeContainer(dockerId: string): Promise<void> {
    return this.containers.remove(dockerId);
  }

  override renameContainer(dockerId: string, name: string): Promise<void> {
    return this.containers.rename(dockerId, name);
  }

  override inspectContainer(dockerId: string): Promise<ObservedContainer | null> {
    return this.containers.inspect(dockerId);
  }

  override async listContainers(filter: ListFilter): Promise<Listed<ListedContainer>> {
    return { items: await this.containers.list(filter), silent: [] };
  }

  override stats(dockerId: string): Promise<ContainerStats> {
    return this.containers.stats(dockerId);
  }

  override exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    return this.processes.exec(dockerId, request);
  }

  override startProcess(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    return this.processes.start(dockerId, request);
  }

  override endProcesses(
    dockerId: string,
    processes: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    return this.processes.end(dockerId, processes);
  }

  override signalProcesses(dockerId: string, processes: MarkedProcesses): Promise<'sent' | 'none'> {
    return this.processes.signal(dockerId, processes);
  }

  override ensureImage(reference: string, options: EnsureImageOptions = {}): Promise<EngineImage> {
    return this.images.ensure(reference, options);
  }

  override findImage(name: string): Promise<EngineImage | null> {
    return this.images.find(name);
  }

  override removeImage(image: { reference: string; id: string }): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
    return this.images.remove(image);
  }

  override presentImages(references: readonly string[]): Promise<ReadonlySet<string>> {
    return this.images.present(references);
  }

  override ensureVolume(volume: {
    name: string;
    diskMb: number;
    owner: OwnerLabels;
    isNew?: boolean;
  }): Promise<{ existed: boolean }> {
    return this.volumes.ensure(volume);
  }

  override removeVolume(name: string): Promise<void> {
    return this.volumes.remove(name);
  }

  override async listVolumes(filter: ListFilter): Promise<Listed<ListedVolume>> {
    return { items: await this.volumes.list(filter), silent: [] };
  }

  override measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null> {
    return this.volumes.measure(volume);
  }

  override copyVolume(copy: VolumeCopy): Promise<{ bytes: number }> {
    return this.volumes.copy(copy);
  }

  sendVolume(volume: VolumeWork, output: Writable): Promise<void> {
    return this.volumes.send(volume, output);
  }

  receiveVolume(volume: VolumeWork, input: Readable): Promise<void> {
    return this.volumes.receive(volume, input);
  }

  digestVolume(
    volume: VolumeWork,
    options: { like?: VolumeDigest; onReport: (line: string) => void },
  ): Promise<VolumeDigest> {
    return this.volumes.digest(volume, options);
  }

  override async *watch(instance: string, signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    for await (const message of this.events(instance, signal)) {
      if (message.kind === 'event') {
        const { action, dockerId } = message.event;
        if (action === 'kill') this.processes.noteKill(dockerId);
        if (action === 'die') this.processes.noteContainerEnd(dockerId);
      }
      yield message;
    }
  }

  private events(instance: string, signal: AbortSignal): AsyncIterable<WatchMessage> {
    const { daemon } = this;
    return watchEvents(
      {
        now: () => daemon.seconds(),
        open: (since) =>
          daemon.call('watch events', (timeout) =>
            openEvents(daemon.clients.streams, { instance, since, signal: AbortSignal.any([timeout, signal]) }),
          ),
        ping: () => this.ping(),
        onDisconnect: (error) => {
          this.logger.warn(`the stream of Docker's events broke: ${toEngineError(error, 'watch events').message}`);
        },
      },
      signal,
    );
  }
}

/** @returns undefined if the firewall is this machine's: Docker is reached by its socket, or no helper image is set */
function networkOf(
  { DOCKER_HOST, NODE_FIREWALL_IMAGE: image }: DockerEngineSettings,
  { daemon, images }: { daemon: DockerDaemon; images: Images },
): HostNetwork | undefined {
  if (image === undefined || DOCKER_HOST.startsWith('unix:')) return undefined;
  const helper = new NodeHelper(daemon, { image, ensureImage: (reference) => images.ensure(reference) });
  return remoteHost(DOCKER_HOST, (program, args, input) => helper.run(program, args, input));
}
