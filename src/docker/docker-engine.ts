import type { OnApplicationShutdown } from '@nestjs/common';
import type { Config } from '../config';
import { ChannelPrograms, ContainerEngine, EngineCalls, SINGLE_MACHINE, SupervisedFiles } from '../engine';
import type { ClientCertificate } from './connection/client';
import { DockerDaemon } from './connection/daemon';
import type { HostNetwork } from './firewall/host-firewall';
import { remoteHost } from './firewall/remote-host';
import { Images } from './images/images';
import { Layers } from './layers/layers';
import { NameServers } from './networks/name-servers';
import { NodeHelper } from './firewall/node-helper';
import { DockerPorts } from './networks/docker-ports';
import { RegistryCredentials } from './images/registry-auth';
import { SandboxContainers } from './containers/sandbox-containers';
import { SandboxHost, type SandboxHostSettings } from './host/sandbox-host';
import { Channels } from './supervisor/channels';
import { SupervisorVolume } from './supervisor/supervisor-volume';
import { Volumes } from './volumes/volumes';

export type DockerEngineSettings = SandboxHostSettings &
  Pick<
    Config,
    'DOCKER_TIMEOUT_SECONDS' | 'REGISTRY_AUTH_FILE' | 'NODE_FIREWALL_IMAGE' | 'SUPERVISOR_CHANNELS' | 'SUPERVISOR_FILE'
  >;

/** Runs sandboxes on one Docker daemon: creates the parts of the port for it. */
export class DockerEngine extends ContainerEngine implements OnApplicationShutdown {
  readonly daemon: DockerDaemon;
  readonly host: SandboxHost;
  readonly nodes = SINGLE_MACHINE;
  readonly containers: SandboxContainers;
  readonly networks: SandboxHost;
  readonly channels: Channels;
  readonly programs: ChannelPrograms;
  readonly ports: DockerPorts;
  readonly files: SupervisedFiles;
  readonly images: Images;
  readonly layers: Layers;
  readonly volumes: Volumes;

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
    const supervisor = new SupervisorVolume(daemon, settings.SUPERVISOR_FILE);
    const host = new SandboxHost(settings, { daemon, supervisor, network: networkOf(settings, { daemon, images }) });
    const channels = new Channels(daemon, settings.SUPERVISOR_CHANNELS);
    const programs = new ChannelPrograms(channels, channels);
    const nameServers = new NameServers(settings);
    this.daemon = daemon;
    this.host = host;
    this.networks = host;
    this.images = images;
    this.channels = channels;
    this.programs = programs;
    this.files = new SupervisedFiles(channels);
    this.layers = new Layers(daemon, host);
    this.volumes = new Volumes(daemon, host);
    this.containers = new SandboxContainers({ daemon, host, images, channels, supervisor, nameServers });
    this.ports = new DockerPorts({
      channels,
      inspect: (engineId) => this.containers.inspectRun(engineId),
      isLocal: machine.tls === undefined && settings.DOCKER_HOST.startsWith('unix:'),
    });
  }

  /** Closes the connections to the daemon, after everything that may still need them. */
  onApplicationShutdown(): void {
    this.channels.close();
    this.daemon.close();
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
