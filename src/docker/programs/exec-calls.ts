/** The calls of Docker's exec API, and their answers. */
import type Docker from 'dockerode';
import { Duplex, Readable } from 'node:stream';
import { abortable } from '../connection/client';
import type { ExecOutput, ProcessRequest } from '../port/container-process';
import { EngineError } from '../engine-error';
import { MARKER } from './process-marker';
import { TERMINAL_MARKER } from '../containers/supervisor';

/** One Docker call, bounded in time, with errors in the port's terms. */
export type ExecCall = <T>(run: (signal: AbortSignal) => Promise<T>) => Promise<T>;

export interface ExecState {
  readonly Running: boolean;
  readonly ExitCode: number | null;
  /** 0 for a command that never started, and for a moment at the start of any. */
  readonly Pid: number;
}

/** Docker's exit codes (26.1) for a command that could not be started. */
const REFUSED_CODES: readonly number[] = [126, 127, 128];

/** Whether the command was started. Docker may know the exit code of one that ends at once before its PID. */
export function hasBegun({ Running, ExitCode, Pid }: ExecState): boolean {
  return Pid > 0 || (!Running && ExitCode !== null && !REFUSED_CODES.includes(ExitCode));
}

/** True also for a command that failed to start. */
export function hasEnded({ Running, ExitCode }: ExecState): boolean {
  return !Running && ExitCode !== null;
}

/**
 * The body is separate (`_body`): dockerode would otherwise copy it, with the secrets in `Env`, to wherever else it
 * writes the options.
 */
export function execCreateOptions(
  request: ProcessRequest,
  { signal, created = {} }: { signal: AbortSignal; created?: Readonly<Record<string, string | null>> | undefined },
): Docker.ExecCreateOptions {
  // The container's own `MARKER` holds the script of its main process.
  const env: Record<string, string | null> = { ...created, ...request.env, [MARKER]: null };
  if (request.marker !== undefined) env[MARKER] = request.marker;
  if (request.terminal === true) env[TERMINAL_MARKER] = '1';
  // A name without a value removes the container's variable.
  const variables = Object.entries(env).map(([name, value]) => (value === null ? name : `${name}=${value}`));
  const body = {
    Cmd: request.command,
    AttachStdin: request.stdin === true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: request.terminal === true,
    Env: variables,
    // Omitted from the request if undefined.
    User: request.user,
    WorkingDir: request.cwd,
  };
  return abortable(signal, { _body: body });
}

/** @throws EngineError `docker_error` if Docker returns no stream; Docker's refusal */
export async function startHijacked(exec: Docker.Exec, request: ProcessRequest, signal: AbortSignal): Promise<Duplex> {
  const body = { Detach: false, Tty: request.terminal === true };
  const options = { hijack: true, stdin: request.stdin === true, _body: body };
  const stream: unknown = await exec.start(abortable(signal, options));
  if (stream instanceof Duplex) return stream;
  if (stream instanceof Readable) stream.destroy();
  throw new EngineError('docker_error', 'Docker gave no stream');
}

/**
 * Messages of runc and gVisor (20240729) about a program, its file or its working directory, as Docker 26.1 passes
 * them on.
 */
const NOT_RUNNABLE =
  /executable file not found|error finding executable|no such file or directory|is a directory|not a directory|permission denied|exec format error|unable to find user/i;
/** Messages of gVisor (20240729) and runc about a sandbox whose processes or memory are used up. */
const FULL = /(in sandbox|exec|fork)[^\n]*: (try again|resource temporarily unavailable|cannot allocate memory)(:|$)/i;
/** Messages of runc and gVisor about a container that is just ending. */
const ENDING = /stopped|not running|connection refused|connection reset|broken pipe|setns|no such (container|process)/i;

/** gVisor's words on a command's stderr, and its client's exit code, when the sandbox dies under the command. */
const SANDBOX_LOST = {
  words: /(?:^|\n)(waiting on pid \d+: [^\n]*urpc method [^\n]* failed: [^\n]*\n?)$/,
  longest: 1024,
  exitCode: 128,
} as const;

/** @returns the length of gVisor's words at the end of the output, or 0. A program may write the same words. */
export function lostWordsLength({ stream, data }: ExecOutput): number {
  if (stream === 'stdout') return 0;
  return SANDBOX_LOST.words.exec(data.subarray(-SANDBOX_LOST.longest).toString('latin1'))?.[1]?.length ?? 0;
}

/** Whether a command ended with this exit code because its sandbox died, if {@link lostWordsLength} found the words. */
export function isSandboxLost(exitCode: number | null): boolean {
  return exitCode === SANDBOX_LOST.exitCode;
}

/**
 * The runtime's own words for a failure whose reason it does not know. gVisor (20240729) polls whether a command has
 * written its PID, and then whether it has ended. A command that does both between the two looks like one that did not
 * start, although it ran. So does one that takes more than ten seconds to start, and may start later.
 */
const NO_REASON = /did not terminate succ?essfully/i;
/** containerd's words where the runtime has logged nothing about the container. */
const NO_LOG = /unable to retrieve OCI runtime error/i;
/** gVisor's words before the command's program and arguments. */
const FAILED_PROGRAM = /executing command "([^"]*)/;

/**
 * @param words Docker's message in place of the output of a command that did not start
 * @returns `container_not_responding` if the message does not say why, as the command may have run, or may still start
 */
export function refusedWith(words: string, command: readonly string[]): EngineError {
  const message = `exec: ${words}`;
  if (isAboutAnother(words, command) || NO_LOG.test(words)) {
    return new EngineError('container_not_responding', message);
  }
  if (FULL.test(words)) return new EngineError('sandbox_full', message);
  if (NOT_RUNNABLE.test(words)) return new EngineError('command_not_started', message);
  if (ENDING.test(words)) return new EngineError('container_not_running', message);
  return new EngineError(NO_REASON.test(words) ? 'container_not_responding' : 'docker_error', message);
}

/**
 * Whether the message is about an earlier command of the container. containerd passes on the last error that gVisor has
 * logged for the container, also if gVisor has logged none for this command.
 */
function isAboutAnother(words: string, [program = '']: readonly string[]): boolean {
  const failed = FAILED_PROGRAM.exec(words)?.[1];
  // gVisor quotes unusual characters, so that such names cannot be compared.
  if (failed === undefined || !/^[\w./+-]+$/.test(program)) return false;
  return failed !== program && !failed.startsWith(`${program} `);
}
