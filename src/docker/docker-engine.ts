import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import type Docker from 'dockerode';
import { posix } from 'node:path';
import { type Config, ConfigError } from '../config';
import { RecentKeys } from '../scheduling';
import { abortable, boundedCall, connectDocker, type DockerClients, type EndedCall, EngineCalls } from './client';
import {
  ContainerEngine,
  type ContainerProcess,
  type ContainerSpec,
  type ContainerStats,
  type EngineCapabilities,
  EngineError,
  type EngineImage,
  type EnsureImageOptions,
  type ExecRequest,
  type ListedContainer,
  type ListedVolume,
  type MachineResources,
  type MarkedProcesses,
  type ObservedContainer,
  type OwnerLabels,
  type ProcessRequest,
  type VolumeCopy,
  type VolumeMeasurement,
  type WatchMessage,
} from './container-engine';
import { containerOf, remove, rename, start, stop, unpause } from './container-verbs';
import { createOptions, LABELS, ownerLabels, volumeOptions } from './create-options';
import {
  type DockerCall,
  exists,
  ignoringGone,
  isNetworkFull,
  isNetworkMissing,
  refusalOf,
  toEngineError,
  unlessMissing,
} from './errors';
import { watchEvents } from './event-stream';
import { runExec } from './exec';
import { ExecSession, OpenSessions } from './exec-session';
import type { RestrictedSandbox } from './firewall/allow-rules';
import type { SandboxBridge } from './firewall/firewall-rules';
import { HostFirewall } from './firewall/host-firewall';
import { parseImageReference } from './image-reference';
import {
  findImage,
  type ImageFacts,
  imageFacts,
  ImagePulls,
  limitedVolumes,
  type PresentImage,
  removeImage,
} from './images';
import { listedContainer, NO_NETWORK, observedContainer, type PlacedContainer } from './inspect';
import { DockerMachine } from './machine';
import { NameServers } from './name-servers';
import { isNetworkOf, SandboxNetworks } from './sandbox-networks';
import { Batches, endMarked, signalMarked } from './process-marker';
import { LeftProbes, probeDiskQuota } from './quota';
import { RegistryCredentials } from './registry-auth';
import { restrictedSandbox, restrictedSandboxes } from './restricted-sandboxes';
import { chooseRuntime, hasOwnNetworkStack, runtimesOf } from './runtime';
import { againIfStale } from './stale-connections';
import { StatsReader } from './stats';
import { jsonElements, openEvents, openList, openPull } from './streams';
import { SHELL } from './supervisor';
import { copyVolume, isBare, labelsOfVolume, listOwnVolumes, measureVolume, removeIfUnused } from './volumes';

export type DockerEngineSettings = Pick<
  Config,
  | 'DOCKER_HOST'
  | 'DOCKER_TIMEOUT_SECONDS'
  | 'SANDBOX_RUNTIME'
  | 'SANDBOX_FIREWALL'
  | 'SANDBOX_BLOCKED_NETWORKS'
  | 'SANDBOX_ALLOWED_SERVICES'
  | 'SANDBOX_NETWORK_SIZE'
  | 'SANDBOX_SUBNETS'
  | 'SANDBOX_DNS'
  | 'DISK_QUOTA'
  | 'REGISTRY_AUTH_FILE'
>;

/** How often a start moves its container to another network. */
const MAX_MOVES = 3;

/** For commands of Berth's own, which write nothing where the image's programs are what they seem. */
const OWN_OUTPUT_BYTES = 64 * 1024;
/** How long they may take beyond their grace: an image's shell may never end. */
const OWN_WITHIN_MS = 15_000;

/** Far more than one machine has. */
const MOST_IMAGES = 1_000;

/** Containers whose user is remembered; a forgotten one costs a call at its next command. */
const MOST_CONTAINERS = 10_000;
/** Characters, of a user and a group; an image's author may write any number. */
const MOST_USER = 256;

/** What the creation itself will report. */
const NO_IMAGE: ImageFacts = { id: '', user: '', path: '', volumes: [] };

/** Runs sandboxes on one Docker daemon. */
export class DockerEngine extends ContainerEngine implements OnApplicationShutdown {
  private readonly logger = new Logger(DockerEngine.name);
  private readonly clients: DockerClients;
  private readonly pulls: ImagePulls;
  private readonly firewall: HostFirewall;
  private readonly machine: DockerMachine;
  private readonly nameServers: NameServers;
  private readonly probes = new LeftProbes();
  /** By their ids, which name the same content for ever. */
  private readonly images = new RecentKeys<ImageFacts>(MOST_IMAGES);
  /** As whom commands run in containers without being told: a label, which never changes. */
  private readonly users = new RecentKeys<string>(MOST_CONTAINERS);
  private readonly processes = new OpenSessions();
  private readonly endings = new Batches<string, 'ended' | 'still_running'>();
  private readonly statsReader = new StatsReader();
  /** Whether images, by their ids, have a shell. */
  private readonly shells = new RecentKeys<boolean>(MOST_IMAGES);
  private readonly timeoutMs: number;
  private prepared: {
    instance: string;
    networks: SandboxNetworks;
    probed: Omit<EngineCapabilities, 'hostFirewall' | 'allowLists'>;
    ownNetworkStack: boolean;
  } | null = null;

  /** @throws ConfigError if the file of registry credentials is not valid */
  constructor(
    private readonly settings: DockerEngineSettings,
    private readonly calls = new EngineCalls(),
  ) {
    super();
    this.timeoutMs = settings.DOCKER_TIMEOUT_SECONDS * 1000;
    this.clients = connectDocker(settings.DOCKER_HOST, { timeoutMs: this.timeoutMs });
    this.firewall = new HostFirewall(settings);
    this.machine = new DockerMachine(settings.DOCKER_HOST);
    this.nameServers = new NameServers(settings);
    const credentials = new RegistryCredentials(settings.REGISTRY_AUTH_FILE);
    this.pulls = new ImagePulls({
      open: async (reference, signal) => {
        const login = await credentials.loginFor(reference);
        return againIfStale(signal, () => openPull(this.clients.streams, reference, { signal, login }));
      },
      stallMs: this.timeoutMs,
      onRetry: (reference, error) => this.logger.warn(`the pull of ${reference} failed; retrying: ${error.message}`),
    });
  }

  /** Drops the connections to the daemon; after everything that may still need them. */
  onApplicationShutdown(): void {
    this.clients.close();
  }

  override async prepare(instance: string): Promise<EngineCapabilities> {
    const { SANDBOX_RUNTIME, DISK_QUOTA } = this.settings;
    const info = await this.info();
    const runtimes = runtimesOf(info);
    const { runtime, warning } = chooseRuntime(SANDBOX_RUNTIME, runtimes);
    if (warning !== null) this.logger.warn(warning);
    const networks = new SandboxNetworks({
      settings: this.settings,
      instance,
      onNetwork: (network) => this.firewall.secure([network]),
      onRestricted: (sandbox) => this.admit(sandbox),
    });
    const bridges = await this.call('network', (signal, docker) => networks.prepare({ docker, signal }));
    await this.firewall.prepare(bridges, await this.restricted(instance, bridges));
    const diskQuota = await this.call('probe', (signal, docker) =>
      probeDiskQuota(docker, { wanted: DISK_QUOTA, instance, info, signal }),
    );
    const volumeResize = diskQuota === 'enforced' ? ('move' as const) : ('none' as const);
    const probed = { runtime, diskQuota, volumeResize };
    this.prepared = { instance, networks, probed, ownNetworkStack: hasOwnNetworkStack(runtimes) };
    return this.capabilities;
  }

  override async maintain(): Promise<void> {
    const { instance, networks } = this.ready();
    await this.call('probe', (signal, docker) => this.probes.remove(docker, instance, signal));
    await this.call('network', (signal, docker) => networks.removeUnused({ docker, signal }));
    await this.maintainFirewall();
  }

  override get capabilities(): EngineCapabilities {
    return { ...this.ready().probed, hostFirewall: this.firewall.state, allowLists: this.firewall.lists };
  }

  override async ping(): Promise<void> {
    await this.call('ping', (_signal, docker) => docker.ping());
  }

  override async identify(): Promise<string | null> {
    const info = await this.info();
    // Stored in its data-root (`engine-id`), so a daemon with an empty one has another id.
    const id = (info as { ID?: unknown } | null)?.ID;
    return typeof id === 'string' && id !== '' ? id : null;
  }

  override resources(): Promise<MachineResources> {
    return this.machine.resources();
  }

  override async createContainer(
    spec: ContainerSpec,
    { assertWanted }: { assertWanted?: () => Promise<void> } = {},
  ): Promise<string> {
    const image = this.images.get(spec.image) ?? (await this.inspectImage(spec.image)) ?? NO_IMAGE;
    const hasShell = this.shells.get(image.id);
    const dockerId = await this.create(spec, { ...image, hasShell: hasShell ?? true });
    if (hasShell !== undefined) return dockerId;
    // Asked once for each image, of its first container.
    const found = await this.hasFile(dockerId, SHELL);
    // The answer is the same where somebody else has removed the container meanwhile.
    if (!found && (await this.inspectContainer(dockerId)) === null)
      throw new EngineError('container_not_found', 'the container was removed as soon as it was created');
    if (found) {
      this.shells.set(image.id, true);
      return dockerId;
    }
    await assertWanted?.();
    if (spec.env['PATH'] === undefined && !(await this.hasSleep(dockerId, image.path))) {
      await this.removeContainer(dockerId);
      throw new EngineError('start_refused', `the image ${spec.image} has neither ${SHELL} nor sleep`);
    }
    this.shells.set(image.id, false);
    this.logger.warn(`the image ${spec.image} has no ${SHELL}: its sandboxes only sleep, and end without notice`);
    await this.removeContainer(dockerId);
    return this.create(spec, { ...image, hasShell: false });
  }

  override async startContainer(
    dockerId: string,
    { isNew = false }: { isNew?: boolean } = {},
  ): Promise<'started' | 'already_running'> {
    if (!this.firewall.isSecure) await this.secureNetwork();
    return this.call('start container', async (signal, docker) => {
      const container = containerOf(docker, dockerId);
      // Before the start: gVisor's own network stack sees only the interfaces that exist then.
      if (!isNew) {
        const { running, supervised } = await this.connect(docker, dockerId, signal);
        if (!running && supervised) await this.bringNameServers(container, signal);
      }
      for (let moves = 0; ; moves += 1) {
        try {
          return await start(container, signal);
        } catch (error) {
          const why = isNetworkMissing(error) ? 'is gone' : isNetworkFull(error) ? 'is full' : null;
          if (why === null || moves === MAX_MOVES) throw error;
          this.logger.warn(`the sandboxes' network of container ${dockerId} ${why}; moving it`);
          await this.ready().networks.move({ docker, signal }, dockerId, error);
        }
      }
    });
  }

  override async reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'> {
    const { connected } = await this.call('connect container', (signal, docker) =>
      this.connect(docker, dockerId, signal),
    );
    return connected ? 'already_connected' : 'reconnected';
  }

  override async unpauseContainer(dockerId: string): Promise<void> {
    await this.call('unpause container', (signal, docker) => unpause(containerOf(docker, dockerId), signal));
  }

  override async stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'> {
    const observed = await this.inspectContainer(dockerId);
    if (observed === null)
      throw new EngineError('container_not_found', `stop container: no such container ${dockerId}`);
    // Stopping a paused gVisor container (20240729) takes 12 s, returns 204, and leaves one that cannot be started
    // again.
    if (observed.state === 'paused') await this.unpauseContainer(dockerId);
    // By the client for streams, as it occupies its socket for the whole grace period.
    const container = containerOf(this.clients.streams, dockerId);
    const timeoutMs = graceSeconds * 1000 + this.timeoutMs;
    const outcome = await this.processes.givingUpUnread({ dockerId }, () =>
      this.call('stop container', (signal) => stop(container, graceSeconds, signal), timeoutMs),
    );
    this.ready().networks.left(dockerId);
    return outcome;
  }

  override async removeContainer(dockerId: string): Promise<void> {
    await this.processes.givingUpUnread({ dockerId }, () =>
      this.call('remove container', (signal, docker) => remove(containerOf(docker, dockerId), signal)),
    );
    this.users.delete(dockerId);
    this.prepared?.networks.left(dockerId);
  }

  override async renameContainer(dockerId: string, name: string): Promise<void> {
    await this.call('rename container', (signal, docker) => rename(containerOf(docker, dockerId), name, signal));
  }

  override async exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    // By the client for streams, as it occupies its socket while the command runs.
    const container = containerOf(this.clients.streams, dockerId);
    const user = request.user ?? (await this.imageUserOf(dockerId));
    return runExec(container, { ...request, user }, { call: (run) => this.call('exec', run) });
  }

  override async startProcess(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    const container = containerOf(this.clients.streams, dockerId);
    const user = request.user ?? (await this.imageUserOf(dockerId));
    const session = await ExecSession.open(container, { ...request, user }, { call: (run) => this.call('exec', run) });
    this.processes.add(dockerId, session);
    try {
      await session.started();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** One command for all that are to be ended at once: each looks at every process, and is one to the others. */
  override async endProcesses(
    dockerId: string,
    { marker, user, signal, graceMs }: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    const alike = [dockerId, user ?? '', signal, String(graceMs)].join(' ');
    return this.endings.add(alike, marker, async (markers) => {
      const command = endMarked(markers, { signal, graceMs });
      const { exitCode } = await this.processes.givingUpUnread({ dockerId, markers: new Set(markers) }, () =>
        this.execOwn(dockerId, { command, user, graceMs }),
      );
      return exitCode === 0 ? 'ended' : 'still_running';
    });
  }

  override async signalProcesses(
    dockerId: string,
    { marker, user, signal }: MarkedProcesses,
  ): Promise<'sent' | 'none'> {
    const { exitCode } = await this.execOwn(dockerId, { command: signalMarked(marker, signal), user, graceMs: 0 });
    return exitCode === 0 ? 'sent' : 'none';
  }

  override async stats(dockerId: string): Promise<ContainerStats> {
    return this.call('stats', (signal, docker) => this.statsReader.look(containerOf(docker, dockerId), signal));
  }

  override async inspectContainer(dockerId: string): Promise<ObservedContainer | null> {
    const { instance } = this.ready();
    return this.call('inspect container', async (signal, docker) => {
      const answer: Promise<unknown> = containerOf(docker, dockerId).inspect({ abortSignal: signal });
      return unlessMissing(answer.then((container) => observedContainer(container, isNetworkOf(instance))));
    });
  }

  override async listContainers(filter: { instance: string; containerId?: string }): Promise<ListedContainer[]> {
    const label = [`${LABELS.instance}=${filter.instance}`];
    if (filter.containerId !== undefined) label.push(`${LABELS.containerId}=${filter.containerId}`);
    return this.call('list containers', async (signal, docker) => {
      const listed: PlacedContainer[] = [];
      const answer = await openList(docker, { label, signal });
      const isNetwork = isNetworkOf(filter.instance);
      for await (const entry of jsonElements(answer)) listed.push(listedContainer(entry, isNetwork));
      const isComplete = filter.containerId === undefined && filter.instance === this.prepared?.instance;
      if (isComplete) this.prepared?.networks.note(listed);
      return listed;
    });
  }

  override async ensureImage(reference: string, options: EnsureImageOptions = {}): Promise<EngineImage> {
    if (parseImageReference(reference) === null) {
      throw new EngineError('image_not_found', `not an image reference: ${reference}`);
    }
    const present = await this.findImage(reference);
    if (present !== null && options.refresh !== true) return present;
    await options.beforePull?.(present);
    await this.pulls.pull(reference, options);
    const pulled = await this.findImage(reference);
    if (pulled === null) throw new EngineError('image_unavailable', `${reference} was removed after its pull`);
    return pulled;
  }

  override async findImage(name: string): Promise<EngineImage | null> {
    const found = await this.inspectImage(name);
    return found && { id: found.id, digest: found.digest };
  }

  override async removeImage(image: {
    reference: string;
    id: string;
  }): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
    return this.call('remove image', (signal, docker) => removeImage(docker, image, signal));
  }

  override async presentImages(references: readonly string[]): Promise<ReadonlySet<string>> {
    const present = await Promise.all(references.map((reference) => this.findImage(reference)));
    return new Set(references.filter((_reference, index) => present[index] !== null));
  }

  override async ensureVolume(volume: {
    name: string;
    diskMb: number;
    owner: OwnerLabels;
    isNew?: boolean;
  }): Promise<{ existed: boolean }> {
    const { name, diskMb, owner, isNew = false } = volume;
    const existing = isNew ? null : await this.inspectVolume(name);
    if (existing !== null && !isBare(existing.labels)) {
      const containerId = existing.labels[LABELS.containerId];
      if (containerId === owner.containerId) return { existed: true };
      throw new EngineError('docker_error', `volume: ${name} belongs to the container ${String(containerId)}`);
    }
    if (existing !== null && !(await this.call('volume', (signal, docker) => removeIfUnused(docker, volume, signal)))) {
      this.logger.warn(`volume ${name} has no labels and no size of Berth's; it holds data and is used as it is`);
      return { existed: true };
    }
    if (existing !== null) this.logger.warn(`volume ${name} had no labels and was empty; recreating it`);
    await this.call('volume', (signal, docker) =>
      docker.createVolume({
        Name: name,
        Driver: 'local',
        Labels: ownerLabels(owner),
        DriverOpts: volumeOptions(diskMb, this.capabilities),
        abortSignal: signal,
      }),
    );
    return { existed: false };
  }

  override async removeVolume(name: string): Promise<void> {
    await this.call('volume', (signal, docker) => ignoringGone(docker.getVolume(name).remove(abortable(signal, {}))));
  }

  override async listVolumes(filter: { instance: string; containerId?: string }): Promise<ListedVolume[]> {
    return this.call('volume', (signal, docker) => listOwnVolumes(docker, filter, signal));
  }

  override async measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null> {
    if (!(await this.hasVolume(volume.name))) return null;
    return this.inWords('measure volume', () => measureVolume(this.clients, volume, this.timeoutMs));
  }

  override async copyVolume(copy: VolumeCopy): Promise<{ bytes: number }> {
    // Docker would silently create a missing volume, and nothing would be copied.
    for (const name of [copy.from, copy.to]) {
      if (!(await this.hasVolume(name)))
        throw new EngineError('docker_error', `copy volume: there is no volume ${name}`);
    }
    return this.inWords('copy volume', () => copyVolume(this.clients, copy, this.timeoutMs));
  }

  override watch(instance: string, signal: AbortSignal): AsyncIterable<WatchMessage> {
    return watchEvents(
      {
        now: () => this.daemonSeconds(),
        open: (since) =>
          this.call('watch events', (timeout) =>
            openEvents(this.clients.streams, { instance, since, signal: AbortSignal.any([timeout, signal]) }),
          ),
        ping: () => this.ping(),
        onDisconnect: (error) => {
          this.logger.warn(`the stream of Docker's events broke: ${toEngineError(error, 'watch events').message}`);
        },
      },
      signal,
    );
  }

  private async info(): Promise<unknown> {
    const info: unknown = await this.call('probe', (_signal, docker) => docker.info());
    this.machine.note(info);
    return info;
  }

  /** By Docker's own clock, which may differ from this host's. */
  private async daemonSeconds(): Promise<number> {
    const info = await this.info();
    const time = Date.parse(String((info as { SystemTime?: unknown }).SystemTime));
    return Math.floor((Number.isNaN(time) ? Date.now() : time) / 1000);
  }

  private async inspectImage(name: string): Promise<PresentImage | null> {
    const found = await this.call('inspect image', (_signal, docker) => findImage(docker, name));
    const facts = found && imageFacts(found);
    if (facts) this.images.set(facts.id, facts);
    return found;
  }

  private hasFile(dockerId: string, path: string): Promise<boolean> {
    return this.call('inspect container', (signal, docker) =>
      exists(containerOf(docker, dockerId).infoArchive(abortable(signal, { path }))),
    );
  }

  /** What an image without a shell idles in: a busy machine may take seconds to tell by the container's end. */
  private async hasSleep(dockerId: string, path: string): Promise<boolean> {
    for (const folder of path.split(':').filter((name) => name.startsWith('/'))) {
      if (await this.hasFile(dockerId, posix.join(folder, 'sleep'))) return true;
    }
    return false;
  }

  private async create(spec: ContainerSpec, image: ImageFacts & { hasShell: boolean }): Promise<string> {
    const { capabilities } = this;
    const { networks } = this.ready();
    const restricted = restrictedSandbox(spec);
    const kind = restricted ? 'restricted' : 'open';
    const choose = (): Promise<string> =>
      this.call('network', (signal, docker) => networks.choose({ docker, signal }, kind));
    const network = spec.network === 'none' ? NO_NETWORK : (networks.withRoom(kind) ?? (await choose()));
    // Its start then asks no more.
    if (restricted) await this.admit(restricted);
    const nameServers = await this.nameServers.current();
    const { name, ...body } = createOptions(
      spec,
      { ...image, user: spec.user ?? image.user },
      { capabilities, network, restricted, nameServers },
    );
    if (capabilities.diskQuota === 'enforced') {
      body.HostConfig?.Mounts?.push(...limitedVolumes(image.volumes, spec.diskMb));
    }
    const container = await this.call('create container', (signal, docker) =>
      // Separate, or dockerode writes the whole body, users' secrets in `Env` included, into the URL as well.
      docker.createContainer(abortable(signal, { _query: { name }, _body: body })),
    );
    const id: unknown = container.id;
    if (typeof id !== 'string')
      throw new EngineError('docker_unavailable', "Docker's answer to a creation cannot be read");
    if (network !== NO_NETWORK) networks.joined(id, network);
    this.nameServers.note(id, nameServers);
    this.noteUser(id, body.Labels?.[LABELS.user]);
    return id;
  }

  /** A container starts with those that it had rather than not at all: its disk may be full. */
  private async bringNameServers(container: Docker.Container, signal: AbortSignal): Promise<void> {
    try {
      await this.nameServers.bring(container, signal);
    } catch (error) {
      if (refusalOf(error) === null) throw error;
      this.logger.warn(
        `container ${container.id} keeps its name servers: ${toEngineError(error, 'start container').message}`,
      );
    }
  }

  /** The main process is root's, so Docker no longer knows. @returns undefined where Docker does, or there is none */
  private async imageUserOf(dockerId: string): Promise<string | undefined> {
    const known = this.users.get(dockerId);
    if (known !== undefined) return known;
    const user = await this.call('inspect container', async (signal, docker) => {
      const answer = await containerOf(docker, dockerId).inspect({ abortSignal: signal });
      return answer.Config.Labels[LABELS.user];
    });
    this.noteUser(dockerId, user);
    return user;
  }

  private noteUser(dockerId: string, user: string | undefined): void {
    if (user !== undefined && user.length <= MOST_USER) this.users.set(dockerId, user);
  }

  /** Runs a short command of Berth's own. */
  private execOwn(
    dockerId: string,
    { command, user, graceMs }: { command: readonly string[]; user: string | undefined; graceMs: number },
  ): Promise<{ exitCode: number }> {
    const limits = { timeoutMs: graceMs + Math.min(this.timeoutMs, OWN_WITHIN_MS), maxOutputBytes: OWN_OUTPUT_BYTES };
    return this.exec(dockerId, { command, user, ...limits });
  }

  private async hasVolume(name: string): Promise<boolean> {
    return (await this.inspectVolume(name)) !== null;
  }

  private async inspectVolume(name: string): Promise<{ labels: Readonly<Record<string, string>> } | null> {
    return this.call('volume', async (signal, docker) => {
      const inspection: Promise<unknown> = docker.getVolume(name).inspect(abortable(signal, {}));
      return unlessMissing(inspection.then((answer) => ({ labels: labelsOfVolume(answer) })));
    });
  }

  private async maintainFirewall(): Promise<void> {
    const { instance, networks } = this.ready();
    const bridges = await this.call('network', (signal, docker) => networks.bridges({ docker, signal }));
    // A missing network is recreated by the next start.
    if (bridges.length > 0) await this.firewall.maintain(bridges, await this.restricted(instance, bridges));
  }

  /** @throws EngineError `docker_error` if its allow list cannot be enforced */
  private async admit(sandbox: RestrictedSandbox): Promise<void> {
    if (this.firewall.lists !== 'enforced') await this.maintainFirewall();
    await this.firewall.admit(this.ready().instance, sandbox);
  }

  /** All sandboxes that have an allow list, as Docker knows them; undefined while there is no network for them. */
  private async restricted(
    instance: string,
    bridges: readonly SandboxBridge[],
  ): Promise<{ instance: string; sandboxes: RestrictedSandbox[] } | undefined> {
    if (!bridges.some(({ isRestricted }) => isRestricted)) return undefined;
    const sandboxes = await this.call('list containers', (signal, docker) =>
      restrictedSandboxes(docker, { instance, signal }),
    );
    return { instance, sandboxes };
  }

  /** Without a network there is nothing to secure yet: the start recreates it. */
  private async secureNetwork(): Promise<void> {
    const { networks } = this.ready();
    const bridges = await this.call('network', (signal, docker) => networks.bridges({ docker, signal }));
    // Of restricted networks it is asked for each container.
    const open = bridges.filter(({ isRestricted }) => !isRestricted);
    if (open.length > 0) await this.firewall.secure(open);
  }

  /** @returns how it was before */
  private async connect(
    docker: Docker,
    dockerId: string,
    signal: AbortSignal,
  ): Promise<Awaited<ReturnType<SandboxNetworks['connect']>>> {
    const found = await this.ready().networks.connect({ docker, signal }, dockerId);
    if (found.connected) return found;
    const isBlind = found.running && found.runtime === 'runsc' && this.ready().ownNetworkStack;
    const when = isBlind ? "; gVisor's own network stack will see it at the container's next start" : '';
    this.logger.warn(`container ${dockerId} was not in the sandboxes' network and is connected to it again${when}`);
    return found;
  }

  private ready(): NonNullable<typeof this.prepared> {
    if (this.prepared === null) throw new EngineError('docker_error', 'the engine is used before prepare()');
    return this.prepared;
  }

  /** The path of every call: bounded in time, with errors in the port's terms. */
  private async call<T>(
    what: DockerCall,
    run: (signal: AbortSignal, docker: Docker) => Promise<T>,
    timeoutMs = this.timeoutMs,
  ): Promise<T> {
    return this.inWords(what, () =>
      boundedCall(timeoutMs, (signal) => againIfStale(signal, () => run(signal, this.clients.calls))),
    );
  }

  /** For calls that have their own time limit. */
  private async inWords<T>(what: DockerCall, run: () => Promise<T>): Promise<T> {
    const before = performance.now();
    const ended = (outcome: EndedCall['outcome']): void =>
      this.calls.ended({ call: what, outcome, seconds: (performance.now() - before) / 1000 });
    try {
      const result = await run();
      ended('ok');
      return result;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      const fault = toEngineError(error, what);
      ended(fault.code);
      throw fault;
    }
  }
}
