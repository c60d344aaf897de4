import { Logger } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import {
  Channel,
  type ChannelConnection,
  type ChannelStream,
  CONNECT,
  EngineError,
  type SandboxChannels,
  type SupervisorRequest,
} from '../../engine';
import type { DockerDaemon } from '../connection/daemon';
import { DockerExec, refusedWith } from '../connection/docker-exec';
import { OutputFrames } from '../connection/output-frames';
import { containerOf, statOf } from '../connection/container-verbs';
import { isKnownState, isSupervised } from '../model/inspect';

/** How often the channels are checked, in milliseconds. */
const CHECK_EVERY_MS = 2_000;

/** A supervisor listens a moment after its container has started: how long a channel waits for it. */
const LISTENS_WITHIN_MS = 15_000;
const TRY_EVERY_MS = { first: 20, longest: 500 } as const;

/**
 * How long a container whose channel has ended may take to be seen to end. Docker (26.1) reports the end of a container
 * after that of its programs.
 */
const ENDS_WITHIN_MS = 3_000;
const LOOK_EVERY_MS = 100;
/** How long a container may take to end after a signal: the grace period is unknown. */
const KILLED_WITHIN_MS = 60_000;

/**
 * Docker (26.1) reads these whole at each exec, in its own memory: 18.8 MB of groups that list the exec's user take
 * 500 MB of it.
 */
const ACCOUNT_FILES = ['/etc/passwd', '/etc/group'];
const MOST_ACCOUNT_BYTES = 1024 * 1024;
/** Go's bits of a file's mode that are set for anything but a regular file; without that of links. */
const NOT_REGULAR = 0x80000000 | 0x04000000 | 0x02000000 | 0x01000000 | 0x00200000 | 0x00080000;

const inspection = z.object({
  State: z.object({ Running: z.boolean(), Paused: z.boolean(), StartedAt: z.string() }),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
});

interface Entry {
  readonly opening: Promise<Channel>;
  channel: Channel | null;
}

/** The supervisor does not listen yet, or not any more. */
class NotListening extends EngineError {}

/** The channels to the supervisors of a daemon's containers. */
export class Channels implements SandboxChannels {
  private readonly logger = new Logger(Channels.name);
  /** By Docker id, the least recently used first. */
  private readonly entries = new Map<string, Entry>();
  /** Number of running calls here that end a container, by its Docker id. */
  private readonly endings = new Map<string, number>();
  /** Containers that were sent a signal that ends them, with the time until which their end is expected. */
  private readonly kills = new Map<string, number>();
  /** Containers that were paused, as far as is known; others may have let them go on since. */
  private readonly paused = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  /** Channels whose handshake is not over. */
  private readonly greeting = new Set<Channel>();
  private isClosed = false;

  /** @param most idle channels beyond this number are closed, the least recently used first */
  constructor(
    private readonly daemon: DockerDaemon,
    private readonly most: number,
  ) {}

  of(engineId: string): Promise<Channel> {
    if (this.paused.has(engineId)) return this.ofPaused(engineId);
    const known = this.entries.get(engineId);
    if (known && known.channel?.isOpen !== false) {
      // Map keeps the order of insertion.
      this.entries.delete(engineId);
      this.entries.set(engineId, known);
      return known.opening;
    }
    const opening = this.connect(engineId);
    const entry: Entry = { opening, channel: null };
    this.entries.set(engineId, entry);
    opening.then(
      (channel) => this.noteOpen(engineId, entry, channel),
      () => this.drop(engineId, entry),
    );
    return opening;
  }

  async open(
    engineId: string,
    request: SupervisorRequest,
    options: { readonly input?: boolean } = {},
  ): Promise<ChannelStream> {
    const channel = await this.of(engineId);
    // It may have closed in between; nothing was asked on it then.
    return (channel.isOpen ? channel : await this.of(engineId)).open(request, options);
  }

  /** Whether a stop, a removal or a signal is ending the container. */
  isEnding(engineId: string): boolean {
    return this.endings.has(engineId) || performance.now() < (this.kills.get(engineId) ?? 0);
  }

  /** Runs `work`, which ends the container. A program that a signal kills meanwhile counts as ended with it. */
  async whileEnding<T>(engineId: string, work: () => Promise<T>): Promise<T> {
    this.endings.set(engineId, (this.endings.get(engineId) ?? 0) + 1);
    try {
      const outcome = await work();
      this.noteContainerEnd(engineId);
      return outcome;
    } finally {
      const left = (this.endings.get(engineId) ?? 1) - 1;
      if (left > 0) this.endings.set(engineId, left);
      else this.endings.delete(engineId);
    }
  }

  /** To be called when a container was sent a signal that ends it. */
  noteKill(engineId: string): void {
    if (this.entries.has(engineId)) this.kills.set(engineId, performance.now() + KILLED_WITHIN_MS);
  }

  /** To be called before a container is paused, or when it was. */
  notePause(engineId: string): void {
    if (this.entries.has(engineId)) this.paused.add(engineId);
  }

  noteUnpause(engineId: string): void {
    this.paused.delete(engineId);
  }

  /** To be called when a container has ended: Docker may not close the connection. */
  noteContainerEnd(engineId: string): void {
    this.kills.delete(engineId);
    this.paused.delete(engineId);
    this.entries.get(engineId)?.channel?.close(containerEnded());
  }

  /** Closes all channels, for good. */
  close(): void {
    this.isClosed = true;
    clearInterval(this.timer);
    for (const { channel } of this.entries.values()) channel?.close();
    for (const channel of this.greeting) channel.close();
    this.entries.clear();
  }

  /** @throws EngineError `container_paused` if it still is: a request would wait until the container goes on */
  private async ofPaused(engineId: string): Promise<Channel> {
    await this.look(engineId, {});
    this.paused.delete(engineId);
    return this.of(engineId);
  }

  private noteOpen(engineId: string, entry: Entry, channel: Channel): void {
    entry.channel = channel;
    this.daemon.calls.channels.open += 1;
    this.daemon.calls.channels.opened += 1;
    channel.onClosed((why) => {
      this.daemon.calls.channels.open -= 1;
      this.drop(engineId, entry);
      if (why.code === 'container_not_responding') {
        this.logger.warn(`the channel to container ${engineId} was closed: ${why.message}`);
      }
    });
    this.timer ??= setInterval(() => this.check(), CHECK_EVERY_MS).unref();
    this.closeIdle();
  }

  private drop(engineId: string, entry: Entry): void {
    if (this.entries.get(engineId) === entry) {
      this.entries.delete(engineId);
      this.paused.delete(engineId);
    }
    if (this.entries.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private check(): void {
    const now = performance.now();
    for (const { channel } of this.entries.values()) channel?.check(now);
    for (const [engineId, until] of this.kills) if (until < now) this.kills.delete(engineId);
  }

  /** Channels in use are kept, also beyond the limit. */
  private closeIdle(): void {
    let over = this.entries.size - this.most;
    for (const { channel } of this.entries.values()) {
      if (over <= 0) return;
      if (channel === null || channel.openStreams > 0) continue;
      channel.close();
      over -= 1;
    }
  }

  /** @throws EngineError as {@link SandboxChannels} */
  private async connect(engineId: string): Promise<Channel> {
    const until = performance.now() + LISTENS_WITHIN_MS;
    for (let pause: number = TRY_EVERY_MS.first; ; pause = Math.min(2 * pause, TRY_EVERY_MS.longest)) {
      try {
        return await this.connectOnce(engineId);
      } catch (error) {
        if (!(error instanceof NotListening) || performance.now() > until) throw error;
      }
      await delay(pause);
    }
  }

  /** @throws EngineError, {@link NotListening} */
  private async connectOnce(engineId: string): Promise<Channel> {
    const [startedAt] = await Promise.all([this.look(engineId, { isNew: true }), this.assertEnterable(engineId)]);
    const exec = await DockerExec.open(this.daemon, engineId, { command: CONNECT, user: '0:0', cwd: '/' });
    const connection: { channel?: Channel; isReady: boolean } = { isReady: false };
    const multiplexed: ChannelConnection = {
      socket: exec.stream,
      demultiplexer: (onOutput) => new OutputFrames(onOutput),
    };
    const channel = new Channel(multiplexed, {
      whyLost: () =>
        (connection.isReady
          ? this.whyLost(engineId, startedAt)
          : this.whyRefused(exec, connection.channel?.words ?? '', { engineId, startedAt })
        ).catch(asEngineError),
      whySilent: async () => {
        try {
          await this.look(engineId, { startedAt });
        } catch (error) {
          const why = asEngineError(error);
          return why.code === 'container_paused' ? null : why;
        }
        return new EngineError('container_not_responding', "the sandbox's supervisor does not answer");
      },
    });
    connection.channel = channel;
    this.greeting.add(channel);
    const checks = setInterval(() => channel.check(), CHECK_EVERY_MS).unref();
    try {
      if (this.isClosed) channel.close();
      await channel.ready;
    } finally {
      clearInterval(checks);
      this.greeting.delete(channel);
    }
    connection.isReady = true;
    return channel;
  }

  /** Why the connection of a running channel ended. */
  private async whyLost(engineId: string, startedAt: string): Promise<EngineError> {
    const until = performance.now() + ENDS_WITHIN_MS;
    do {
      try {
        await this.look(engineId, { startedAt });
      } catch (error) {
        if (!(error instanceof EngineError) || error.code !== 'container_paused') throw error;
      }
      await delay(LOOK_EVERY_MS);
    } while (performance.now() < until || this.isEnding(engineId));
    return new EngineError('docker_unavailable', 'the connection to the sandbox broke');
  }

  /** Why no channel came about. */
  private async whyRefused(
    exec: DockerExec,
    words: string,
    { engineId, startedAt }: { engineId: string; startedAt: string },
  ): Promise<EngineError> {
    const { hasStarted, exitCode } = await exec.ended();
    const refused = hasStarted ? null : refusedWith(words);
    if (refused?.code === 'sandbox_full') return refused;
    await this.look(engineId, { startedAt });
    if (refused && refused.code !== 'container_not_running') {
      return new EngineError('container_not_responding', refused.message, { cause: refused });
    }
    const why = `the sandbox's supervisor does not listen (${String(exitCode)}): ${words.trim()}`;
    return new NotListening('container_not_responding', why);
  }

  /**
   * Asks Docker whether the container runs.
   *
   * @param options.startedAt of the run that is meant: after another start, that run has ended
   * @param options.isNew whether to look for the supervisor as well
   * @returns the start of the present run
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, `restart_required`
   */
  private async look(
    engineId: string,
    { startedAt, isNew = false }: { startedAt?: string; isNew?: boolean },
  ): Promise<string> {
    const answer: unknown = await this.daemon.call('inspect container', (signal, docker) =>
      containerOf(docker, engineId).inspect({ abortSignal: signal }),
    );
    const { State, Config } = isKnownState(inspection, answer);
    if (!State.Running || (startedAt !== undefined && startedAt !== State.StartedAt)) throw containerEnded();
    if (State.Paused) throw new EngineError('container_paused', 'the container is paused');
    if (isNew && !isSupervised(Config?.Labels ?? {})) {
      throw new EngineError(
        'restart_required',
        'the container was created by an earlier version, without a supervisor',
      );
    }
    return State.StartedAt;
  }

  /** @throws EngineError `command_not_started` if Docker would read too much to start a program */
  private async assertEnterable(engineId: string): Promise<void> {
    const areSmall = await Promise.all(ACCOUNT_FILES.map((path) => this.isSmall(engineId, path)));
    if (!areSmall.includes(false)) return;
    const why = `${ACCOUNT_FILES.join(' or ')} is larger than ${String(MOST_ACCOUNT_BYTES)} bytes, or no file`;
    throw new EngineError('command_not_started', why);
  }

  /** True also if there is no such file, or Docker cannot tell: then it cannot read the file either. */
  private async isSmall(engineId: string, path: string, mayBeLink = true): Promise<boolean> {
    const stat = await this.daemon
      .call('exec', (signal, docker) => statOf(containerOf(docker, engineId), path, signal))
      .catch(() => null);
    if (stat === null) return true;
    // Docker has followed all links.
    if (stat.linkTarget !== '' && mayBeLink) return this.isSmall(engineId, stat.linkTarget, false);
    return (stat.mode & NOT_REGULAR) === 0 && stat.size <= MOST_ACCOUNT_BYTES;
  }
}

function containerEnded(): EngineError {
  return new EngineError('container_not_running', 'the container has ended');
}

function asEngineError(error: unknown): EngineError {
  return error instanceof EngineError ? error : new EngineError('docker_error', String(error), { cause: error });
}
