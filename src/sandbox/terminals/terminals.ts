import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { noteProgram } from '../../audit';
import { OpenConnections } from '../../auth';
import { type Caller, ContainersService, isUp, type RunningContainer } from '../../containers';
import {
  ContainerEngine,
  type ContainerProcess,
  EngineError,
  LOGIN_SHELL,
  saysNotRunning,
  saysPaused,
} from '../../engine';
import { ProcessPresence } from '../../database';
import { DomainError } from '../../errors';
import { LOGGER, type Logger } from '../../logging';
import { LocalQueue, LruMap, within } from '../../scheduling';
import { Signals } from '../../signals';
import { type FoundProgram, type KeptProgram, KeptPrograms } from '../programs/kept-programs';
import { failedAs } from '../access/inside-errors';
import { type TerminalExit, OutputTurns } from './attachment';
import { RING_BYTES, TerminalSession } from './terminal-session';

/** Maximum open terminals of a container. */
export const MAX_TERMINALS = 8;

const ENV = { TERM: 'xterm-256color' } as const;
/** Until the first client says its own. */
const SIZE = { columns: 80, rows: 24 } as const;

/** Between SIGHUP and SIGKILL. */
const HANGUP_GRACE_MS = 2_000;

/** Typing counts as use of the container, and resumes a paused one. It is looked at at most this often. */
const USE_NOTED_EVERY_MS = 1_000;

/** How long the end of a shell waits for its container's row to explain it, and how often the row is read meanwhile. */
const EXPLAINED_WITHIN_MS = 30_000;
const EXPLAIN_EVERY_MS = 250;
/** How soon the row shows that a container ended by itself, if Docker answers. */
const SEEN_WITHIN_MS = 2_000;

/** How long what runs in a container's terminals is taken as it was seen: pages ask often, and a look is a program. */
const JOBS_SEEN_FOR_MS = 10_000;
/** Containers whose last look is kept. */
const MOST_LOOKS = 1_000;

/** A program that waits for further commands, and is worth nothing by itself. */
const SHELL = /(^|\/)[a-z]{0,3}sh$/;

/** How long a terminal goes on without a client and without a job; then as often it is looked for one. */
const DETACHED_MS = 5 * 60_000;
/** How long a client may take to come back to a terminal that has ended meanwhile. */
const ENDED_FOR_MS = 5 * 60_000;
/** How long a start waits for others in the same container. */
const START_WITHIN_MS = 15_000;

/** How long a shutdown waits for the end of all sessions. */
const SHUTDOWN_MS = 5_000;

/** What runs in a new terminal. */
export interface TerminalProgram {
  /** By default the login shell. */
  readonly command?: readonly string[] | undefined;
  /** Variables beside the container's own, `TERM` among them. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** By default the image's own directory, or that of the login shell. */
  readonly cwd?: string | undefined;
  /** By default the image's own user. */
  readonly user?: string | undefined;
}

/** One terminal of a container. */
interface ListedTerminal {
  readonly id: string;
  readonly startedAt: Date;
  /** The number of attached clients; those at another server process count as one. */
  readonly clients: number;
  /** The names of what runs in it beside its shell; null if a client is attached, or it is not known. */
  readonly programs: readonly string[] | null;
}

/** A look for what runs in a container's terminals. */
interface Look {
  readonly at: number;
  readonly of: string;
  readonly jobs: Promise<Jobs>;
}

type Jobs = ReadonlyMap<string, readonly string[]>;

/**
 * The terminals of containers. Their sandboxes keep them, so they outlive this process, and each process can attach to
 * all of them. This one holds a session of those that its clients are attached to.
 */
@Injectable()
export class Terminals implements OnModuleDestroy {
  private readonly sessions = new Map<string, TerminalSession>();
  /** Sessions that are being made for terminals that exist. */
  private readonly attaching = new Map<string, Promise<TerminalSession>>();
  /** Terminals that this process ends if nobody comes back to them. */
  private readonly idle = new Map<string, NodeJS.Timeout>();
  private readonly turns = new OutputTurns();
  /** Starts in one container wait for each other, so that they cannot all take the last place. */
  private readonly queue = new LocalQueue();
  /** By container: the last look for {@link jobsIn}. */
  private readonly looks = new LruMap<Look>(MOST_LOOKS);
  private readonly stopListening: () => void;
  private isClosing = false;

  constructor(
    private readonly containers: ContainersService,
    private readonly programs: KeptPrograms,
    private readonly engine: ContainerEngine,
    private readonly connections: OpenConnections,
    private readonly presence: ProcessPresence,
    private readonly signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    // One writer at a terminal: the last client to become it. Without Redis, each server process may have its own.
    this.stopListening = signals.on('terminal_written', ({ terminalId, holder }) => {
      if (holder !== presence.holder) this.sessions.get(terminalId)?.yieldWriter();
    });
  }

  /** The terminals go on. Their clients are disconnected, and can come back to any process. */
  async onModuleDestroy(): Promise<void> {
    this.isClosing = true;
    this.stopListening();
    for (const timer of this.idle.values()) clearTimeout(timer);
    const sessions = [...this.sessions.values()];
    for (const session of sessions) session.release('server_stopped');
    await within(Promise.all(sessions.map(({ ended }) => ended)), { ms: SHUTDOWN_MS }).catch(() => undefined);
  }

  /**
   * Starts a shell, or another program. It ends after a while if no client attaches to it.
   *
   * @param id the container's id, in any form
   * @throws DomainError as {@link ContainersService.inside} does, `too_many_terminals`, `terminal_failed`
   */
  async open(caller: Caller, id: string, program: TerminalProgram = {}): Promise<TerminalSession> {
    return this.containers.inside(caller, id, async (container) => {
      const turn = await this.queue.enter(container.id, START_WITHIN_MS);
      if (!turn) throw new DomainError('terminal_failed');
      try {
        return await this.start(container, program);
      } catch (error) {
        throw refused(error);
      } finally {
        turn.leave();
      }
    });
  }

  /**
   * Finds an open terminal, for a client that comes back or that joins another client of the same user. A terminal that
   * has just ended is found as well: its client gets the rest of the output, and the exit code.
   *
   * @throws DomainError as {@link ContainersService.inside} does; `terminal_not_found`, `terminal_failed`
   */
  async find(caller: Caller, id: string, sessionId: string): Promise<TerminalSession> {
    return this.containers.inside(caller, id, async (container) => {
      const session = this.sessions.get(sessionId);
      if (session?.facts.containerId === container.id && session.isOpen) return session;
      const attaching = this.attaching.get(sessionId) ?? this.attach(container, sessionId);
      this.attaching.set(sessionId, attaching);
      try {
        const attached = await attaching;
        if (attached.facts.containerId !== container.id) throw new DomainError('terminal_not_found');
        return attached;
      } catch (error) {
        throw refused(error);
      } finally {
        this.attaching.delete(sessionId);
      }
    });
  }

  /**
   * Lists a container's terminals, oldest first.
   *
   * @throws DomainError as {@link ContainersService.inside} does, `terminal_failed`
   */
  async list(caller: Caller, id: string): Promise<ListedTerminal[]> {
    const list = async (container: RunningContainer): Promise<ListedTerminal[]> => {
      const open = await this.openIn(container);
      const unattended = open.filter((terminal) => this.clientsOf(terminal) === 0);
      const jobs = await this.jobsIn(container, unattended);
      return open.map((terminal) => ({
        id: terminal.id,
        startedAt: terminal.startedAt,
        clients: this.clientsOf(terminal),
        programs: jobs.get(terminal.id) ?? null,
      }));
    };
    return this.containers.inside(caller, id, list, { mayBePaused: true }).catch((error: unknown) => {
      throw failed(error);
    });
  }

  /**
   * Ends a terminal with all that it started, whichever process it was opened by.
   *
   * @throws DomainError as {@link ContainersService.inside} does, `terminal_not_found`, `terminal_failed`
   */
  async end(caller: Caller, id: string, sessionId: string): Promise<void> {
    await this.containers.inside(caller, id, async (container) => {
      const session = this.sessions.get(sessionId);
      if (session?.facts.containerId === container.id && session.isOpen) return session.end('ended');
      try {
        const terminal = (await this.openIn(container)).find((each) => each.id === sessionId);
        if (!terminal) throw new DomainError('terminal_not_found');
        // Other processes that have a session of it see the shell end.
        await this.hangUp(terminal);
        this.programs.forget(terminal);
      } catch (error) {
        throw failed(error);
      }
    });
  }

  /**
   * Ends a container's terminals that no client is attached to, with all that runs in them. Those with clients are left
   * to the processes that have their sessions.
   *
   * @returns how many those are
   * @throws EngineError as `EnginePrograms.list` and `EnginePrograms.end`
   */
  async endUnattended(container: Pick<RunningContainer, 'id' | 'userId' | 'engineId'>): Promise<number> {
    const open = (await this.programs.list(container, 'terminal')).filter(({ state }) => state.exit === null);
    const unattended = open.filter(({ state }) => state.readers === 0);
    await Promise.all(
      unattended.map(async (terminal) => {
        await this.hangUp(terminal);
        this.over(terminal);
      }),
    );
    return open.length - unattended.length;
  }

  /** Ends a terminal that its only client has left for good; not if this process ends, and the client is cut off. */
  leave(session: TerminalSession): void {
    if (session.clients === 0 && !this.isClosing) void session.end('detached');
  }

  /** @throws EngineError; DomainError `too_many_terminals` */
  private async start(
    container: RunningContainer,
    { command = LOGIN_SHELL, env, cwd, user }: TerminalProgram,
  ): Promise<TerminalSession> {
    noteProgram(command);
    if ((await this.openIn(container)).length >= MAX_TERMINALS) {
      throw new DomainError('too_many_terminals', { fields: { limit: MAX_TERMINALS } });
    }
    const { kept, program } = await this.programs.start(container, {
      kind: 'terminal',
      command,
      cwd,
      user,
      env: { ...ENV, BERTH_NAME: container.name, ...env },
      terminal: SIZE,
      stdin: true,
    });
    return this.hold(kept, program);
  }

  /** Makes a session of a terminal that exists. @throws EngineError; DomainError `terminal_not_found` */
  private async attach(container: RunningContainer, id: string): Promise<TerminalSession> {
    // The former session is being released.
    await this.sessions.get(id)?.ended;
    const found = await this.programs.find(container, 'terminal', id);
    if (!found) throw new DomainError('terminal_not_found');
    const { from, to, readers } = found.state;
    const after = Math.max(from, to - RING_BYTES);
    const shell = await this.engine.programs
      .attach(container.engineId, { id, after, input: true })
      .catch((error: unknown) => {
        const isGone = error instanceof EngineError && error.code === 'program_not_found';
        throw isGone ? new DomainError('terminal_not_found') : error;
      });
    const session = this.hold(found, shell, { isHeldElsewhere: readers > 0, awaitsClient: true });
    await session.replayed;
    return session;
  }

  /** Keeps a session of a terminal as long as it has clients. */
  private hold(
    kept: KeptProgram,
    shell: ContainerProcess,
    options: ConstructorParameters<typeof TerminalSession>[3] = {},
  ): TerminalSession {
    const { id, containerId, userId, engineId, startedAt } = kept;
    let noted = 0;
    const session = new TerminalSession(
      { id, containerId, userId, engineId, startedAt },
      shell,
      {
        turns: this.turns,
        hangUp: () => this.hangUp(kept),
        explain: (seen) => this.explain(kept, seen),
        onUnattended: () =>
          // Later, as whoever has left may end it.
          void setImmediate(() => {
            if (session.clients === 0) session.release('unattended');
          }),
        onWriter: () => this.signals.publish('terminal_written', { terminalId: id, holder: this.presence.holder }),
        onUse: () => {
          const now = performance.now();
          if (now - noted < USE_NOTED_EVERY_MS) return;
          noted = now;
          this.containers
            .touchResumed({ userId, boundTo: null }, containerId)
            .catch((error: unknown) => this.note(kept, error));
        },
        onError: (error) => this.note(kept, error),
      },
      options,
    );
    this.sessions.set(id, session);
    this.watchIdle(kept);
    const remove = this.connections.add({
      execBy: userId,
      isRetried: true,
      end: () => void session.end('ended', 'exec_not_allowed'),
    });
    void session.ended.then((exit) => {
      remove();
      if (this.sessions.get(id) === session) this.sessions.delete(id);
      if (exit === null) this.watchIdle(kept);
      else this.over(kept);
    });
    return session;
  }

  /** The terminals whose shells run. Those that have ended without a client are forgotten. @throws EngineError */
  private async openIn(container: RunningContainer): Promise<FoundProgram[]> {
    const all = await this.programs.list(container, 'terminal').catch((error: unknown) => {
      // Nothing is known of a paused one.
      if (saysPaused(error)) return [];
      throw error;
    });
    const open = all.filter((terminal) => terminal.state.exit === null);
    for (const terminal of all) {
      if (terminal.state.exit !== null && this.isStale(terminal)) this.over(terminal);
    }
    // A process that has died may have left it.
    for (const terminal of open) if (terminal.state.readers === 0) this.watchIdle(terminal);
    return open;
  }

  /** Whether no client can be on its way back to a terminal that has ended. */
  private isStale({ id, state }: FoundProgram): boolean {
    const endedAt = state.exit?.endedAt ?? 0;
    return !this.sessions.has(id) && !this.attaching.has(id) && Date.now() - endedAt > ENDED_FOR_MS;
  }

  /** The number of clients here; of other processes with clients, each counts as one. */
  private clientsOf({ id, state }: FoundProgram): number {
    const session = this.sessions.get(id);
    const others = state.readers - (session ? 1 : 0);
    return (session?.clients ?? 0) + Math.max(0, others);
  }

  /** Looks after a terminal that has no client here. */
  private watchIdle(terminal: KeptProgram): void {
    if (this.isClosing || this.idle.has(terminal.id)) return;
    const timer = setTimeout(() => {
      this.idle.delete(terminal.id);
      this.endIdle(terminal).catch((error: unknown) => {
        this.note(terminal, error);
        this.watchIdle(terminal);
      });
    }, DETACHED_MS).unref();
    this.idle.set(terminal.id, timer);
  }

  /** Ends a terminal that nobody is attached to, unless something runs in it. @throws EngineError */
  private async endIdle(terminal: KeptProgram): Promise<void> {
    const session = this.sessions.get(terminal.id);
    if (session && session.clients > 0) return;
    const { containerId, userId, engineId } = terminal;
    const found = await this.programs
      .find({ id: containerId, userId, engineId }, 'terminal', terminal.id)
      .catch((error: unknown) => {
        if (saysNotRunning(error)) return null;
        throw error;
      });
    if (!found) return;
    // Another process looks after it.
    if (found.state.readers > (session ? 1 : 0)) return;
    const isShell = SHELL.test(terminal.command[0] ?? '');
    const { programs } = this.engine;
    const hasJobs = !isShell || (await programs.descendants(engineId, { id: terminal.id })).length > 0;
    const isAttached = (this.sessions.get(terminal.id)?.clients ?? 0) > 0;
    if (isAttached) return;
    if (hasJobs && found.state.exit === null) this.watchIdle(terminal);
    else if (session?.isOpen === true) await session.end('detached');
    else {
      await this.hangUp(terminal);
      this.over(terminal);
    }
  }

  /** A terminal has ended. */
  private over(terminal: KeptProgram): void {
    clearTimeout(this.idle.get(terminal.id));
    this.idle.delete(terminal.id);
    this.programs.forget(terminal);
  }

  private async hangUp(terminal: KeptProgram): Promise<void> {
    await this.programs.end(terminal, { signal: 'HUP', graceMs: HANGUP_GRACE_MS });
  }

  /** What runs in these terminals; none if it cannot be found out, as in a paused container. */
  private async jobsIn({ id, engineId }: RunningContainer, terminals: readonly FoundProgram[]): Promise<Jobs> {
    if (terminals.length === 0) return new Map();
    const ids = terminals.map((terminal) => terminal.id);
    const of = [engineId, ...ids].join(' ');
    const last = this.looks.get(id);
    if (last?.of === of && performance.now() - last.at < JOBS_SEEN_FOR_MS) return last.jobs;
    const look = async (): Promise<Jobs> => {
      const namesOf = (program: string) => this.engine.programs.descendants(engineId, { id: program });
      return new Map(await Promise.all(ids.map(async (program) => [program, await namesOf(program)] as const)));
    };
    const jobs = look().catch((): Jobs => new Map());
    this.looks.set(id, { at: performance.now(), of, jobs });
    return jobs;
  }

  /**
   * Finds the reason of a shell's end in its container's row. The row shows the end of the container a moment later:
   * when the operation on the container is done, or when Docker's own event was seen.
   */
  private async explain(
    { containerId, userId, engineId }: KeptProgram,
    seen: 'exited' | 'container_stopped' | 'lost',
  ): Promise<Pick<TerminalExit, 'reason' | 'detail'>> {
    const began = performance.now();
    for (;;) {
      const row = await this.containers.find({ userId, boundTo: null }, containerId).catch((error: unknown) => {
        if (error instanceof DomainError && error.kind === 'container_not_found') return null;
        throw error;
      });
      if (row === null) return { reason: 'container_deleted' };
      if (row.engineId !== engineId) return { reason: 'container_recreated' };
      if (!isUp(row.status)) {
        return { reason: 'container_stopped', ...(row.statusReason !== null && { detail: row.statusReason }) };
      }
      const waited = performance.now() - began;
      // The engine reports `exited` only once the container would have been seen to end.
      const isSeen = seen === 'exited' || waited > SEEN_WITHIN_MS;
      // If the reason is `container_stopped` here, the container runs again by now.
      if ((row.operation === null && isSeen) || waited > EXPLAINED_WITHIN_MS) return { reason: seen };
      await delay(EXPLAIN_EVERY_MS, undefined, { ref: false });
    }
  }

  private note({ id, containerId }: KeptProgram, error: unknown): void {
    this.logger.warn({ err: error, container_id: containerId, terminal: id }, 'a terminal could not be served');
  }
}

/** The engine's codes that `terminal_failed` may have; `docker_error` stands for all others. */
const FAILED_CODES: readonly string[] = ['docker_unavailable', 'node_unavailable', 'command_not_started', 'too_many'];

/**
 * Translates an error into the one that clients see. `ContainersService.inside` translates errors about a container
 * that does not run.
 */
function failed(error: unknown): unknown {
  const isUnknown = error instanceof EngineError && !FAILED_CODES.includes(error.code);
  const answer = failedAs('terminal_failed', error);
  if (!isUnknown || !(answer instanceof DomainError) || answer.kind !== 'terminal_failed') return answer;
  return new DomainError('terminal_failed', { code: 'docker_error', cause: error });
}

/** Like {@link failed}, for a terminal that is opened or entered. */
function refused(error: unknown): unknown {
  const isFull = error instanceof EngineError && error.code === 'too_many';
  if (!isFull) return failed(error);
  return new DomainError('too_many_terminals', { fields: { limit: MAX_TERMINALS }, cause: error });
}
