import type {
  ContainerProcess,
  ExecRequest,
  ListedProgram,
  ProcessRequest,
  ProgramAttachment,
  ProgramExit,
  ProgramSignal,
  ProgramTree,
} from './container-process';

/**
 * The programs in containers. A program is known by its id in its container's supervisor, which is the only ledger of
 * what runs: it survives every process of Berth, and ends with the container's run.
 *
 * All methods throw EngineError `container_not_found`, `container_not_running`, `container_paused`,
 * `container_not_responding`, `restart_required` (the container was created by an earlier version), `node_unavailable`
 * and `docker_unavailable`.
 */
export interface EnginePrograms {
  /**
   * Runs a command in a running container and waits for its end. After a timeout, too much output or an abort, the
   * command is ended with all its descendants.
   *
   * @throws EngineError as {@link start}; `container_not_running` also if the container's end kills the command,
   *   `timed_out`, `output_too_large`, `output_endless`, `aborted`
   */
  run(engineId: string, request: ExecRequest): Promise<ProgramExit>;
  /**
   * Starts a program in a running container, and returns once it has started.
   *
   * @throws EngineError `command_not_started`, `sandbox_full`, `too_many`, `program_exists`
   */
  start(engineId: string, request: ProcessRequest): Promise<ContainerProcess>;
  /**
   * Becomes a reader of a program that was started by any process of Berth, also of one that has ended.
   *
   * @throws EngineError `program_not_found`; `invalid_parameters` if `after` lies beyond the end of the output
   */
  attach(engineId: string, attachment: ProgramAttachment): Promise<ContainerProcess>;
  /** The programs that run, and those that have ended and are kept. */
  list(engineId: string): Promise<ListedProgram[]>;
  /** Forgets a kept program that has ended; success if there is none. @throws EngineError `program_running` */
  forget(engineId: string, id: string): Promise<void>;
  /**
   * Opens the connection to the container's supervisor in advance, in the background: the first program then starts
   * sooner.
   *
   * @throws EngineError `node_unavailable`
   */
  prepare(engineId: string): Promise<void>;
  /**
   * Ends a program and all its descendants: sends the signal, then SIGKILL after `graceMs`. A program that removes
   * `BERTH_SESSION` from its environment, and leaves its parent, escapes.
   *
   * @returns `ended` if all have ended, or there were none
   */
  end(engineId: string, program: ProgramSignal & { readonly graceMs: number }): Promise<'ended' | 'still_running'>;
  /** Sends a signal to a program and all its descendants. */
  signal(engineId: string, program: ProgramSignal): Promise<'sent' | 'none'>;
  /** @returns the names of at most 16 live descendants of a program, without the program's own */
  descendants(engineId: string, program: ProgramTree): Promise<readonly string[]>;
}
