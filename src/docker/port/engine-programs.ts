import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from './container-process';

/** The programs in containers, besides the containers' main processes. */
export interface EnginePrograms {
  /**
   * Runs a command in a running container and waits for its end. After a timeout or too much output, the command is
   * ended by its marker; one is chosen if the request has none. After an abort or a broken connection, the command may
   * still run in the container.
   *
   * @throws EngineError `container_not_found`, `container_not_running` (also if the container's end kills the
   *   command), `container_paused`, `container_not_responding`, `command_not_started`, `timed_out`,
   *   `output_too_large`, `output_endless`, `aborted`
   */
  run(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }>;
  /**
   * Starts a program in a running container, and returns once it has started, or at once with `startUnawaited`.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`,
   *   `container_not_responding`, `command_not_started`
   */
  start(dockerId: string, request: ProcessRequest): Promise<ContainerProcess>;
  /**
   * Chooses the marker of a program that is about to be started. If the engine has opened a session in the container
   * in advance, in which such a program starts sooner, the marker is that session's, and the session is reserved for
   * the program for some seconds. The program may still be started otherwise, or not at all.
   */
  reserve(dockerId: string, program: Pick<ProcessRequest, 'command' | 'env' | 'user' | 'terminal'>): Promise<string>;
  /**
   * Lets the engine prepare for programs in a container that has just started, in the background.
   *
   * @param options.env the variables that programs will probably be started with
   * @param options.isWarm no user has the container yet: what is prepared, if there is room, stays until a later call
   * @throws EngineError `node_unavailable`
   */
  prepare(dockerId: string, options?: { env?: ProcessRequest['env']; isWarm?: boolean }): Promise<void>;
  /**
   * Undoes a preparation of a container that no user had yet, unless it has been used since.
   *
   * @throws EngineError as {@link prepare}
   */
  unprepare(dockerId: string): Promise<void>;
  /**
   * Ends programs and all their descendants: sends the signal, then SIGKILL after `graceMs`. A program that removes
   * the marker from its environment escapes, and so do all programs in an image without a shell.
   *
   * @returns `ended` if all have ended, or there were none
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`,
   *   `container_not_responding`, `command_not_started` (the image has no shell), `timed_out`, `output_too_large`
   */
  end(dockerId: string, programs: MarkedProcesses & { graceMs: number }): Promise<'ended' | 'still_running'>;
  /** Sends a signal to programs and all their descendants. @throws EngineError as {@link end} */
  signal(dockerId: string, programs: MarkedProcesses): Promise<'sent' | 'none'>;
}
