import type { Writable } from 'node:stream';

/** The exit code of a program that a signal has ended is greater, as that of all is when their container ends. */
export const KILLED = 128;

/** A command to run in a container. */
export interface ExecRequest {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  /** Added to the container's own; takes precedence. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Names of the container's own variables that the command does not get. */
  readonly without?: readonly string[] | undefined;
  /** Name or id; the image's own if absent. */
  readonly user?: string | undefined;
  /** From now to the end of the command. */
  readonly timeoutMs: number;
  /** Within {@link timeoutMs}, how long it may take to start; else the container does not respond. */
  readonly startWithinMs?: number | undefined;
  /** Of both outputs together; a command that writes more is ended. */
  readonly maxOutputBytes: number;
  /**
   * The command that ends this one in the container after a timeout or too much output, run as the same user: the
   * engine cannot do so. A variable in the command's environment identifies its processes.
   */
  readonly end?: (Pick<ExecRequest, 'env' | 'without'> & { readonly command: readonly string[] }) | undefined;
  readonly signal?: AbortSignal;
  /** Called with bytes as they arrive; must not throw. */
  readonly onOutput?: (output: ExecOutput) => void;
}

export interface ExecOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Buffer;
}

/** A program to start in a container. */
export interface ProcessRequest {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  /** Added to the container's own; takes precedence. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Names of the container's own variables that the command does not get. */
  readonly without?: readonly string[] | undefined;
  /** Name or id; the image's own if absent. */
  readonly user?: string | undefined;
  /** Absolute; the home directory if absent. */
  readonly cwd?: string | undefined;
  /** It gets a terminal instead of pipes; its size comes after its start, by {@link ContainerProcess.resize}. */
  readonly terminal?: true | undefined;
  /** It gets an input; without one, it reads the end of a file. */
  readonly stdin?: true | undefined;
  /**
   * Identifies the program and all that it starts, such as a UUID: no other may have it, or begin with it.
   *
   * @see ContainerEngine.endProcesses
   */
  readonly marker?: string | undefined;
  /**
   * Its start is not waited for, which saves a call: whether it has started shows by
   * {@link ContainerProcess.hasStarted}, or at its end.
   */
  readonly startUnawaited?: true | undefined;
  /** How long it may take to start; else the container does not respond. By default long enough for a busy machine. */
  readonly startWithinMs?: number | undefined;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Who takes what a program writes, as it comes. Neither may throw. */
export interface OutputTaker {
  take(output: ExecOutput): void;
  /** There is no more. Called once. */
  over(): void;
}

/** Output on its way to an {@link OutputTaker}. */
export interface OutputFlow {
  /** Nothing more is read, and the program waits. What has been read already may yet come. */
  pause(): void;
  resume(): void;
}

/** What a program writes, for one reader. */
export interface ProcessOutput extends AsyncIterable<ExecOutput> {
  /** Hands it over without a promise for each piece, as {@link flowOf} does for whoever reads whole files. */
  flowTo?(taker: OutputTaker): OutputFlow;
}

/** Hands over, once a program has started, what can be iterated as well. */
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

/** A program that was started in a container. It goes on when nobody holds it any more. */
export interface ContainerProcess {
  /**
   * What it writes, in order, for one reader; all of it `stdout` if it has a terminal. What is not read makes it wait,
   * so reading slowly costs no memory. Ends with the program, with its container, and with the connection; never throws
   * because of that. Once a program has ended, read on: until then Docker (26.1) reports the end of no other command in
   * the container. A stop of the container, its end, and {@link ContainerEngine.endProcesses}, give up what is not
   * read.
   */
  readonly output: ProcessOutput;
  /** Waits until it has started, or could not be: {@link exit} says why. @throws EngineError as {@link exit} does */
  hasStarted(): Promise<boolean>;
  /** Ending it is the end of the program's input. null without one. */
  readonly stdin: Writable | null;
  /** Present if `stdin` keeps nothing of a piece once it calls back that it is written: its memory may be given up. */
  readonly isInputCopied?: true;
  /** @throws EngineError `container_not_running` */
  resize(size: TerminalSize): Promise<void>;
  /**
   * To be called after the end of `output`.
   *
   * @throws EngineError `container_not_running` if the container ended under it; `docker_unavailable` if the connection
   * broke: it may go on; `command_not_started` if its start was not waited for, and failed
   */
  exit(): Promise<{ exitCode: number }>;
  /**
   * Whether it runs no more, as the engine knows; so too where the engine has forgotten it, or its container has ended.
   * What it has started may go on.
   *
   * @throws EngineError if the engine does not answer
   */
  isGone(): Promise<boolean>;
  /** Drops the connection; the program goes on. */
  close(): void;
}

/** The signals that a program may be sent, as `kill -s` names them. */
export const SIGNALS = ['HUP', 'INT', 'QUIT', 'KILL', 'USR1', 'USR2', 'TERM', 'CONT', 'STOP', 'WINCH'] as const;
export type SignalName = (typeof SIGNALS)[number];

/** The processes that were started with a marker, and all that they started. */
export interface MarkedProcesses {
  readonly marker: string;
  /** As whom they were started; the image's own if absent. */
  readonly user?: string | undefined;
  readonly signal: SignalName;
}
