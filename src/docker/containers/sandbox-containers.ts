import { Logger } from '@nestjs/common';
import type Docker from 'dockerode';
import { LruMap } from '../../scheduling';
import {
  type ContainerSpec,
  type ContainerStats,
  type EngineContainers,
  EngineError,
  type Listed,
  type ListedContainer,
  type ListFilter,
  type ObservedContainer,
  saysUnavailable,
  type WatchMessage,
  type WatchSubject,
} from '../../engine';
import { abortable } from '../connection/client';
import { killSandbox } from './hung-sandbox';
import type { Channels } from '../supervisor/channels';
import { isSupervisorMissing, type SupervisorVolume } from '../supervisor/supervisor-volume';
import { containerOf, pause, remove, rename, start, stop, unpause } from '../connection/container-verbs';
import { createKey, createOptions } from './create-options';
import { LABELS } from '../model/labels';
import type { DockerDaemon } from '../connection/daemon';
import { isNetworkFull, isNetworkMissing, refusalOf, toEngineError, unlessMissing } from '../connection/errors';
import { type ImageFacts, type Images, limitedVolumes } from '../images/images';
import { isNetworkOf } from '../model/network-names';
import {
  type ContainerRun,
  NO_NETWORK,
  observedContainer,
  observedRun,
  parseListedContainer,
  type PlacedContainer,
} from '../model/inspect';
import type { NameServers } from '../networks/name-servers';
import { restrictedSandbox } from '../firewall/restricted-sandboxes';
import type { SandboxHost } from '../host/sandbox-host';
import { lookAtStats } from './stats';
import { watchEvents } from '../connection/docker-events';
import { jsonElements, openEvents, openList } from '../connection/streams';

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
  readonly channels: Channels;
  readonly supervisor: SupervisorVolume;
  readonly nameServers: NameServers;
}

/** The containers of sandboxes on one daemon. The methods of {@link EngineContainers} are documented there. */
export class SandboxContainers implements EngineContainers {
  private readonly logger = new Logger(SandboxContainers.name);
  /** Inspections of containers that are about to be stopped, each with the time at which it began. */
  private readonly expected = new LruMap<{ at: number; seen: Promise<ObservedContainer | null> }>(MOST_EXPECTED);

  constructor(private readonly parts: Parts) {}

  async create(spec: ContainerSpec): Promise<string> {
    return this.createOnce(spec, await this.parts.images.facts(spec.image));
  }

  async createKey(spec: ContainerSpec): Promise<string | null> {
    const { images, host, nameServers, supervisor } = this.parts;
    const image = await images.facts(spec.image);
    if (image.id === '') return null;
    return createKey(spec, image, {
      capabilities: host.capabilities,
      network: typeof spec.network === 'string' ? spec.network : 'restricted',
      supervisor: { volume: await supervisor.name(), device: '' },
      nameServers: await nameServers.current(),
    });
  }

  async start(engineId: string, { isNew = false }: { isNew?: boolean } = {}): Promise<'started' | 'already_running'> {
    const { daemon, host, supervisor } = this.parts;
    await host.secure();
    return daemon.call('start container', async (signal, docker) => {
      const container = containerOf(docker, engineId);
      // Before the start: gVisor's own network stack sees only the interfaces that exist at that time.
      if (!isNew) {
        const { running, supervised } = await host.connect({ docker, signal }, engineId);
        if (!running && !supervised) {
          throw new EngineError('restart_required', 'the container was created by an earlier version');
        }
        if (!running) await this.bringNameServers(container, signal);
      }
      let isMended = false;
      for (let moves = 0; ; moves += 1) {
        let outcome;
        try {
          outcome = await start(container, signal);
        } catch (error) {
          if (isSupervisorMissing(error) && !isMended) {
            this.logger.warn(`container ${engineId} has no supervisor; filling its volume again`);
            isMended = true;
            supervisor.doubt();
            await supervisor.ensure();
            continue;
          }
          const why = isNetworkMissing(error) ? 'is gone' : isNetworkFull(error) ? 'is full' : null;
          if (why === null || moves === MAX_MOVES) throw error;
          this.logger.warn(`the sandboxes' network of container ${engineId} ${why}; moving it`);
          await host.move({ docker, signal }, engineId, error);
          continue;
        }
        if (outcome === 'started' || !isMended) return outcome;
        // Seen once with gVisor: what is left of the refused start counts as a container that runs.
        throw new EngineError('container_broken', 'Docker takes a container for running that it could not start');
      }
    });
  }

  async pause(engineId: string): Promise<void> {
    const { daemon, channels } = this.parts;
    channels.notePause(engineId);
    await daemon.call('pause container', (signal, docker) => pause(containerOf(docker, engineId), signal));
  }

  async unpause(engineId: string): Promise<void> {
    await this.parts.daemon.call('unpause container', (signal, docker) =>
      unpause(containerOf(docker, engineId), signal),
    );
    this.parts.channels.noteUnpause(engineId);
  }

  async expectStop(engineId: string): Promise<void> {
    const seen = this.inspect(engineId);
    seen.catch(() => undefined);
    this.expected.set(engineId, { at: performance.now(), seen });
    // Node.js sends the request in the next tick. Without this wait it would leave only after the caller's SQLite
    // queries, which are synchronous.
    await new Promise<void>((resolve) => process.nextTick(resolve));
  }

  async stop(engineId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'> {
    const { daemon, host, channels } = this.parts;
    const expected = this.expected.get(engineId);
    this.expected.delete(engineId);
    const isFresh = expected !== undefined && performance.now() - expected.at <= SEEN_HOLDS_MS;
    const observed = await (isFresh ? expected.seen : this.inspect(engineId));
    if (observed === null)
      throw new EngineError('container_not_found', `stop container: no such container ${engineId}`);
    // Stopping a paused gVisor container (20240729) takes 12 s and returns 204, and the container cannot be started
    // again.
    if (observed.state === 'paused') await this.unpause(engineId);
    // Uses the client for streams: the call occupies its socket for the whole grace period.
    const container = containerOf(daemon.clients.streams, engineId);
    const timeoutMs = graceSeconds * 1000 + Math.min(daemon.timeoutMs, STOP_WITHIN_MS);
    const outcome = await channels.whileEnding(engineId, () =>
      this.unlessHung(engineId, () =>
        daemon.call('stop container', (signal) => stop(container, graceSeconds, signal), timeoutMs),
      ),
    );
    host.left(engineId);
    return outcome;
  }

  async remove(engineId: string): Promise<void> {
    const { daemon, host, channels } = this.parts;
    await channels.whileEnding(engineId, () =>
      this.unlessHung(engineId, () =>
        daemon.call('remove container', (signal, docker) => remove(containerOf(docker, engineId), signal)),
      ),
    );
    host.left(engineId);
  }

  async rename(engineId: string, name: string): Promise<void> {
    await this.parts.daemon.call('rename container', (signal, docker) =>
      rename(containerOf(docker, engineId), name, signal),
    );
  }

  async inspect(engineId: string): Promise<ObservedContainer | null> {
    return this.inspectAs(engineId, observedContainer);
  }

  /** The container's run and its address now. @returns null if there is no such container */
  async inspectRun(engineId: string): Promise<ContainerRun | null> {
    return this.inspectAs(engineId, observedRun);
  }

  private async inspectAs<T>(
    engineId: string,
    read: (answer: unknown, isSandboxNetwork: (name: string) => boolean) => T,
  ): Promise<T | null> {
    const { daemon, host } = this.parts;
    const isSandboxNetwork = isNetworkOf(host.instance);
    return daemon.call('inspect container', async (signal, docker) => {
      const answer: Promise<unknown> = containerOf(docker, engineId).inspect({ abortSignal: signal });
      return unlessMissing(answer.then((container) => read(container, isSandboxNetwork)));
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

  async stats(engineId: string): Promise<ContainerStats> {
    return this.parts.daemon.call('stats', (signal, docker) => lookAtStats(containerOf(docker, engineId), signal));
  }

  async *watch(
    instance: string,
    signal: AbortSignal,
    subject: WatchSubject = 'lives',
  ): AsyncGenerator<WatchMessage, void> {
    const { channels } = this.parts;
    for await (const message of this.events(instance, { subject, signal })) {
      if (message.kind === 'event') {
        const { action, engineId } = message.event;
        if (action === 'kill') channels.noteKill(engineId);
        if (action === 'die') channels.noteContainerEnd(engineId);
        if (action === 'pause') channels.notePause(engineId);
        if (action === 'unpause') channels.noteUnpause(engineId);
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

  private async createOnce(spec: ContainerSpec, image: ImageFacts): Promise<string> {
    const { daemon, host } = this.parts;
    const supervisor = await this.parts.supervisor.ensure();
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
      { capabilities, network, supervisor, restricted, nameServers },
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
    return id;
  }

  /**
   * Runs `work`, which ends the container. If Docker does not answer `work` in time but answers a ping, the sandbox
   * hangs: this kills it from outside and runs `work` once more.
   *
   * @throws EngineError `container_not_responding` if the sandbox cannot be killed from here; the errors of `work`
   */
  private async unlessHung<T>(engineId: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!saysUnavailable(error)) throw error;
      const { daemon } = this.parts;
      const answers = await daemon.look(PING_MS).catch(() => null);
      if (answers === null) throw error;
      if ((await killSandbox(engineId)) === 'none') {
        throw new EngineError('container_not_responding', 'its sandbox does not end, and is on another machine', {
          cause: error,
        });
      }
      this.logger.warn(`the sandbox of container ${engineId} did not respond, and was killed`);
      return work();
    }
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
