import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { EnginePrograms } from '../port/engine-programs';
import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from '../port/container-process';
import { LruMap } from '../../scheduling';
import { abortable } from '../connection/client';
import { containerOf } from '../containers/container-verbs';
import { LABELS, withoutCreated } from '../containers/create-options';
import type { DockerDaemon } from '../connection/daemon';
import { EngineError, saysNotRunning } from '../engine-error';
import type { Images } from '../images/images';
import { passThroughShell, WAITING_TERMINAL } from './ahead/session-line';
import { type AheadProgram, SessionPool, type SessionSettings } from './ahead/session-pool';
import type { ExecCall } from './exec-calls';
import { type ExecOptions, ExecSession } from './exec-session';
import { Batches, endMarked, signalHolders, signalMarked } from './process-marker';
import { runProgram } from './run-program';

/** Output limit of Berth's own commands, which write nothing unless the image's programs are not the usual ones. */
const OWN_OUTPUT_BYTES = 64 * 1024;
/** How long Berth's own commands may take beyond their grace period: an image's shell may never end. */
const OWN_WITHIN_MS = 15_000;
/** How long Berth's own commands may take to start. After that, the container does not respond. */
const OWN_START_WITHIN_MS = 10_000;
/** How long Docker may take to answer a ping if a command does not start. */
const PING_MS = 2_000;

/** Containers whose facts are remembered; forgotten ones cost a call at the next command. */
const MOST_CONTAINERS = 10_000;
/** Maximum characters of facts that are remembered: an image's author may write any number. */
const MOST_FACTS = 10_000;

/**
 * Docker (26.1) reads these whole at each exec, in its own memory: 18.8 MB of groups that list the exec's user take
 * 500 MB of it.
 */
const ACCOUNT_FILES = ['/etc/passwd', '/etc/group'];
const MOST_ACCOUNT_BYTES = 1024 * 1024;
/** How long a look at the account files counts, in milliseconds: programs that start at once share one. */
const ACCOUNTS_FRESH_MS = 1_000;

/** The header in which Docker describes a file of a container. */
const PATH_STAT = 'x-docker-container-path-stat';
const pathStat = z.object({ size: z.number(), mode: z.number(), linkTarget: z.string() });
/** Go's bits of a file's mode that are set for anything but a regular file; without that of links. */
const NOT_REGULAR = 0x80000000 | 0x04000000 | 0x02000000 | 0x01000000 | 0x00200000 | 0x00080000;

const GIVE_UP_EVERY_MS = 250;

/** How often containers with an unread session are tested for their end. */
const UNREAD_TRY_EVERY_MS = 2_000;

/** How long a container may take to end after a signal that this process did not send: the grace period is unknown. */
const ENDS_WITHIN_MS = 60_000;

/** What commands in a container need to know of its create call. */
interface Entered {
  /**
   * The default user, from the container's label: the main process runs as root, so Docker does not know the user.
   * undefined if there is no such label: then Docker's default is right.
   */
  readonly user: string | undefined;
  /** Undoes users' variables in the create call of an earlier version; absent if there are none. */
  readonly created?: Readonly<Record<string, string | null>>;
}

/** A command that no image can run: enough to learn whether a container can be entered. */
const NO_COMMAND = { command: ['/'], user: '0', startWithinMs: OWN_WITHIN_MS };

/** The open sessions, by the Docker id of their container. */
export class OpenSessions {
  private readonly byContainer = new Map<string, Set<ExecSession>>();
  /** Number of running calls here that end a container, by its Docker id. */
  private readonly endings = new Map<string, number>();
  /** Containers that were sent an ending signal, with the time until which their end is expected. */
  private readonly kills = new LruMap<number>(MOST_CONTAINERS);
  private trying: NodeJS.Timeout | undefined;

  /**
   * @param canEnter whether a command can be run in a container that Docker reports as running; if not, it closes the
   *   container's unread sessions
   */
  constructor(private readonly canEnter: (dockerId: string) => Promise<boolean> = () => Promise.resolve(true)) {}

  add(dockerId: string, session: ExecSession): void {
    const sessions = this.byContainer.get(dockerId) ?? new Set();
    this.byContainer.set(dockerId, sessions.add(session));
    this.trying ??= setInterval(() => this.tryUnread(), UNREAD_TRY_EVERY_MS).unref();
    session.onClosed(() => {
      sessions.delete(session);
      if (sessions.size === 0) this.byContainer.delete(dockerId);
      if (this.byContainer.size > 0) return;
      clearInterval(this.trying);
      this.trying = undefined;
    });
  }

  /** If output is unread, only an attempt to enter the container shows that the container has ended. */
  private tryUnread(): void {
    for (const [dockerId, sessions] of this.byContainer) {
      if ([...sessions].some((session) => session.isUnread)) void this.canEnter(dockerId);
    }
  }

  /**
   * Whether the container is being ended. A program that a signal kills meanwhile counts as ended with the container.
   */
  isEnding(dockerId: string): boolean {
    return this.endings.has(dockerId) || performance.now() < (this.kills.get(dockerId) ?? 0);
  }

  /** To be called when a container was sent a signal that ends it. */
  noteKill(dockerId: string): void {
    this.kills.set(dockerId, performance.now() + ENDS_WITHIN_MS);
  }

  /** Runs `work`, which ends the container, and closes the container's unread sessions meanwhile. */
  async whileEnding<T>(dockerId: string, work: () => Promise<T>): Promise<T> {
    this.endings.set(dockerId, (this.endings.get(dockerId) ?? 0) + 1);
    try {
      return await this.givingUpUnread({ dockerId }, work);
    } finally {
      const left = (this.endings.get(dockerId) ?? 1) - 1;
      if (left > 0) this.endings.set(dockerId, left);
      else this.endings.delete(dockerId);
    }
  }

  /** To be called when a container has ended, or may have. */
  noteContainerEnd(dockerId: string): void {
    this.kills.delete(dockerId);
    for (const session of this.byContainer.get(dockerId) ?? []) session.noteContainerEnd();
  }

  /**
   * To be called when a container has ended but Docker does not report it yet: closes the container's unread
   * sessions, which keep Docker from noticing.
   */
  giveUpUnread(dockerId: string): void {
    const held = [...(this.byContainer.get(dockerId) ?? [])];
    const timer = setInterval(() => {
      for (const session of held) if (session.isUnread) session.close();
      if (held.every((session) => session.isClosed)) clearInterval(timer);
    }, GIVE_UP_EVERY_MS).unref();
  }

  /**
   * Runs `work`, and closes unread sessions meanwhile: as long as the output of a dead command is unread, Docker
   * (26.1) reports neither the end of any other command in its container nor that of the container.
   */
  async givingUpUnread<T>(
    which: { dockerId: string; markers?: ReadonlySet<string | undefined> },
    work: () => Promise<T>,
  ): Promise<T> {
    const timer = setInterval(() => {
      for (const session of this.byContainer.get(which.dockerId) ?? []) {
        if (session.isUnread && (which.markers?.has(session.marker) ?? true)) session.close();
      }
    }, GIVE_UP_EVERY_MS);
    try {
      return await work();
    } finally {
      clearInterval(timer);
    }
  }
}

/** The programs in a daemon's containers. The methods of {@link EnginePrograms} are documented there. */
export class DockerPrograms implements EnginePrograms {
  /** By Docker id; never changes. */
  private readonly entered = new LruMap<Entered>(MOST_CONTAINERS);
  /** By Docker id: {@link passesVariables}; never changes. */
  private readonly passing = new LruMap<boolean>(MOST_CONTAINERS);
  /** By Docker id: the last look at the account files. */
  private readonly accounts = new LruMap<{ readonly at: number; readonly areSmall: Promise<boolean> }>(MOST_CONTAINERS);
  private readonly sessions = new OpenSessions((dockerId) => this.canEnter(dockerId));
  private readonly endings = new Batches<string, 'ended' | 'still_running'>();
  private readonly entries = new Batches<null, boolean>();
  private readonly call: ExecCall = (run) => this.daemon.call('exec', run);
  private readonly ahead: SessionPool;

  /** @param ahead as {@link SessionPool}; by default no sessions are opened ahead */
  constructor(
    private readonly daemon: DockerDaemon,
    private readonly images: Pick<Images, 'facts'>,
    ahead: SessionSettings = { memoryMb: 0, scripts: { pipes: [], terminal: [] } },
  ) {
    const calls = {
      open: (dockerId: string, request: ProcessRequest) => this.open(dockerId, request, { isUnwatched: true }),
      kill: (dockerId: string, marker: string, user: string | undefined) => this.kill(dockerId, marker, user),
      endTerminals: async (dockerId: string, user: string | undefined) => {
        await this.runScript(dockerId, { args: signalHolders(WAITING_TERMINAL, 'URG'), user, graceMs: 0 });
      },
      passesVariables: (dockerId: string) => this.passesVariables(dockerId),
      isEnding: (dockerId: string) => this.sessions.isEnding(dockerId),
    };
    this.ahead = new SessionPool(ahead, calls, daemon.calls.sessions);
  }

  prepare(
    dockerId: string,
    { env, isWarm = false }: { env?: ProcessRequest['env']; isWarm?: boolean } = {},
  ): Promise<void> {
    if (isWarm) this.ahead.keep(dockerId);
    else this.ahead.prepare(dockerId, env);
    return Promise.resolve();
  }

  unprepare(dockerId: string): Promise<void> {
    this.ahead.unkeep(dockerId);
    return Promise.resolve();
  }

  reserve(dockerId: string, program: AheadProgram): Promise<string> {
    return Promise.resolve(this.ahead.reserve(dockerId, program) ?? randomUUID());
  }

  async run(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    return runProgram(this, dockerId, request);
  }

  async start(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    const ahead = await this.ahead.start(request);
    if (ahead) {
      if (ahead.exec) this.sessions.add(dockerId, ahead.exec);
      if (request.startUnawaited !== true) await ahead.started();
      return ahead;
    }
    const session = await this.open(dockerId, request);
    this.sessions.add(dockerId, session);
    if (request.startUnawaited === true) return session;
    try {
      await session.started();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /**
   * Concurrent requests for a container share one command: each such command inspects every process, and is itself a
   * process that the others inspect.
   */
  async end(
    dockerId: string,
    { marker, user, signal, graceMs }: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    const alike = [dockerId, user ?? '', signal, String(graceMs)].join(' ');
    return this.endings.add(alike, marker, async (markers) => {
      const args = endMarked(markers, { signal, graceMs });
      const { exitCode } = await this.sessions.givingUpUnread({ dockerId, markers: new Set(markers) }, () =>
        this.runScript(dockerId, { args, user, graceMs }),
      );
      return exitCode === 0 ? 'ended' : 'still_running';
    });
  }

  async signal(dockerId: string, { marker, user, signal }: MarkedProcesses): Promise<'sent' | 'none'> {
    const { exitCode } = await this.runScript(dockerId, { args: signalMarked(marker, signal), user, graceMs: 0 });
    return exitCode === 0 ? 'sent' : 'none';
  }

  /** Runs `work`, which ends the container, and closes unread sessions meanwhile: see {@link OpenSessions}. */
  async whileEnding<T>(dockerId: string, work: () => Promise<T>): Promise<T> {
    this.ahead.discard(dockerId);
    const outcome = await this.sessions.whileEnding(dockerId, work);
    this.noteContainerEnd(dockerId);
    return outcome;
  }

  /** To be called when a container has ended: the reader of a program may not learn it from the stream. */
  noteContainerEnd(dockerId: string): void {
    this.ahead.discard(dockerId);
    this.sessions.noteContainerEnd(dockerId);
  }

  /** To be called when a container was sent a signal that ends it. */
  noteKill(dockerId: string): void {
    this.sessions.noteKill(dockerId);
    this.ahead.discard(dockerId);
  }

  /** Remembers the default user of commands in a container, from its label. */
  noteUser(dockerId: string, user: string | undefined): void {
    this.noteEntered(dockerId, { user });
  }

  /** To be called when a container is gone. */
  forget(dockerId: string): void {
    this.entered.delete(dockerId);
    this.passing.delete(dockerId);
    this.accounts.delete(dockerId);
    this.ahead.discard(dockerId);
  }

  /** Closes the sessions that are opened ahead in a container. */
  discardSessions(dockerId: string): void {
    this.ahead.discard(dockerId);
  }

  /** Closes all sessions that are opened ahead. */
  close(): void {
    this.ahead.close();
  }

  /** Opens the connection of a new exec, as the request's user. */
  private async open(
    dockerId: string,
    request: ProcessRequest,
    options: Pick<ExecOptions, 'isUnwatched'> = {},
  ): Promise<ExecSession> {
    // Uses the client for streams: the call occupies its socket while the program runs.
    const container = containerOf(this.daemon.clients.streams, dockerId);
    // Docker looks at the files only once it starts the command.
    const mayStart = this.assertEnterable(dockerId);
    mayStart.catch(() => undefined);
    const { user, ...created } = await this.enteredOf(dockerId);
    const all = { ...this.optionsFor(dockerId), ...created, ...options, mayStart };
    return ExecSession.open(container, { ...request, user: request.user ?? user }, all);
  }

  /** @throws EngineError if they may still be running */
  private async kill(dockerId: string, marker: string, user: string | undefined): Promise<void> {
    const outcome = await this.end(dockerId, { marker, user, signal: 'KILL', graceMs: 0 });
    if (outcome === 'ended') return;
    throw new EngineError('container_not_responding', 'a session could not be ended');
  }

  /** Whether the container's own variables pass through a shell unchanged; asks Docker once for each container. */
  private async passesVariables(dockerId: string): Promise<boolean> {
    const known = this.passing.get(dockerId);
    if (known !== undefined) return known;
    const { Config } = await this.daemon.call('inspect container', (signal, docker) =>
      containerOf(docker, dockerId).inspect({ abortSignal: signal }),
    );
    const passes = passThroughShell(Config.Env.map((text) => text.split('=', 1)[0] ?? ''));
    this.passing.set(dockerId, passes);
    return passes;
  }

  private optionsFor(dockerId: string): ExecOptions {
    const end = { isNear: () => this.sessions.isEnding(dockerId), canEnter: () => this.canEnter(dockerId) };
    const answers = (): Promise<boolean> =>
      this.daemon.look(PING_MS).then(
        () => true,
        () => false,
      );
    return { call: this.call, end, answers };
  }

  /**
   * Whether the container can be entered, tested with a command that cannot be run; concurrent callers share one
   * test. Only Docker's word that the container is missing or stopped counts as no. Then this also closes unread
   * sessions. A paused container has not ended: its programs go on later.
   */
  private canEnter(dockerId: string): Promise<boolean> {
    return this.entries.add(dockerId, null, async () => {
      if (!(await this.areAccountsSmall(dockerId))) return true;
      const container = containerOf(this.daemon.clients.streams, dockerId);
      try {
        const session = await ExecSession.open(container, NO_COMMAND, { call: this.call });
        await session.started().finally(() => session.close());
      } catch (error) {
        if (!saysNotRunning(error)) return true;
        this.sessions.giveUpUnread(dockerId);
        return false;
      }
      return true;
    });
  }

  /** @throws EngineError `command_not_started` if Docker would read too much to start a command */
  private async assertEnterable(dockerId: string): Promise<void> {
    if (await this.areAccountsSmall(dockerId)) return;
    const why = `${ACCOUNT_FILES.join(' or ')} is larger than ${String(MOST_ACCOUNT_BYTES)} bytes, or no file`;
    throw new EngineError('command_not_started', why);
  }

  private areAccountsSmall(dockerId: string): Promise<boolean> {
    const known = this.accounts.get(dockerId);
    if (known && performance.now() - known.at < ACCOUNTS_FRESH_MS) return known.areSmall;
    const looks = Promise.all(ACCOUNT_FILES.map((path) => this.isSmall(dockerId, path)));
    const areSmall = looks.then((small) => !small.includes(false));
    this.accounts.set(dockerId, { at: performance.now(), areSmall });
    return areSmall;
  }

  /** True also if there is no such file, or Docker cannot tell: then it cannot read the file either. */
  private async isSmall(dockerId: string, path: string, mayBeLink = true): Promise<boolean> {
    const stat = await this.daemon
      .call('exec', async (signal, docker) => {
        const answer: unknown = await containerOf(docker, dockerId).infoArchive(abortable(signal, { path }));
        const { headers } = (answer as IncomingMessage).resume();
        return pathStat.parse(JSON.parse(Buffer.from(String(headers[PATH_STAT]), 'base64').toString()));
      })
      .catch(() => null);
    if (stat === null) return true;
    // Docker has followed all links.
    if (stat.linkTarget !== '' && mayBeLink) return this.isSmall(dockerId, stat.linkTarget, false);
    return (stat.mode & NOT_REGULAR) === 0 && stat.size <= MOST_ACCOUNT_BYTES;
  }

  /** Asks Docker if this process has neither created the container nor run a command in it. */
  private async enteredOf(dockerId: string): Promise<Entered> {
    const known = this.entered.get(dockerId);
    if (known) return known;
    const { Config, Image } = await this.daemon.call('inspect container', (signal, docker) =>
      containerOf(docker, dockerId).inspect({ abortSignal: signal }),
    );
    const image = await this.images.facts(Image);
    // Without its image, the variables of the two cannot be told apart.
    const created = image.id === '' ? {} : withoutCreated(Config.Env, image);
    const isCreated = Object.keys(created).length > 0;
    const entered = { user: Config.Labels[LABELS.user], ...(isCreated && { created }) };
    this.noteEntered(dockerId, entered);
    return entered;
  }

  private noteEntered(dockerId: string, entered: Entered): void {
    if (JSON.stringify(entered).length <= MOST_FACTS) this.entered.set(dockerId, entered);
  }

  /**
   * Runs a short script of Berth's own, by the image's shell. It is not ended if it takes too long: only another one
   * could do so.
   */
  private async runScript(
    dockerId: string,
    { args, user, graceMs }: { args: readonly string[]; user: string | undefined; graceMs: number },
  ): Promise<{ exitCode: number }> {
    const timeoutMs = graceMs + Math.min(this.daemon.timeoutMs, OWN_WITHIN_MS);
    const limits = { timeoutMs, startWithinMs: OWN_START_WITHIN_MS, maxOutputBytes: OWN_OUTPUT_BYTES };
    const programs = { start: this.start.bind(this) };
    const run = (shell: string): Promise<{ exitCode: number }> =>
      runProgram(programs, dockerId, { command: [shell, ...args], user, ...limits });
    return run('sh').catch((error: unknown) => {
      // The image's `PATH` may lead to no shell.
      if (!(error instanceof EngineError) || error.code !== 'command_not_started') throw error;
      return run('/bin/sh');
    });
  }
}
