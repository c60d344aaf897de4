import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { noteProgram } from '../../audit';
import { type Caller, ContainersService, isUp, type RunningContainer } from '../../containers';
import {
  ContainerEngine,
  type ContainerProcess,
  EngineError,
  LOGIN_SHELL,
  mayGoOn,
  saysNotRunning,
  saysPaused,
} from '../../docker';
import { DomainError, pausedMeanwhile } from '../../errors';
import { LOGGER, type Logger } from '../../logging';
import { LruMap, within } from '../../scheduling';
import { ProgramRegistry, type HeldProgramEntity } from '../program-registry';
import { ExecAccess } from '../exec-access';
import type { TerminalExit } from './attachment';
import { OutputTurns } from './output-turns';
import { TerminalSession } from './terminal-session';

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

/** How long a shutdown waits for the end of all terminals. */
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

/** One terminal of a container, held by any process. */
interface ListedTerminal {
  readonly id: string;
  readonly startedAt: Date;
  /** The number of attached clients; null if another process holds the terminal. */
  readonly clients: number | null;
  /** The names of what runs in it beside its shell; null if a client is attached, or it is not known. */
  readonly programs: readonly string[] | null;
}

type Jobs = ReadonlyMap<string, readonly string[]>;

/** The terminals that this process holds. Those of other processes are known by their rows in the program registry. */
@Injectable()
export class Terminals implements OnModuleDestroy {
  private readonly sessions = new Map<string, TerminalSession>();
  private readonly turns = new OutputTurns();
  /** By container: the last look for {@link jobsIn}. */
  private readonly looks = new LruMap<{ readonly at: number; readonly of: string; readonly jobs: Promise<Jobs> }>(
    MOST_LOOKS,
  );

  constructor(
    private readonly containers: ContainersService,
    private readonly held: ProgramRegistry,
    private readonly engine: ContainerEngine,
    private readonly rights: ExecAccess,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Ends all terminals of this process: no other process can take over their streams. */
  async onModuleDestroy(): Promise<void> {
    const ending = Promise.all([...this.sessions.values()].map((session) => session.end('server_stopped')));
    await within(ending, { ms: SHUTDOWN_MS }).catch(() => undefined);
  }

  /**
   * Starts a shell, or another program. The session ends if no client attaches to it.
   *
   * @param id the container's id, in any form
   * @throws DomainError as {@link ContainersService.inside} does, `too_many_terminals`, `terminal_failed`
   */
  async open(caller: Caller, id: string, program: TerminalProgram = {}): Promise<TerminalSession> {
    return this.containers.inside(caller, id, (container) => this.start(container, program));
  }

  /**
   * Finds an open terminal, for a client that comes back or that joins another client of the same user.
   *
   * @throws DomainError as {@link ContainersService.inside} does; `terminal_not_found`; `held_elsewhere` if another
   *   process holds the terminal, since only that process can attach a client
   */
  async find(caller: Caller, id: string, sessionId: string): Promise<TerminalSession> {
    return this.containers.inside(caller, id, async (container) => {
      const session = this.sessions.get(sessionId);
      if (session?.facts.containerId === container.id) return session;
      const entry = await this.entryOf(container.id, sessionId);
      // This process's terminal is just ending, or the process that held it is dead.
      if (this.held.isOwn(entry) || (await this.held.isOrphaned(entry))) throw new DomainError('terminal_not_found');
      throw new DomainError('held_elsewhere');
    });
  }

  /**
   * Lists a container's terminals in all processes, oldest first.
   *
   * @throws DomainError as {@link ContainersService.inside} does
   */
  async list(caller: Caller, id: string): Promise<ListedTerminal[]> {
    const clientsOf = (entry: HeldProgramEntity): number | null => this.sessions.get(entry.id)?.clients ?? null;
    const list = async (container: RunningContainer): Promise<ListedTerminal[]> => {
      const entries = await this.held.listOf(container.id, 'terminal');
      const left = entries.filter((entry) => (clientsOf(entry) ?? 0) === 0);
      const jobs = await this.jobsIn(container, left);
      return entries.map((entry) => ({
        id: entry.id,
        startedAt: entry.startedAt,
        clients: clientsOf(entry),
        programs: jobs.get(entry.id) ?? null,
      }));
    };
    return this.containers.inside(caller, id, list, { mayBePaused: true });
  }

  /** What runs in these terminals; none if it cannot be found out, as in a paused container. */
  private async jobsIn({ id, dockerId }: RunningContainer, entries: readonly HeldProgramEntity[]): Promise<Jobs> {
    if (entries.length === 0) return new Map();
    const ids = entries.map((entry) => entry.id);
    const of = [dockerId, ...ids].join(' ');
    const last = this.looks.get(id);
    if (last?.of === of && performance.now() - last.at < JOBS_SEEN_FOR_MS) return last.jobs;
    const look = async (): Promise<Jobs> => {
      const namesOf = (program: string) => this.engine.programs.descendants(dockerId, { id: program });
      return new Map(await Promise.all(ids.map(async (program) => [program, await namesOf(program)] as const)));
    };
    const jobs = look().catch((): Jobs => new Map());
    this.looks.set(id, { at: performance.now(), of, jobs });
    return jobs;
  }

  /**
   * Ends a terminal with all that it started, even if another process holds it.
   *
   * @throws DomainError as {@link ContainersService.inside} does, `terminal_not_found`, `terminal_failed`
   */
  async end(caller: Caller, id: string, sessionId: string): Promise<void> {
    await this.containers.inside(caller, id, async (container) => {
      const session = this.sessions.get(sessionId);
      if (session?.facts.containerId === container.id) return session.end('ended');
      const entry = await this.entryOf(container.id, sessionId);
      // If another process holds the terminal, that process sees the shell end.
      const end = this.held.isAbandoned(entry) ? this.held.endAbandoned(entry) : this.hangUp(entry);
      return end.catch((error: unknown) => {
        throw failed(error);
      });
    });
  }

  private async start(
    container: RunningContainer,
    { command = LOGIN_SHELL, env, cwd, user }: TerminalProgram,
  ): Promise<TerminalSession> {
    noteProgram(command);
    const limit = { count: MAX_TERMINALS, error: 'too_many_terminals' } as const;
    const { entry, program: shell } = await this.held
      .start(container, {
        kind: 'terminal',
        limit,
        command,
        cwd,
        user,
        env: { ...ENV, BERTH_NAME: container.name, ...env },
        terminal: SIZE,
        stdin: true,
      })
      .catch((error: unknown) => {
        throw failed(error);
      });
    const session = this.sessionOf(entry, shell, command);
    this.sessions.set(session.id, session);
    const unwatch = this.rights.watchTier(entry.userId, () => void session.end('ended', 'exec_not_allowed'));
    void session.ended.then(({ reason }) => {
      unwatch();
      this.sessions.delete(session.id);
      // After `lost` the shell may still be running.
      if (reason === 'lost') this.held.abandon(entry);
      else this.held.release(entry);
    });
    return session;
  }

  private sessionOf(
    entry: HeldProgramEntity,
    shell: ContainerProcess,
    [program = '']: readonly string[],
  ): TerminalSession {
    const { id, containerId, userId, dockerId, startedAt } = entry;
    let noted = 0;
    return new TerminalSession({ id, containerId, userId, dockerId, startedAt }, shell, {
      turns: this.turns,
      hangUp: () =>
        this.hangUp(entry).catch((error: unknown) => {
          if (mayGoOn(error)) this.held.abandon(entry);
          throw error;
        }),
      explain: (seen) => this.explain(entry, seen),
      hasJobs: async () => !SHELL.test(program) || this.hasJobs(entry),
      onUse: () => {
        const now = performance.now();
        if (now - noted < USE_NOTED_EVERY_MS) return;
        noted = now;
        this.containers.touchResumed({ userId }, containerId).catch((error: unknown) => this.note(entry, error));
      },
      onError: (error) => this.note(entry, error),
    });
  }

  private async hangUp({ id, dockerId }: Pick<HeldProgramEntity, 'id' | 'dockerId'>): Promise<void> {
    await this.engine.programs.end(dockerId, { id, signal: 'HUP', graceMs: HANGUP_GRACE_MS });
  }

  /** @throws EngineError if it cannot be found out now */
  private async hasJobs({ id, dockerId }: HeldProgramEntity): Promise<boolean> {
    return (await this.engine.programs.descendants(dockerId, { id })).length > 0;
  }

  /**
   * Finds the reason of a shell's end in its container's row. The row shows the end of the container a moment later:
   * when the operation on the container is done, or when Docker's own event was seen.
   */
  private async explain(
    { containerId, userId, dockerId }: HeldProgramEntity,
    seen: 'exited' | 'container_stopped' | 'lost',
  ): Promise<Pick<TerminalExit, 'reason' | 'detail'>> {
    const began = performance.now();
    for (;;) {
      const row = await this.containers.find({ userId }, containerId).catch((error: unknown) => {
        if (error instanceof DomainError && error.kind === 'container_not_found') return null;
        throw error;
      });
      if (row === null) return { reason: 'container_deleted' };
      if (row.dockerId !== dockerId) return { reason: 'container_recreated' };
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

  private async entryOf(containerId: string, sessionId: string): Promise<HeldProgramEntity> {
    const entry = await this.held.find(containerId, sessionId);
    if (entry?.kind !== 'terminal') throw new DomainError('terminal_not_found');
    return entry;
  }

  private note({ id, containerId }: HeldProgramEntity, error: unknown): void {
    this.logger.warn({ err: error, container_id: containerId, terminal: id }, 'a terminal could not be served');
  }
}

/**
 * Translates an error into the one that clients see. `ContainersService.inside` translates errors about a container
 * that does not run.
 */
function failed(error: unknown): unknown {
  if (!(error instanceof EngineError) || saysNotRunning(error)) return error;
  if (saysPaused(error)) return pausedMeanwhile(error);
  const { code } = error;
  if (code === 'container_not_responding' || code === 'sandbox_full' || code === 'restart_required') {
    return new DomainError(code, { cause: error });
  }
  const known = code === 'docker_unavailable' || code === 'node_unavailable' || code === 'command_not_started';
  return new DomainError('terminal_failed', { code: known ? code : 'docker_error', cause: error });
}
