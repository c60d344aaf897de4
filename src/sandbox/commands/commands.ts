import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { noteProgram } from '../../audit';
import { type Caller, type ContainerEntry, ContainersService } from '../../containers';
import {
  ContainerEngine,
  type ContainerProcess,
  EngineError,
  type ExecOutput,
  mayGoOn,
  type SignalName,
} from '../../engine';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { KeyedLimiter, untilAborted, within } from '../../scheduling';
import { toDomainError } from '../access/inside-errors';

/** A command whose end a request waits for. */
export interface CommandRequest {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  /** The command's input, whole or as a stream. Without one, the command reads the end of a file. */
  readonly stdin?: string | Readable | undefined;
  /** Counted from the command's start. */
  readonly timeoutMs: number;
  /** The limit of both outputs together. */
  readonly maxOutputBytes: number;
}

/** The client that waits for a command. */
export interface CommandClient {
  /** Aborted when the client disconnects; the reason is the error to throw. */
  readonly signal: AbortSignal;
  /** Called as the command starts, with a function that sends a signal to the command and all that it started. */
  readonly onSignals?: (send: (signal: SignalName) => Promise<void>) => void;
  /** Awaited once the command has started, before any output. */
  readonly onStarted?: () => Promise<void> | void;
  /** Awaited before more output is read, so that the command waits for a slow reader. */
  readonly onOutput: (output: ExecOutput) => Promise<void> | void;
}

export interface CommandEnd {
  /** null after a timeout if the command could not be ended, or Docker does not tell the exit code. */
  readonly exitCode: number | null;
  /** Whether output was dropped. */
  readonly truncated: boolean;
  readonly timedOut: boolean;
  readonly durationMs: number;
}

/** Concurrent commands of a container in this process. */
const AT_ONCE = 16;

/** Between SIGTERM and SIGKILL. */
const GRACE_MS = 2_000;

/** How long the start of a command may take beyond the time that the command has: see {@link whenStarted}. */
const START_MS = 8_000;

/** How long a sandbox may take to end a command, beyond {@link GRACE_MS}: one that is full or busy takes longer. */
const ENDED_WITHIN_MS = 8_000;

/** How long a shutdown waits for the end of all commands. */
const SHUTDOWN_MS = 10_000;

/** How long to wait for the last output of an ended command. */
const LAST_OUTPUT_MS = 2_000;

/**
 * Commands in containers whose end a request waits for. They do not outlive the request: a timeout, a client that
 * disconnects, a token that ends, and the shutdown of this process end a command with all that it started.
 */
@Injectable()
export class Commands implements OnModuleDestroy {
  private readonly closing = new AbortController();
  private readonly running = new Set<Promise<unknown>>();
  private readonly limiter = new KeyedLimiter(AT_ONCE);

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Runs while Docker is still available. Commands that cannot be ended in time are ended by their sandboxes, since no
   * process reads them any more.
   */
  async onModuleDestroy(): Promise<void> {
    this.closing.abort(new DomainError('shutting_down'));
    await within(Promise.allSettled(this.running), { ms: SHUTDOWN_MS }).catch(() => undefined);
  }

  /**
   * Runs a command and waits for its end.
   *
   * @throws DomainError `container_not_running`, also if the container stops meanwhile; `command_not_started`,
   *   `too_many_commands`, `command_failed`, `shutting_down`; the reason of the client's signal
   */
  async run(caller: Caller, id: string, request: CommandRequest, client: CommandClient): Promise<CommandEnd> {
    noteProgram(request.command);
    const entry = await this.containers.enter(caller, id);
    const running = this.runIn(entry, request, client);
    this.running.add(running);
    try {
      return await running;
    } catch (error) {
      throw toDomainError(error);
    } finally {
      this.running.delete(running);
      await entry.leave();
    }
  }

  private async runIn(entry: ContainerEntry, request: CommandRequest, client: CommandClient): Promise<CommandEnd> {
    const signal = AbortSignal.any([client.signal, this.closing.signal]);
    signal.throwIfAborted();
    const release = this.limiter.take(entry.container.id);
    if (!release) throw new DomainError('too_many_commands', { fields: { limit: AT_ONCE } });
    try {
      const { command, cwd, env, user, timeoutMs } = request;
      const stdin = request.stdin === undefined ? undefined : true;
      const program = await entry.run(({ engineId, environment }) => {
        const starting = this.engine.programs.start(engineId, { command, cwd, env: environment(env), user, stdin });
        return whenStarted(starting, { signal, ms: timeoutMs + START_MS });
      });
      const started = { engineId: entry.container.engineId, program: { id: program.id, user } };
      client.onSignals?.(async (name) => {
        await this.engine.programs.signal(started.engineId, { ...started.program, signal: name });
      });
      return await this.untilEnd(started, program, request, { ...client, signal });
    } finally {
      release();
    }
  }

  private async untilEnd(
    started: Started,
    program: ContainerProcess,
    { stdin, timeoutMs, maxOutputBytes }: CommandRequest,
    client: CommandClient,
  ): Promise<CommandEnd> {
    const startedAt = performance.now();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeoutMs).unref();
    const over = AbortSignal.any([client.signal, late.signal]);
    const reader = new OutputReader(program, maxOutputBytes);
    const reading = reader.read(client, over);
    let isOver = false;
    try {
      if (typeof stdin === 'object') feed(stdin, program.stdin);
      else program.stdin?.end(stdin);
      await untilAborted(reading, { signal: over, aborted: () => new Over() });
    } catch (error) {
      isOver = (await this.end(started, program, reading)) === 'ended';
      client.signal.throwIfAborted();
      if (!(error instanceof Over)) throw error;
    } finally {
      clearTimeout(timer);
    }
    const timedOut = over.aborted;
    const exitCode = timedOut && !isOver ? null : await this.exitCodeOf(program, { timedOut });
    return { exitCode, truncated: reader.truncated, timedOut, durationMs: Math.round(performance.now() - startedAt) };
  }

  /**
   * Kills the command with all that it started, and reads its output up to then.
   *
   * @throws EngineError `docker_unavailable`, `node_unavailable`, `container_not_responding`: the command may still be
   *   running
   */
  private async end(
    started: Started,
    program: ContainerProcess,
    reading: Promise<void>,
  ): Promise<'ended' | 'still_running'> {
    try {
      const end = { ...started.program, signal: 'TERM', graceMs: GRACE_MS } as const;
      const ending = this.engine.programs.end(started.engineId, end);
      const outcome = await within(ending, { ms: GRACE_MS + ENDED_WITHIN_MS });
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

  /** @returns null after a timeout if Docker does not answer */
  private async exitCodeOf(program: ContainerProcess, { timedOut }: { timedOut: boolean }): Promise<number | null> {
    try {
      return (await program.exit()).exitCode;
    } catch (error) {
      const isUnknown = mayGoOn(error) || (error instanceof EngineError && error.code === 'aborted');
      if (timedOut && isUnknown) return null;
      throw error;
    }
  }
}

/** Where a command runs, and as what. */
interface Started {
  readonly engineId: string;
  readonly program: { readonly id: string; readonly user: string | undefined };
}

/**
 * Waits for the start of a command. Without a reader, its sandbox ends one that starts later.
 *
 * @throws EngineError `container_not_responding` after `ms`; the reason of the client's signal
 */
async function whenStarted(
  starting: Promise<ContainerProcess>,
  { signal, ms }: { signal: AbortSignal; ms: number },
): Promise<ContainerProcess> {
  const late = (): Error =>
    new EngineError('container_not_responding', `a command did not start within ${String(ms)} ms`);
  const started = untilAborted(starting, { signal });
  try {
    return await within(started, { ms, late });
  } catch (error) {
    void starting.then((program) => program.close()).catch(() => undefined);
    throw error;
  }
}

/** Passes the input on as fast as the command reads it. The caller drops what the command has not read. */
function feed(input: Readable, stdin: Writable | null): void {
  if (!stdin || stdin.destroyed) return;
  // The client is gone, and its signal ends the command. stdin is not ended, because the command might act upon the
  // end of a partial input.
  input.once('error', () => undefined);
  input.pipe(stdin);
}

/** The command's time is over, or its client is gone. */
class Over extends Error {}

/** Reads an output to its end, even after its client is gone. */
class OutputReader {
  truncated = false;

  constructor(
    private readonly program: ContainerProcess,
    private left: number,
  ) {}

  /** @param over aborted when the client is not to be waited for any more; output read after that is dropped */
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
