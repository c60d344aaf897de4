import type { Writable } from 'node:stream';

/** Exit codes of programs that SIGHUP, SIGKILL or SIGTERM ended: the signals that come with a container's end. */
const KILLED: readonly number[] = [129, 137, 143];

/** Whether a program was killed as by the end of its container. Other signals, as of Ctrl-C, leave no such doubt. */
export function wasKilled(exitCode: number): boolean {
  return KILLED.includes(exitCode);
}

export interface ExecOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Buffer;
}

/** A program to start in a container. */
export interface ProcessRequest {
  /** The program and its arguments; no shell interprets them. */
  readonly command: readonly string[];
  /** Added to the image's variables, and takes precedence over them. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Name or id; by default the image's user. */
  readonly user?: string | undefined;
  /** The working directory, absolute; by default the home directory. */
  readonly cwd?: string | undefined;
  /**
   * Gives the program a terminal instead of pipes; its size is set after the start, by
   * {@link ContainerProcess.resize}.
   */
  readonly terminal?: true | undefined;
  /** Gives the program an input; without it, the program reads end-of-file. */
  readonly stdin?: true | undefined;
  /**
   * A value such as a UUID that identifies the program and all its descendants. No other marker may equal it or begin
   * with it.
   *
   * @see EnginePrograms.end
   */
  readonly marker?: string | undefined;
  /**
   * Returns before the program has started, which saves a call. Whether it has started shows by
   * {@link ContainerProcess.hasStarted}, or at its end.
   */
  readonly startUnawaited?: true | undefined;
  /** Time limit for the start; if it is exceeded, the container does not respond. The default suits a busy machine. */
  readonly startWithinMs?: number | undefined;
  /**
   * The container's start time as last observed. If the container was started again since, the program has ended with
   * it. By default this time is read a moment after the program's start.
   */
  readonly runningSince?: string | undefined;
}

/** A command to run to its end. */
export interface ExecRequest extends Omit<ProcessRequest, 'terminal' | 'stdin' | 'startUnawaited'> {
  /** Time limit, from now to the end of the command. */
  readonly timeoutMs: number;
  /** Limit of stdout and stderr together; a command that writes more is killed. */
  readonly maxOutputBytes: number;
  readonly signal?: AbortSignal;
  /** Called with bytes as they arrive; must not throw. */
  readonly onOutput?: (output: ExecOutput) => void;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Receives a program's output as it arrives. Neither method may throw. */
export interface OutputTaker {
  take(output: ExecOutput): void;
  /** The output has ended. Called once. */
  over(): void;
}

/** Output on its way to an {@link OutputTaker}. */
export interface OutputFlow {
  /** Stops reading, so the program waits. Output that has been read already may still arrive. */
  pause(): void;
  resume(): void;
}

/** The output of a program, for one reader. */
export interface ProcessOutput extends AsyncIterable<ExecOutput> {
  /** Passes the output on without a promise for each piece. {@link flowOf} uses it, for example to read whole files. */
  flowTo?(taker: OutputTaker): OutputFlow;
}

/** Passes on the output of a program that has started, by `flowTo` or else by iteration. */
export function flowOf(output: ProcessOutput, taker: OutputTaker): OutputFlow {
  return output.flowTo?.(taker) ?? iterated(output, taker);
}

function iterated(output: AsyncIterable<ExecOutput>, taker: OutputTaker): OutputFlow {
  let paused: Promise<void> | null = null;
  let resume = (): void => undefined;
  const pause = (): void => {
    paused ??= new Promise((resolve) => {
      resume = () => {
        paused = null;
        resolve();
      };
    });
  };
  const read = async (): Promise<void> => {
    for await (const each of output) {
      taker.take(each);
      await paused;
    }
  };
  void read()
    .catch(() => undefined)
    .then(() => taker.over());
  return { pause, resume: () => resume() };
}

/** A program that was started in a container. It keeps running without an attached stream. */
export interface ContainerProcess {
  /**
   * The output in order, for one reader; a program with a terminal writes only `stdout`. A program whose output is
   * not read has to wait, so slow reading costs no memory. The output ends with the program, the container or the
   * connection, and never throws because of that. Keep reading after the program has ended: until its output is read,
   * Docker (26.1) reports the end of no other command in the container. A stop or the end of the container, and
   * {@link EnginePrograms.end}, close streams that are not read.
   */
  readonly output: ProcessOutput;
  /**
   * Waits until the program has started or failed to start; after a failure, {@link exit} throws the reason.
   *
   * @throws EngineError as {@link exit} does
   */
  hasStarted(): Promise<boolean>;
  /** Ending this stream ends the program's input. null without an input. */
  readonly stdin: Writable | null;
  /**
   * Present if `stdin` has copied a piece once its write callback is called, so that the caller may reuse the memory.
   */
  readonly isInputCopied?: true;
  /** @throws EngineError `container_not_running` */
  resize(size: TerminalSize): Promise<void>;
  /**
   * To be called after the end of `output`.
   *
   * @throws EngineError `container_not_running` if the container's end killed the program; `docker_unavailable` if
   *   the connection broke, in which case the program may go on; `command_not_started` if its start was not awaited
   *   and failed
   */
  exit(): Promise<{ exitCode: number }>;
  /**
   * Whether the program has ended, as far as the engine knows; also true if the engine has forgotten the program, or
   * the container has ended. Its descendants may still run.
   *
   * @throws EngineError if the engine does not answer
   */
  isGone(): Promise<boolean>;
  /** Closes the connection; the program keeps running. */
  close(): void;
}

/** The signals that can be sent to a program, named as in `kill -s`. */
export const SIGNALS = ['HUP', 'INT', 'QUIT', 'KILL', 'USR1', 'USR2', 'TERM', 'CONT', 'STOP', 'WINCH'] as const;
export type SignalName = (typeof SIGNALS)[number];

/** The processes that were started with a marker, and all their descendants. */
export interface MarkedProcesses {
  readonly marker: string;
  /** The user that they were started as; by default the image's user. */
  readonly user?: string | undefined;
  readonly signal: SignalName;
}
