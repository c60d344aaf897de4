import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { noteProgram } from '../../audit';
import { type Caller, ContainersService } from '../../containers';
import {
  ContainerEngine,
  type ContainerProcess,
  EngineError,
  saysNotRunning,
  type SignalName,
  type TerminalSize,
} from '../../engine';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock, Poll, retryUntilClosed, Stopwatch } from '../../scheduling';
import { type FoundProgram, KeptPrograms } from '../programs/kept-programs';
import { failedAs, toDomainError } from '../access/inside-errors';
import { type ProcessEnd, type ProcessRow, ProcessRows } from './process-rows';
import { ProcessWatch } from './process-watch';

/** A process to start. */
interface ProcessStart {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  /** Whether it gets a terminal, or the size of that. */
  readonly terminal: boolean | TerminalSize;
  /** Whether it has an input; without one, it reads end-of-file. By default it has. A terminal always is an input. */
  readonly stdin?: boolean;
  /** After this long, at most a week, it is killed with its descendants. */
  readonly timeoutMs?: number | undefined;
  /** A name that the caller gives it, by which its list finds it; at most 128 bytes. */
  readonly tag?: string | undefined;
}

/** A process, with what its sandbox tells of it: null if the sandbox does not run, or does not know it. */
export interface FoundProcess {
  readonly row: ProcessRow;
  readonly found: FoundProgram | null;
}

const AT_ONCE = { count: 16, error: 'process_limit_reached' } as const;

/** The size of a process's terminal, which nobody looks at. */
const SIZE = { columns: 80, rows: 24 } as const;

/** Maximum input that waits for a process that does not read, in bytes; more is refused. */
const UNREAD_INPUT_BYTES = 256 * 1024;

const CHECK_EVERY_MS = 1_000;

/** A program without a row is about to get one, unless its server process has died. */
const BEGUN_WITHIN_MS = 60_000;

/** How long the end of a start command may take to be written. */
const SETTLED_WITHIN_MS = 2_000;
const SETTLED_LOOK_MS = 50;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Called with the row of a start command whose server process has died. */
type StartHandler = (row: ProcessRow) => void;

/**
 * Processes in containers that outlive the requests that start them, and the server. Their sandboxes keep them and
 * their output, so each server process reaches all of them. One of them waits for the end of each; when it dies,
 * another takes over.
 */
@Injectable()
export class BackgroundProcesses implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly poll: Poll;
  private onStart: StartHandler = () => undefined;

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly programs: KeptPrograms,
    private readonly rows: ProcessRows,
    private readonly watch: ProcessWatch,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => this.takeOver(),
      onFault: (error) => this.logger.warn({ err: error }, 'processes could not be taken over; tried again'),
    });
  }

  /** Docker has been prepared by the time of this hook. */
  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }

  get isClosing(): boolean {
    return this.watch.isClosing;
  }

  /** Start commands are processes too; `StartCommands` takes over those. */
  onTakenStart(handler: StartHandler): void {
    this.onStart = handler;
  }

  /** @throws DomainError `container_not_running`, `command_not_started`, `process_limit_reached`, `command_failed` */
  async start(caller: Caller, id: string, request: ProcessStart): Promise<FoundProcess> {
    const { command, cwd, env, user, terminal, stdin = true, timeoutMs, tag } = request;
    noteProgram(command);
    return this.containers.inside(caller, id, async (container) => {
      const { id: containerId, engineId } = container;
      await this.rows.assertRoom({ kind: 'process', containerId, engineId }, AT_ONCE);
      const { kept, program } = await this.programs
        .start(container, {
          kind: 'process',
          command,
          stdin: stdin ? true : undefined,
          cwd,
          env,
          user,
          terminal: terminal === true ? SIZE : terminal || undefined,
          timeoutMs,
          tag,
        })
        .catch((error: unknown) => {
          throw toDomainError(error);
        });
      try {
        const row = await this.rows.begin({ ...kept, kind: 'process' }, AT_ONCE);
        void this.follow(row, program);
        return { row, found: { ...kept, state: stateOf(program, request) } };
      } catch (error) {
        program.close();
        await this.programs.discard(kept);
        throw error;
      }
    });
  }

  /** The processes that run, and those that ended lately; oldest first. */
  async list(caller: Caller, id: string): Promise<FoundProcess[]> {
    const container = await this.containers.findToUse(caller, id);
    const [rows, programs] = await Promise.all([this.rows.listOf(container.id), this.programsOf(container)]);
    const byId = new Map(programs.map((program) => [program.id, program]));
    const found = await Promise.all(rows.map((row) => this.seen({ row, found: byId.get(row.id) ?? null })));
    const known = new Set(rows.map((row) => row.id));
    void this.discardUnknown(programs.filter((program) => !known.has(program.id)));
    return found;
  }

  /** @throws DomainError `process_not_found` */
  async find(caller: Caller, id: string, processId: string): Promise<FoundProcess> {
    const container = await this.containers.findToUse(caller, id);
    const row = UUID.test(processId) ? await this.rows.find(container.id, processId) : null;
    if (!row) throw new DomainError('process_not_found');
    const programs = await this.programsOf(container);
    return this.seen({ row, found: programs.find((program) => program.id === row.id) ?? null });
  }

  /**
   * Becomes a reader of what a process writes, from an offset on; at its end, if that is less.
   *
   * @returns null if its sandbox has ended, and its output with it
   * @throws DomainError `container_not_running`, `command_failed`
   */
  async read({ row, found }: FoundProcess, after: number): Promise<ContainerProcess | null> {
    if (!found) {
      if (row.endedAt !== null) return null;
      throw new DomainError('container_not_running');
    }
    const attachment = { id: row.id, after: Math.min(after, found.state.to), watch: true } as const;
    return this.engine.programs.attach(row.engineId, attachment).catch((error: unknown) => {
      const isGone = error instanceof EngineError && error.code === 'program_not_found';
      if (isGone || (saysNotRunning(error) && row.endedAt !== null)) return null;
      throw saysNotRunning(error) ? new DomainError('container_not_running', { cause: error }) : toDomainError(error);
    });
  }

  /** Writes the end of a process that this server process has seen. @returns the row as it is then */
  async noteEnd(row: ProcessRow, end: ProcessEnd): Promise<ProcessRow> {
    // Of a start command also the next one is decided: by the process that runs it.
    if (row.kind === 'process') return (await this.rows.finish(row, end)) ?? row;
    return { ...row, ...end, endedAt: this.clock.now() };
  }

  /** @throws DomainError as {@link ContainersService.resumed}; `process_ended`, `stdin_closed`, `stdin_full` */
  async write(
    caller: Caller,
    id: string,
    { processId, data, close }: { processId: string; data: Buffer; close: boolean },
  ): Promise<void> {
    const { row } = await this.findToUse(caller, id, processId);
    if (row.endedAt !== null) throw new DomainError('process_ended');
    const { stdin } = await this.watch.inputOf(row).catch((error: unknown) => {
      const isGone = error instanceof EngineError && error.code === 'program_not_found';
      throw isGone || saysNotRunning(error) ? new DomainError('process_ended') : toDomainError(error);
    });
    if (stdin === null || stdin.writableEnded || stdin.destroyed) throw new DomainError('stdin_closed');
    if (stdin.writableLength + data.length > UNREAD_INPUT_BYTES) throw new DomainError('stdin_full');
    if (data.length > 0) stdin.write(data);
    if (close) stdin.end();
  }

  /**
   * Changes the size of a process's terminal.
   *
   * @throws DomainError as {@link ContainersService.resumed}; `process_not_found`, `process_ended`, `command_failed`
   */
  async resize(caller: Caller, id: string, processId: string, size: TerminalSize): Promise<void> {
    const { row } = await this.findToUse(caller, id, processId);
    if (row.endedAt !== null) throw new DomainError('process_ended');
    await this.watch
      .inputOf(row)
      .then((reader) => reader.resize(size))
      .catch((error: unknown) => {
        const isGone = error instanceof EngineError && error.code === 'program_not_found';
        throw isGone || saysNotRunning(error) ? new DomainError('process_ended') : toDomainError(error);
      });
  }

  /**
   * Sends a signal to a process and all that it started.
   *
   * @throws DomainError as {@link ContainersService.resumed}; `process_not_found`, `process_ended`, `command_failed`
   */
  async signal(caller: Caller, id: string, processId: string, signal: SignalName): Promise<void> {
    const { row } = await this.findToUse(caller, id, processId);
    if (row.endedAt !== null) throw new DomainError('process_ended');
    const program = { id: row.id, user: row.runAs ?? undefined, signal };
    const sent = await this.engine.programs.signal(row.engineId, program).catch((error: unknown) => {
      if (saysNotRunning(error)) return 'none' as const;
      throw toDomainError(error);
    });
    if (sent === 'none') throw new DomainError('process_ended');
  }

  /**
   * Ends a process with all that it started, or forgets one that has ended.
   *
   * @throws DomainError as {@link ContainersService.resumed}; `process_not_found`, `command_failed`
   */
  async end(caller: Caller, id: string, processId: string): Promise<void> {
    const { row } = await this.findToUse(caller, id, processId);
    if (row.endedAt !== null) {
      await this.rows.delete(row);
      this.programs.forget(row);
      return;
    }
    const ended = await this.watch.end(row).catch((error: unknown) => {
      throw toDomainError(error);
    });
    if (ended !== 'ended') throw new DomainError('command_failed', { code: 'process_not_ended' });
    if (row.kind === 'start') return this.untilSettled(row);
    // So that the client sees it ended. The exit code is the program's own, if the sandbox tells it.
    const exit = await this.exitOf(row);
    await this.noteEnd(row, { reason: 'exited', exitCode: exit });
  }

  /** Ends a process that nobody wants any more, and reports its end. */
  async endUnwanted(row: ProcessRow): Promise<void> {
    const retrier = {
      isClosed: () => this.isClosing,
      failed: (error: unknown) => this.logger.warn({ err: error }, 'a process could not be ended yet'),
    };
    const ending = retryUntilClosed(retrier, async () => {
      if ((await this.watch.end(row)) !== 'ended') throw new Error('it is still running');
    });
    const end = await this.watch.untilEnd(row);
    await ending;
    if (end) await this.watch.report(row, end, { isTold: row.isAnnounced });
  }

  /** Finds a process to act upon. If it has not ended, its container is resumed first. */
  private async findToUse(caller: Caller, id: string, processId: string): Promise<FoundProcess> {
    const found = await this.find(caller, id, processId);
    if (found.row.endedAt !== null) return found;
    await this.containers.resumed(caller, id);
    return found;
  }

  /** Waits a moment for the process that runs a start command to have written its end. */
  private async untilSettled({ containerId, id }: ProcessRow): Promise<void> {
    const since = new Stopwatch();
    while (since.age < SETTLED_WITHIN_MS) {
      const row = await this.rows.find(containerId, id);
      if (row?.endedAt !== null) return;
      await delay(SETTLED_LOOK_MS);
    }
  }

  private async exitOf({ engineId, id }: ProcessRow): Promise<number | null> {
    const programs = await this.engine.programs.list(engineId).catch(() => []);
    return programs.find((each) => each.id === id)?.exit?.exitCode ?? null;
  }

  /** Reports the end of a process that its sandbox tells, and that is not reported yet. */
  private async seen({ row, found }: FoundProcess): Promise<FoundProcess> {
    const exit = found?.state.exit ?? null;
    if (row.endedAt !== null || exit === null) return { row, found };
    const end = { reason: row.isEnding ? 'ended' : 'exited', exitCode: exit.exitCode } as const;
    const noted = await this.noteEnd(row, end).catch((error: unknown) => {
      // The process that waits for the end tries again until it is written.
      this.logger.debug({ err: error, process: row.id }, 'the end of a process could not be written');
      return { ...row, ...end, endedAt: this.clock.now() };
    });
    return { row: noted, found };
  }

  /** @returns none if the container does not run */
  private async programsOf(container: {
    readonly id: string;
    readonly userId: string;
    readonly engineId: string | null;
  }): Promise<FoundProgram[]> {
    const { id, userId, engineId } = container;
    if (engineId === null) return [];
    try {
      return await this.programs.list({ id, userId, engineId }, 'process', 'start');
    } catch (error) {
      if (error instanceof EngineError) {
        if (saysNotRunning(error) || error.code === 'container_paused') return [];
        throw failedAs('command_failed', error);
      }
      throw error;
    }
  }

  /**
   * Ends programs without rows: their starts were never confirmed, because the server process died in between, or
   * their rows were deleted, and with them all reason to keep them.
   */
  private async discardUnknown(programs: readonly FoundProgram[]): Promise<void> {
    const before = this.clock.now().getTime() - BEGUN_WITHIN_MS;
    const unknown = programs.filter(({ startedAt, state }) => state.exit !== null || startedAt.getTime() < before);
    await Promise.all(unknown.map((program) => this.programs.discard(program)));
  }

  private async takeOver(): Promise<void> {
    for (const row of await this.rows.takeOver()) {
      if (row.kind === 'start') this.onStart(row);
      else void this.follow(row, null);
    }
  }

  private async follow(row: ProcessRow, program: ContainerProcess | null): Promise<void> {
    try {
      const end = await this.watch.untilEnd(row, program);
      if (end) await this.watch.report(row, end);
    } catch (error) {
      this.logger.error({ err: error, container_id: row.containerId }, 'a process could not be followed');
    }
  }
}

/** Of a program that has just started. */
function stateOf(
  program: ContainerProcess,
  { command: [name = ''], terminal }: Pick<ProcessStart, 'command' | 'terminal'>,
): FoundProgram['state'] {
  const hasTerminal = terminal !== false;
  const { id, pid, startedAt } = program;
  const none = { owner: '', program: name, isKept: true, hasTerminal, from: 0, to: 0, readers: 1, exit: null };
  return { id, pid, startedAt, ...none };
}
