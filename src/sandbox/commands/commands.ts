import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { noteProgram } from '../../audit';
import { type Caller, ContainersService, type RunningContainer } from '../../containers';
import { ContainerEngine, type ContainerProcess, type ExecOutput, mayGoOn } from '../../docker';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { untilAborted, within } from '../../scheduling';
import { type HeldProgramEntity, ProgramRegistry } from '../program-registry';
import { exitCodeOf, toDomainError } from '../program-end';

/** A command that a request waits for. */
export interface CommandRequest {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  /** Its input, which may be as it comes; the end of a file if absent. */
  readonly stdin?: string | Readable | undefined;
  /** From its start. */
  readonly timeoutMs: number;
  /** Of both outputs together. */
  readonly maxOutputBytes: number;
}

/** Who waits for a command. */
export interface CommandClient {
  /** Aborted when nobody waits any more: with what is thrown then. */
  readonly signal: AbortSignal;
  /** Awaited once the command has started, before any output. */
  readonly onStarted?: () => Promise<void> | void;
  /** Awaited before more is read, so that a command waits for a slow reader. */
  readonly onOutput: (output: ExecOutput) => Promise<void> | void;
}

export interface CommandEnd {
  /** null after a timeout if it could not be ended. */
  readonly exitCode: number | null;
  /** Whether output was dropped. */
  readonly truncated: boolean;
  readonly timedOut: boolean;
  readonly durationMs: number;
}

const AT_ONCE = { count: 16, error: 'too_many_commands' } as const;

/** Between SIGTERM and SIGKILL. */
const GRACE_MS = 2_000;

/** How long a shutdown waits for commands to be ended. */
const SHUTDOWN_MS = 10_000;

/** How long after Docker was asked for a command it is looked at whether it has started. */
const LOOK_AFTER_MS = 500;

/** A command must start within its own time, unless that is too short for a busy machine, or very long. */
const START_WITHIN_MS = { shortest: 5_000, longest: 40_000 } as const;

/** How long the last output of a command that was ended may take. */
const LAST_OUTPUT_MS = 2_000;

/**
 * Commands in containers that a request waits for. They do not outlive it: a timeout, a client that goes, a token that
 * ends and the end of this process end them, with all that they started.
 */
@Injectable()
export class Commands implements OnModuleDestroy {
  private readonly closing = new AbortController();
  private readonly running = new Set<Promise<unknown>>();
  /** The ends of entries that are being written. */
  private readonly leaving = new Set<Promise<void>>();

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly programs: ProgramRegistry,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * While Docker and the database are still there. What is not ended in time, as Docker does not answer, is left to the
   * next process.
   */
  async onModuleDestroy(): Promise<void> {
    this.closing.abort(new DomainError('shutting_down'));
    // What runs adds to what is being left, so that is looked at when all has run.
    const ended = Promise.allSettled(this.running).then(() => Promise.allSettled(this.leaving));
    await within(ended, { ms: SHUTDOWN_MS }).catch(() => undefined);
  }

  /**
   * Runs a command and waits for its end.
   *
   * @throws DomainError `container_not_running`, also if it ends meanwhile; `command_not_started`,
   *   `too_many_commands`, `command_failed`, `shutting_down`; the reason of the client's signal
   */
  async run(caller: Caller, id: string, request: CommandRequest, client: CommandClient): Promise<CommandEnd> {
    noteProgram(request.command);
    return this.containers.inside(caller, id, async (container) => {
      const work = this.runIn(container, request, client);
      this.running.add(work);
      try {
        return await work;
      } catch (error) {
        throw toDomainError(error);
      } finally {
        this.running.delete(work);
      }
    });
  }

  private async runIn(
    container: RunningContainer,
    request: CommandRequest,
    client: CommandClient,
  ): Promise<CommandEnd> {
    const signal = AbortSignal.any([client.signal, this.closing.signal]);
    signal.throwIfAborted();
    const { command, user } = request;
    const entry = await this.programs.enter(container, { kind: 'command', command, user, limit: AT_ONCE });
    let goesOn = false;
    try {
      return await this.runEntered(container.dockerId, entry.id, request, { ...client, signal });
    } catch (error) {
      goesOn = mayGoOn(error);
      throw error;
    } finally {
      if (goesOn) this.programs.abandon(entry);
      else this.leave(entry);
    }
  }

  /** The command has ended, so its answer does not wait for its entry's end. */
  private leave(entry: HeldProgramEntity): void {
    const leaving = this.programs.leaveSurely(entry).finally(() => this.leaving.delete(leaving));
    this.leaving.add(leaving);
  }

  private async runEntered(
    dockerId: string,
    marker: string,
    request: CommandRequest,
    client: CommandClient,
  ): Promise<CommandEnd> {
    const { command, cwd, env, user, stdin, timeoutMs } = request;
    const program = await this.engine.startProcess(dockerId, {
      command,
      marker,
      cwd,
      env,
      user,
      stdin: stdin === undefined ? undefined : true,
      startUnawaited: client.onStarted ? undefined : true,
      startWithinMs: Math.min(Math.max(timeoutMs, START_WITHIN_MS.shortest), START_WITHIN_MS.longest),
    });
    const startedAt = performance.now();
    const time = new CommandTime(program, timeoutMs);
    const over = AbortSignal.any([client.signal, time.over]);
    const reader = new OutputReader(program, request.maxOutputBytes);
    const reading = reader.read(client, over);
    let isOver = false;
    try {
      if (typeof stdin === 'object') feed(stdin, program.stdin);
      else program.stdin?.end(stdin);
      await untilAborted(reading, { signal: over, aborted: () => new Over() });
    } catch (error) {
      isOver = (await this.end(dockerId, { marker, user }, { program, reading })) === 'ended';
      client.signal.throwIfAborted();
      if (!(error instanceof Over)) throw error;
    } finally {
      time.stop();
    }
    const timedOut = over.aborted;
    const exitCode = timedOut && !isOver ? null : await this.exitCodeOf(program, { timedOut });
    return { exitCode, truncated: reader.truncated, timedOut, durationMs: Math.round(performance.now() - startedAt) };
  }

  /**
   * Ends it with all that it started, and reads what it wrote until then.
   *
   * @throws EngineError `docker_unavailable`: it may go on
   */
  private async end(
    dockerId: string,
    { marker, user }: { marker: string; user: string | undefined },
    { program, reading }: { program: ContainerProcess; reading: Promise<void> },
  ): Promise<'ended' | 'still_running'> {
    try {
      // What is about to start would not be found.
      const hasStarted = await program.hasStarted();
      const processes = { marker, user, signal: 'TERM', graceMs: GRACE_MS } as const;
      const outcome = hasStarted ? await this.engine.endProcesses(dockerId, processes) : 'ended';
      if (outcome === 'ended') await Promise.race([reading, delay(LAST_OUTPUT_MS, undefined, { ref: false })]);
      return outcome;
    } catch (error) {
      if (mayGoOn(error)) throw error;
      this.logger.warn({ err: error }, 'a command could not be ended in its container');
      return 'still_running';
    } finally {
      program.close();
      await reading.catch(() => undefined);
    }
  }

  /** @returns null after a timeout if Docker does not tell; it had a connection of its own up to then */
  private async exitCodeOf(program: ContainerProcess, { timedOut }: { timedOut: boolean }): Promise<number | null> {
    if (!timedOut) return exitCodeOf(program);
    try {
      return (await program.exit()).exitCode;
    } catch (error) {
      if (mayGoOn(error)) return null;
      throw error;
    }
  }
}

/**
 * The time that a command has, from its start. A command that ends soon is not looked at for that: it is taken to have
 * started at once, or this long before Docker says that it has.
 */
class CommandTime {
  private readonly ended = new AbortController();
  private timer: NodeJS.Timeout;
  private isStopped = false;

  constructor(program: ContainerProcess, timeoutMs: number) {
    const lookAfterMs = Math.min(LOOK_AFTER_MS, timeoutMs / 10);
    const look = async (): Promise<void> => {
      const isAnswered = await program.hasStarted().then(
        () => true,
        () => false,
      );
      // Where Docker does not say so there is nothing to wait for: the end of the command finds out why.
      const leftMs = isAnswered ? timeoutMs - lookAfterMs : 0;
      if (!this.isStopped) this.timer = setTimeout(() => this.ended.abort(), leftMs).unref();
    };
    this.timer = setTimeout(() => void look(), lookAfterMs).unref();
  }

  /** Aborted once it is over. */
  get over(): AbortSignal {
    return this.ended.signal;
  }

  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }
}

/** Passes an input on as fast as the command reads it. What it has not read when it ends is dropped. */
function feed(input: Readable, stdin: Writable | null): void {
  if (!stdin || stdin.destroyed) {
    input.destroy();
    return;
  }
  stdin.once('close', () => input.destroy());
  // The client is gone, whose signal ends the command: that is not the end of its input, which it may act upon.
  input.once('error', () => undefined);
  input.pipe(stdin);
}

/** A command's time is over, or nobody waits for it. */
class Over extends Error {}

/** Reads an output to its end, whoever wants it. */
class OutputReader {
  truncated = false;

  constructor(
    private readonly program: ContainerProcess,
    private left: number,
  ) {}

  /** @param over aborted when nobody must be waited for any more; what is read then is dropped */
  async read({ onStarted, onOutput }: CommandClient, over: AbortSignal): Promise<void> {
    const told = async (work: Promise<void> | void): Promise<void> => {
      if (work instanceof Promise)
        await untilAborted(work, { signal: over, aborted: () => new Over() }).catch(ignoreOver);
    };
    await told(onStarted?.());
    for await (const { stream, data } of this.program.output) {
      const part = data.subarray(0, this.left);
      this.left -= part.length;
      if (part.length < data.length) this.truncated = true;
      if (part.length > 0) await told(onOutput({ stream, data: part }));
    }
  }
}

function ignoreOver(error: unknown): void {
  if (!(error instanceof Over)) throw error;
}
