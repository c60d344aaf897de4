import { Logger } from '@nestjs/common';
import type Docker from 'dockerode';
import { posix } from 'node:path';
import { LruMap } from '../../scheduling';
import { abortable } from '../connection/client';
import type { ContainerSpec, EngineContainers, Listed, ListFilter } from '../port/engine-containers';
import { EngineError, saysUnavailable } from '../engine-error';
import { killSandbox } from './hung-sandbox';
import type {
  ContainerStats,
  ListedContainer,
  ObservedContainer,
  WatchMessage,
  WatchSubject,
} from '../port/observed-container';
import type { DockerPrograms } from '../programs/docker-programs';
import { containerOf, pause, remove, rename, start, stop, unpause } from './container-verbs';
import { createKey, createOptions, LABELS } from './create-options';
import type { DockerDaemon } from '../connection/daemon';
import { exists, isNetworkFull, isNetworkMissing, refusalOf, toEngineError, unlessMissing } from '../connection/errors';
import { type ImageFacts, type Images, limitedVolumes } from '../images/images';
import { isNetworkOf } from '../networks/docker-networks';
import type { ContainerRun } from '../ports/docker-ports';
import { parseListedContainer, NO_NETWORK, observedContainer, observedRun, type PlacedContainer } from './inspect';
import type { NameServers } from '../networks/name-servers';
import { restrictedSandbox } from '../firewall/restricted-sandboxes';
import type { SandboxHost } from '../sandbox-host';
import { lookAtStats } from './stats';
import { watchEvents } from '../connection/docker-events';
import { jsonElements, openEvents, openList } from '../connection/streams';
import { SHELL } from './supervisor';

/** How long a stop may use an inspection that was made in advance, in milliseconds. */
const SEEN_HOLDS_MS = 250;
const MOST_EXPECTED = 1_000;

/**
 * How long a stop may take beyond its grace period, after which Docker sends SIGKILL. A sandbox that takes longer
 * hangs.
 */
const STOP_WITHIN_MS = 15_000;
/** How long Docker may take to answer a ping while a container does not end. */
const PING_MS = 2_000;

/** How often one start may move its container to another network. */
const MAX_MOVES = 3;

interface Parts {
  readonly daemon: DockerDaemon;
  readonly host: SandboxHost;
  readonly images: Images;
  readonly programs: DockerPrograms;
  readonly nameServers: NameServers;
}

/** The containers of sandboxes on one daemon. The methods of {@link EngineContainers} are documented there. */
export class SandboxContainers implements EngineContainers {
  private readonly logger = new Logger(SandboxContainers.name);
  /** Inspections of containers that are about to be stopped, each with the time at which it began. */
  private readonly expected = new LruMap<{ at: number; seen: Promise<ObservedContainer | null> }>(MOST_EXPECTED);

  constructor(private readonly parts: Parts) {}

  async create(spec: ContainerSpec, { assertWanted }: { assertWanted?: () => Promise<void> } = {}): Promise<string> {
    const { images } = this.parts;
    const image = await images.facts(spec.image);
    const hasShell = images.hasShell(image.id);
    const dockerId = await this.createOnce(spec, { ...image, hasShell: hasShell ?? true });
    if (hasShell !== undefined) return dockerId;
    // Determined once for each image, with its first container.
    const found = await this.hasFile(dockerId, SHELL);
    // `hasFile` is also false if another caller has removed the container meanwhile.
    if (!found && (await this.inspect(dockerId)) === null)
      throw new EngineError('container_not_found', 'the container was removed as soon as it was created');
    if (found) {
      images.noteShell(image.id, true);
      return dockerId;
    }
    await assertWanted?.();
    if (!(await this.hasSleep(dockerId, image.path))) {
      await this.remove(dockerId);
      throw new EngineError('start_refused', `the image ${spec.image} has neither ${SHELL} nor sleep`);
    }
    images.noteShell(image.id, false);
    this.logger.warn(`the image ${spec.image} has no ${SHELL}: its sandboxes only sleep, and end without notice`);
    await this.remove(dockerId);
    return this.createOnce(spec, { ...image, hasShell: false });
  }

  async createKey(spec: ContainerSpec): Promise<string | null> {
    const { images, host, nameServers } = this.parts;
    const image = await images.facts(spec.image);
    if (image.id === '') return null;
    const network = typeof spec.network === 'string' ? spec.network : 'restricted';
    const surroundings = { capabilities: host.capabilities, network, nameServers: await nameServers.current() };
    return createKey(spec, { ...image, hasShell: true }, surroundings);
  }

  async start(dockerId: string, { isNew = false }: { isNew?: boolean } = {}): Promise<'started' | 'already_running'> {
    const { daemon, host } = this.parts;
    await host.secure();
    return daemon.call('start container', async (signal, docker) => {
      const container = containerOf(docker, dockerId);
      // Before the start: gVisor's own network stack sees only the interfaces that exist at that time.
      if (!isNew) {
        const { running, supervised } = await host.connect({ docker, signal }, dockerId);
        if (!running) this.parts.programs.discardSessions(dockerId);
        if (!running && supervised) await this.bringNameServers(container, signal);
      }
      for (let moves = 0; ; moves += 1) {
        try {
          return await start(container, signal);
        } catch (error) {
          const why = isNetworkMissing(error) ? 'is gone' : isNetworkFull(error) ? 'is full' : null;
          if (why === null || moves === MAX_MOVES) throw error;
          this.logger.warn(`the sandboxes' network of container ${dockerId} ${why}; moving it`);
          await host.move({ docker, signal }, dockerId, error);
        }
      }
    });
  }

  async pause(dockerId: string): Promise<void> {
    this.parts.programs.discardSessions(dockerId);
    await this.parts.daemon.call('pause container', (signal, docker) => pause(containerOf(docker, dockerId), signal));
  }

  async unpause(dockerId: string): Promise<void> {
    await this.parts.daemon.call('unpause container', (signal, docker) =>
      unpause(containerOf(docker, dockerId), signal),
    );
  }

  async expectStop(dockerId: string): Promise<void> {
    const seen = this.inspect(dockerId);
    seen.catch(() => undefined);
    this.expected.set(dockerId, { at: performance.now(), seen });
    // Node.js sends the request in the next tick. Without this wait it would leave only after the caller's SQLite
    // queries, which are synchronous.
    await new Promise<void>((resolve) => process.nextTick(resolve));
  }

  async stop(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'> {
    const { daemon, host, programs } = this.parts;
    const expected = this.expected.get(dockerId);
    this.expected.delete(dockerId);
    const isFresh = expected !== undefined && performance.now() - expected.at <= SEEN_HOLDS_MS;
    const observed = await (isFresh ? expected.seen : this.inspect(dockerId));
    if (observed === null)
      throw new EngineError('container_not_found', `stop container: no such container ${dockerId}`);
    // Stopping a paused gVisor container (20240729) takes 12 s and returns 204, and the container cannot be started
    // again.
    if (observed.state === 'paused') await this.unpause(dockerId);
    // Uses the client for streams: the call occupies its socket for the whole grace period.
    const container = containerOf(daemon.clients.streams, dockerId);
    const timeoutMs = graceSeconds * 1000 + Math.min(daemon.timeoutMs, STOP_WITHIN_MS);
    const outcome = await programs.whileEnding(dockerId, () =>
      this.unlessHung(dockerId, () =>
        daemon.call('stop container', (signal) => stop(container, graceSeconds, signal), timeoutMs),
      ),
    );
    host.left(dockerId);
    return outcome;
  }

  async remove(dockerId: string): Promise<void> {
    const { daemon, host, programs } = this.parts;
    await programs.whileEnding(dockerId, () =>
      this.unlessHung(dockerId, () =>
        daemon.call('remove container', (signal, docker) => remove(containerOf(docker, dockerId), signal)),
      ),
    );
    programs.forget(dockerId);
    host.left(dockerId);
  }

  async rename(dockerId: string, name: string): Promise<void> {
    await this.parts.daemon.call('rename container', (signal, docker) =>
      rename(containerOf(docker, dockerId), name, signal),
    );
  }

  async inspect(dockerId: string): Promise<ObservedContainer | null> {
    const { daemon, host } = this.parts;
    const { instance } = host;
    return daemon.call('inspect container', async (signal, docker) => {
      const answer: Promise<unknown> = containerOf(docker, dockerId).inspect({ abortSignal: signal });
      return unlessMissing(answer.then((container) => observedContainer(container, isNetworkOf(instance))));
    });
  }

  /** The container's run and its address now. @returns null if there is no such container */
  async inspectRun(dockerId: string): Promise<ContainerRun | null> {
    const { daemon, host } = this.parts;
    const isSandboxNetwork = isNetworkOf(host.instance);
    return daemon.call('inspect container', async (signal, docker) => {
      const answer: Promise<unknown> = containerOf(docker, dockerId).inspect({ abortSignal: signal });
      return unlessMissing(answer.then((container) => observedRun(container, isSandboxNetwork)));
    });
  }

  async list(filter: ListFilter): Promise<Listed<ListedContainer>> {
    const label = [`${LABELS.instance}=${filter.instance}`];
    if (filter.containerId !== undefined) label.push(`${LABELS.containerId}=${filter.containerId}`);
    return this.parts.daemon.call('list containers', async (signal, docker) => {
      const listed: PlacedContainer[] = [];
      const answer = await openList(docker, { label, signal });
      const isNetwork = isNetworkOf(filter.instance);
      for await (const entry of jsonElements(answer)) listed.push(parseListedContainer(entry, isNetwork));
      if (filter.containerId === undefined) this.parts.host.note(filter.instance, listed);
      return { items: listed, silent: [] };
    });
  }

  async stats(dockerId: string): Promise<ContainerStats> {
    return this.parts.daemon.call('stats', (signal, docker) => lookAtStats(containerOf(docker, dockerId), signal));
  }

  async *watch(
    instance: string,
    signal: AbortSignal,
    subject: WatchSubject = 'lives',
  ): AsyncGenerator<WatchMessage, void> {
    const { programs } = this.parts;
    for await (const message of this.events(instance, { subject, signal })) {
      if (message.kind === 'event') {
        const { action, dockerId } = message.event;
        if (action === 'kill') programs.noteKill(dockerId);
        if (action === 'die') programs.noteContainerEnd(dockerId);
      }
      yield message;
    }
  }

  private events(
    instance: string,
    { subject, signal }: { subject: WatchSubject; signal: AbortSignal },
  ): AsyncIterable<WatchMessage> {
    const { daemon } = this.parts;
    return watchEvents(
      {
        now: () => daemon.seconds(),
        open: (since) =>
          daemon.call('watch events', (timeout) =>
            openEvents(daemon.clients.streams, {
              instance,
              subject,
              since,
              signal: AbortSignal.any([timeout, signal]),
            }),
          ),
        ping: () => daemon.ping(),
        onDisconnect: (error) => {
          this.logger.warn(`the stream of Docker's events broke: ${toEngineError(error, 'watch events').message}`);
        },
      },
      signal,
    );
  }

  private async createOnce(spec: ContainerSpec, image: ImageFacts & { hasShell: boolean }): Promise<string> {
    const { daemon, host, programs } = this.parts;
    const { capabilities } = host;
    const restricted = restrictedSandbox(spec);
    const kind = restricted ? 'restricted' : 'open';
    const network = spec.network === 'none' ? NO_NETWORK : await host.networkFor(kind);
    // The start then needs no further call.
    if (restricted) await host.admit(restricted);
    const nameServers = await this.parts.nameServers.current();
    const { name, ...body } = createOptions(
      spec,
      { ...image, user: spec.user ?? image.user },
      { capabilities, network, restricted, nameServers },
    );
    if (capabilities.diskQuota === 'enforced') {
      body.HostConfig?.Mounts?.push(...limitedVolumes(image.volumes, spec.diskMb));
    }
    const container = await daemon.call('create container', (signal, docker) =>
      // `_query` and `_body` are separate: otherwise dockerode also writes the whole body, with users' secrets in
      // `Env`, into the URL.
      docker.createContainer(abortable(signal, { _query: { name }, _body: body })),
    );
    const id: unknown = container.id;
    if (typeof id !== 'string')
      throw new EngineError('docker_unavailable', "Docker's answer to a creation cannot be read");
    if (network !== NO_NETWORK) host.joined(id, network);
    const isOnLayer = image.claimedLabels.includes(LABELS.layer);
    if (!isOnLayer) this.parts.nameServers.note(id, nameServers);
    else {
      await daemon.call('create container', (signal, docker) =>
        this.parts.nameServers.replace(containerOf(docker, id), nameServers, signal),
      );
    }
    programs.noteUser(id, body.Labels?.[LABELS.user]);
    return id;
  }

  private hasFile(dockerId: string, path: string): Promise<boolean> {
    return this.parts.daemon.call('inspect container', (signal, docker) =>
      exists(containerOf(docker, dockerId).infoArchive(abortable(signal, { path }))),
    );
  }

  /**
   * Runs `work`, which ends the container. If Docker does not answer `work` in time but answers a ping, the sandbox
   * hangs: this kills it from outside and runs `work` once more.
   *
   * @throws EngineError `container_not_responding` if the sandbox cannot be killed from here; the errors of `work`
   */
  private async unlessHung<T>(dockerId: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!saysUnavailable(error)) throw error;
      const { daemon } = this.parts;
      const answers = await daemon.look(PING_MS).catch(() => null);
      if (answers === null) throw error;
      if ((await killSandbox(dockerId)) === 'none') {
        throw new EngineError('container_not_responding', 'its sandbox does not end, and is on another machine', {
          cause: error,
        });
      }
      this.logger.warn(`the sandbox of container ${dockerId} did not respond, and was killed`);
      return work();
    }
  }

  /**
   * Whether the image has `sleep`, in which a container without a shell idles. Without this check, a busy machine may
   * take seconds to show that the container has ended.
   */
  private async hasSleep(dockerId: string, path: string): Promise<boolean> {
    for (const folder of path.split(':').filter((name) => name.startsWith('/'))) {
      if (await this.hasFile(dockerId, posix.join(folder, 'sleep'))) return true;
    }
    return false;
  }

  /**
   * Updates the container's name servers. If Docker refuses, for example because the disk is full, the container
   * starts with its former ones.
   */
  private async bringNameServers(container: Docker.Container, signal: AbortSignal): Promise<void> {
    try {
      await this.parts.nameServers.bring(container, signal);
    } catch (error) {
      if (refusalOf(error) === null) throw error;
      this.logger.warn(
        `container ${container.id} keeps its name servers: ${toEngineError(error, 'start container').message}`,
      );
    }
  }
}
