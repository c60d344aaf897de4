import type Docker from 'dockerode';
import { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, saysUnavailable } from '../../engine';
import { containerOf } from './container-verbs';
import { abortable } from './client';
import type { DockerDaemon } from './daemon';

/** A program of Berth's own in a container. */
interface ExecSpec {
  readonly command: readonly string[];
  /** With a group: Docker then looks for no further groups. */
  readonly user: string;
  readonly cwd?: string;
}

/** What Docker knows of a program. */
interface ExecState {
  /** False if it could not be started; Docker's message is then in the place of its output. */
  readonly hasStarted: boolean;
  /** null if it runs, or Docker does not know it any more. */
  readonly exitCode: number | null;
}

/** Docker closes the stream a moment before the exit code is known, above all under load. */
const EXIT_CODE_WITHIN_MS = 10_000;
/** The interval between looks is an eighth of the time waited so far, within these limits. */
const LOOK_EVERY_MS = { min: 3, max: 50 } as const;
/** How long Docker may take to answer a ping if it does not answer about a program. */
const PING_MS = 2_000;

/**
 * A program that Docker's exec API runs with a hijacked connection: its stdin, and its multiplexed output. Docker
 * cannot kill the program; the end of the connection ends its stdin.
 */
export class DockerExec {
  private constructor(
    private readonly daemon: DockerDaemon,
    private readonly exec: Docker.Exec,
    readonly stream: Duplex,
  ) {}

  /**
   * Opens the connection, without waiting for the program to start.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, `docker_unavailable`;
   *   `container_not_responding` if only Docker's calls about this container get no answer
   */
  static async open(daemon: DockerDaemon, engineId: string, { command, user, cwd }: ExecSpec): Promise<DockerExec> {
    // The client for streams: the call occupies its socket while the program runs.
    const container = containerOf(daemon.clients.streams, engineId);
    const body = {
      Cmd: command,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: false,
      User: user,
      // Omitted from the request if undefined.
      WorkingDir: cwd,
    };
    try {
      const exec = await daemon.call('exec', (signal) => container.exec(abortable(signal, { _body: body })));
      const stream = await daemon.call('exec', async (signal) => {
        const options = { hijack: true, stdin: true, _body: { Detach: false, Tty: false } };
        const answer: unknown = await exec.start(abortable(signal, options));
        if (answer instanceof Duplex) return answer;
        if (answer instanceof Readable) answer.destroy();
        throw new EngineError('docker_error', 'Docker gave no stream');
      });
      return new DockerExec(daemon, exec, stream);
    } catch (error) {
      if (!saysUnavailable(error) || (await daemon.look(PING_MS).catch(() => null)) === null) throw error;
      throw new EngineError('container_not_responding', 'Docker answers, but not about the container', {
        cause: error,
      });
    }
  }

  /** Waits until Docker knows how the program ended whose stream has ended, for at most 10 s. @throws EngineError */
  async ended(): Promise<ExecState> {
    const began = performance.now();
    for (;;) {
      const { Running, ExitCode, Pid } = await this.daemon.call('exec', (signal) =>
        this.exec.inspect(abortable(signal, {})),
      );
      const waited = performance.now() - began;
      if ((!Running && ExitCode !== null) || waited > EXIT_CODE_WITHIN_MS) {
        return { hasStarted: Pid > 0, exitCode: Running ? null : ExitCode };
      }
      await delay(Math.min(Math.max(waited / 8, LOOK_EVERY_MS.min), LOOK_EVERY_MS.max));
    }
  }

  close(): void {
    this.stream.destroy();
  }
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
/** containerd's words where the runtime has logged nothing about the container. */
const NO_LOG = /unable to retrieve OCI runtime error/i;

/** @param words Docker's message in place of the output of a program that did not start */
export function refusedWith(words: string): EngineError {
  const message = `exec: ${words.trim()}`;
  if (NO_LOG.test(words)) return new EngineError('container_not_responding', message);
  if (FULL.test(words)) return new EngineError('sandbox_full', message);
  if (NOT_RUNNABLE.test(words)) return new EngineError('command_not_started', message);
  if (ENDING.test(words)) return new EngineError('container_not_running', message);
  return new EngineError('container_not_responding', message);
}
