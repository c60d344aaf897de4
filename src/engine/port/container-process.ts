import type { Writable } from 'node:stream';

/** Exit codes of programs that SIGHUP, SIGKILL or SIGTERM ended: the signals that come with a container's end. */
const KILLED: readonly number[] = [129, 137, 143];

/** Whether a program was killed as by the end of its container. Other signals, as of Ctrl-C, leave no such doubt. */
export function wasKilled(exitCode: number): boolean {
  return KILLED.includes(exitCode);
}

/** A piece of a program's output. */
export interface ExecOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Buffer;
  /**
   * The number of bytes of output, of both streams together, before these. If it exceeds the end of the piece before,
   * the bytes between are lost. Absent if the engine does not know it.
   */
  readonly offset?: number;
  /** When the program wrote it, in milliseconds since 1970, by the sandbox's clock. Absent if that is not known. */
  readonly time?: number;
}

/** A program to start in a container. */
export interface ProcessRequest {
  /**
   * Identifies the program and all its descendants: 1 to 64 characters of `A-Za-z0-9_-`, unlike the ids of all other
   * programs in the container. By default a new UUID.
   */
  readonly id?: string | undefined;
  /** The program and its arguments; no shell interprets them. */
  readonly command: readonly string[];
  /** Added to the image's variables, and takes precedence over them. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Name or id; by default the image's user. */
  readonly user?: string | undefined;
  /** The working directory, absolute; by default the home directory. */
  readonly cwd?: string | undefined;
  /** Gives the program a terminal of this size instead of pipes. */
  readonly terminal?: TerminalSize | undefined;
  /** Gives the program an input; without it, the program reads end-of-file. A terminal always has an input. */
  readonly stdin?: true | undefined;
  /**
   * The program outlives its readers, and its result stays until {@link EnginePrograms.forget}. Other programs end when
   * they have had no reader for 10 seconds.
   */
  readonly kept?: true | undefined;
  /** For {@link EnginePrograms.list}: any text of at most 1,024 bytes. */
  readonly owner?: string | undefined;
  /** Bytes of output that the engine keeps for later readers, 16,384 to 1,048,576. */
  readonly ring?: number | undefined;
  /**
   * The program and its descendants are killed if it still runs after this long, at most a week, whether it has readers
   * or not. A sandbox that an earlier version of Berth started does not do so.
   */
  readonly timeoutMs?: number | undefined;
}

/** A command to run to its end. */
export interface ExecRequest extends Omit<ProcessRequest, 'terminal' | 'stdin' | 'kept' | 'ring' | 'timeoutMs'> {
  /** Time limit, from now to the end of the command. */
  readonly timeoutMs: number;
  /** Between SIGTERM and SIGKILL of a command that exceeds a limit; by default 5 s. */
  readonly graceMs?: number;
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

/** How a program ended. */
export interface ProgramExit {
  /** Of a program that a signal ended: 128 and the signal's number. */
  readonly exitCode: number;
  /** The number of the signal that ended the program. */
  readonly signal?: number;
  /** The bytes of output in all; absent if the engine does not know. */
  readonly bytes?: number;
  /** In milliseconds since 1970, by the sandbox's clock; absent if the engine does not know. */
  readonly endedAt?: number;
}

/**
 * A program in a container, and one reader of its output: the one that started it, or one that attached to it. It keeps
 * running for 10 seconds without a reader, or for ever if it is kept.
 */
export interface ContainerProcess {
  readonly id: string;
  /** In the sandbox. */
  readonly pid: number;
  /** In milliseconds since 1970, by the sandbox's clock. */
  readonly startedAt: number;
  /** The offset of the first byte of {@link output}. It is greater than the one asked for if bytes are lost. */
  readonly from: number;
  /** The offset that the output had reached when this reader came. */
  readonly to: number;
  /**
   * The output in order, for one reader; a program with a terminal writes only `stdout`. A program that is not kept, or
   * has a terminal, waits for a reader that is slow. The output ends with the program, the container or the connection,
   * and never throws because of that.
   */
  readonly output: AsyncIterable<ExecOutput>;
  /** Ending this stream ends the program's input. null without an input. */
  readonly stdin: Writable | null;
  /** @throws EngineError `container_not_running`, `program_not_found` */
  resize(size: TerminalSize): Promise<void>;
  /**
   * Waits for the program's end, and until its output was passed on.
   *
   * @throws EngineError `container_not_running` if the program ended with its container; `docker_unavailable`,
   *   `node_unavailable` or `container_not_responding` if the connection broke, in which case the program may go on and
   *   can be attached to; `aborted` after {@link close}
   */
  exit(): Promise<ProgramExit>;
  /** Stops reading. A program that is not kept ends if no other reader comes within 10 seconds. */
  close(): void;
}

/** A reader that comes to a program. */
export interface ProgramAttachment {
  readonly id: string;
  /** The offset to read from; by default 0, the beginning. */
  readonly after?: number | undefined;
  /** Gives the reader the program's input. */
  readonly input?: true | undefined;
  /** The program does not wait for this reader, which loses bytes if it is slow. */
  readonly watch?: true | undefined;
}

/** A program that the container's supervisor knows. */
export interface ListedProgram {
  readonly id: string;
  readonly owner: string;
  /** The program without its arguments. */
  readonly program: string;
  readonly pid: number;
  /** In milliseconds since 1970, by the sandbox's clock. */
  readonly startedAt: number;
  readonly isKept: boolean;
  readonly hasTerminal: boolean;
  /** The offsets of the first byte that is kept, and of the end of the output. */
  readonly from: number;
  readonly to: number;
  readonly readers: number;
  /** null if it runs. */
  readonly exit: ProgramExit | null;
}

/** The signals that can be sent to a program, named as in `kill -s`. */
export const SIGNALS = ['HUP', 'INT', 'QUIT', 'KILL', 'USR1', 'USR2', 'TERM', 'CONT', 'STOP', 'WINCH'] as const;
export type SignalName = (typeof SIGNALS)[number];

/** A program with all its descendants, also if the program itself has ended. */
export interface ProgramTree {
  readonly id: string;
  /** The user that it was started as; by default the image's user. */
  readonly user?: string | undefined;
}

/** A signal for a program and all its descendants. */
export interface ProgramSignal extends ProgramTree {
  readonly signal: SignalName;
}
