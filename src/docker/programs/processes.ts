import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from './container-process';
import { LruMap } from '../../scheduling';
import { containerOf } from '../containers/container-verbs';
import { LABELS } from '../containers/create-options';
import type { DockerDaemon } from '../connection/daemon';
import { saysNotRunning } from '../engine-error';
import { runExec } from './exec';
import type { ExecCall } from './exec-calls';
import { type ExecOptions, ExecSession } from './exec-session';
import { Batches, endMarked, signalMarked } from './process-marker';

/** For commands of Berth's own, which write nothing where the image's programs are what they seem. */
const OWN_OUTPUT_BYTES = 64 * 1024;
/** How long they may take beyond their grace: an image's shell may never end. */
const OWN_WITHIN_MS = 15_000;
/** How long they may take to start before the container counts as one that does not respond. */
const OWN_START_WITHIN_MS = 10_000;
/** How long Docker may take to answer a ping, where a command does not start. */
const PING_MS = 2_000;

/** Containers of which something is remembered; a forgotten user costs a call at the next command. */
const MOST_CONTAINERS = 10_000;
/** Characters, of a user and a group; an image's author may write any number. */
const MOST_USER = 256;

const GIVE_UP_EVERY_MS = 250;

/** How often it is tried whether a container can be entered in which something is not read. */
const UNREAD_TRY_EVERY_MS = 2_000;

/** How long the end of a container may take that was sent a signal from elsewhere: with what grace is not known. */
const ENDS_WITHIN_MS = 60_000;

/** A command that cannot be run, whatever the image has: enough to learn whether a container can be entered. */
const NO_COMMAND = { command: ['/'], user: '0' };

/** The sessions that are held now, by their containers' Docker ids. */
export class OpenSessions {
  private readonly byContainer = new Map<string, Set<ExecSession>>();
  /** How much is under way here that ends a container, by its Docker id. */
  private readonly endings = new Map<string, number>();
  /** Containers that were sent a signal that ends them, with the time until which they are expected to have ended. */
  private readonly kills = new LruMap<number>(MOST_CONTAINERS);
  private trying: NodeJS.Timeout | undefined;

  /** @param canEnter whether a container that Docker says is running can be entered; it gives up the unread if not */
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

  /** Where something is not read, nothing but an attempt to enter the container shows that it has ended. */
  private tryUnread(): void {
    for (const [dockerId, sessions] of this.byContainer) {
      if ([...sessions].some((session) => session.isUnread)) void this.canEnter(dockerId);
    }
  }

  /** Whether a container is being ended: what ends in it by a signal until then ends with it. */
  isEnding(dockerId: string): boolean {
    return this.endings.has(dockerId) || performance.now() < (this.kills.get(dockerId) ?? 0);
  }

  /** To be called when somebody has sent a container a signal that ends it. */
  noteKill(dockerId: string): void {
    this.kills.set(dockerId, performance.now() + ENDS_WITHIN_MS);
  }

  /** Does `work`, which ends the container, and gives up meanwhile what is not read. */
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
   * To be called when a container has ended though Docker does not say so yet: closes those of its sessions that are
   * not read, which is what keeps Docker from it.
   */
  giveUpUnread(dockerId: string): void {
    const held = [...(this.byContainer.get(dockerId) ?? [])];
    const timer = setInterval(() => {
      for (const session of held) if (session.isUnread) session.close();
      if (held.every((session) => session.isClosed)) clearInterval(timer);
    }, GIVE_UP_EVERY_MS).unref();
  }

  /**
   * Does `work`, during which sessions whose output is not read are closed: as long as nobody reads what a dead command
   * has written, Docker (26.1) reports the end of no other in its container, nor that of the container.
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

/**
 * What runs in containers beside their main processes, and as whom. The methods of {@link ContainerEngine} are
 * documented there.
 */
export class Processes {
  /** As whom commands run in containers without being told: a label, which never changes. */
  private readonly users = new LruMap<string>(MOST_CONTAINERS);
  private readonly sessions = new OpenSessions((dockerId) => this.canEnter(dockerId));
  private readonly endings = new Batches<string, 'ended' | 'still_running'>();
  private readonly entries = new Batches<null, boolean>();
  private readonly call: ExecCall = (run) => this.daemon.call('exec', run);

  constructor(private readonly daemon: DockerDaemon) {}

  async exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    // By the client for streams, as it occupies its socket while the command runs.
    const container = containerOf(this.daemon.clients.streams, dockerId);
    const user = request.user ?? (await this.imageUserOf(dockerId));
    return runExec(container, { ...request, user }, this.optionsFor(dockerId));
  }

  async start(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    const container = containerOf(this.daemon.clients.streams, dockerId);
    const user = request.user ?? (await this.imageUserOf(dockerId));
    const session = await ExecSession.open(container, { ...request, user }, this.optionsFor(dockerId));
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

  /** One command for all that are to be ended at once: each looks at every process, and is one to the others. */
  async end(
    dockerId: string,
    { marker, user, signal, graceMs }: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    const alike = [dockerId, user ?? '', signal, String(graceMs)].join(' ');
    return this.endings.add(alike, marker, async (markers) => {
      const command = endMarked(markers, { signal, graceMs });
      const { exitCode } = await this.sessions.givingUpUnread({ dockerId, markers: new Set(markers) }, () =>
        this.execOwn(dockerId, { command, user, graceMs }),
      );
      return exitCode === 0 ? 'ended' : 'still_running';
    });
  }

  async signal(dockerId: string, { marker, user, signal }: MarkedProcesses): Promise<'sent' | 'none'> {
    const { exitCode } = await this.execOwn(dockerId, { command: signalMarked(marker, signal), user, graceMs: 0 });
    return exitCode === 0 ? 'sent' : 'none';
  }

  /** Does `work`, which ends the container, and gives up meanwhile what nobody reads: see {@link OpenSessions}. */
  async whileEnding<T>(dockerId: string, work: () => Promise<T>): Promise<T> {
    const outcome = await this.sessions.whileEnding(dockerId, work);
    this.noteContainerEnd(dockerId);
    return outcome;
  }

  /** To be called when a container has ended: who reads a program in it may not learn it from its stream. */
  noteContainerEnd(dockerId: string): void {
    this.sessions.noteContainerEnd(dockerId);
  }

  /** To be called when somebody has sent a container a signal that ends it. */
  noteKill(dockerId: string): void {
    this.sessions.noteKill(dockerId);
  }

  /** Remembers as whom commands run in a container: what its label says. */
  noteUser(dockerId: string, user: string | undefined): void {
    if (user !== undefined && user.length <= MOST_USER) this.users.set(dockerId, user);
  }

  /** The container is gone. */
  forget(dockerId: string): void {
    this.users.delete(dockerId);
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

  /** Finds out by a command that cannot be run, one for all who ask. Only Docker's word that it has ended counts. */
  private canEnter(dockerId: string): Promise<boolean> {
    return this.entries.add(dockerId, null, async () => {
      const container = containerOf(this.daemon.clients.streams, dockerId);
      const request = { ...NO_COMMAND, timeoutMs: OWN_WITHIN_MS, maxOutputBytes: OWN_OUTPUT_BYTES };
      try {
        await runExec(container, request, { call: this.call });
      } catch (error) {
        if (!saysNotRunning(error)) return true;
        this.sessions.giveUpUnread(dockerId);
        return false;
      }
      return true;
    });
  }

  /** The main process is root's, so Docker no longer knows. @returns undefined where Docker does, or there is none */
  private async imageUserOf(dockerId: string): Promise<string | undefined> {
    const known = this.users.get(dockerId);
    if (known !== undefined) return known;
    const user = await this.daemon.call('inspect container', async (signal, docker) => {
      const answer = await containerOf(docker, dockerId).inspect({ abortSignal: signal });
      return answer.Config.Labels[LABELS.user];
    });
    this.noteUser(dockerId, user);
    return user;
  }

  /** Runs a short command of Berth's own. */
  private execOwn(
    dockerId: string,
    { command, user, graceMs }: { command: readonly string[]; user: string | undefined; graceMs: number },
  ): Promise<{ exitCode: number }> {
    const timeoutMs = graceMs + Math.min(this.daemon.timeoutMs, OWN_WITHIN_MS);
    const limits = { timeoutMs, startWithinMs: OWN_START_WITHIN_MS, maxOutputBytes: OWN_OUTPUT_BYTES };
    return this.exec(dockerId, { command, user, ...limits });
  }
}
