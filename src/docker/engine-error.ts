/** Engine errors, by what a caller can do about them. */
export type EngineErrorCode =
  /** Unreachable, or no answer in time: the call may have taken effect or not. */
  | 'docker_unavailable'
  /** The same of one machine of several: the others go on. */
  | 'node_unavailable'
  /** Not the engine that the container was created on; what is missing in it proves nothing. */
  | 'docker_changed'
  /** An error answer that no code here expects. */
  | 'docker_error'
  /** Docker answers, and what runs in the container's sandbox does not: the call may have taken effect or not. */
  | 'container_not_responding'
  | 'container_not_found'
  | 'container_paused'
  /** It exists, but the call requires it to run. */
  | 'container_not_running'
  /**
   * It exists, but can never be started again: half removed, its writable layer is unusable, or the runtime holds on to
   * what a failed start left.
   */
  | 'container_broken'
  | 'name_in_use'
  /** The engine has no room for another container, such as no network. */
  | 'no_capacity'
  | 'image_not_found'
  /** It is not there, and is never pulled. */
  | 'image_not_built'
  /**
   * The registry refuses the credentials, or requires some. Registries that hide private images report them as not
   * found.
   */
  | 'image_access_denied'
  /** The registry does not answer, or not at the moment. */
  | 'image_unavailable'
  /** The image cannot run the sandbox's main process, or the runtime refused it. */
  | 'start_refused'
  /** A command's program, user or working directory does not exist, or cannot be used. */
  | 'command_not_started'
  /** A command in a container exceeded its time limit; it may continue there. */
  | 'timed_out'
  /** A command in a container exceeded its output limit, and was ended. */
  | 'output_too_large'
  /** The same, and it could not be ended: it continues until its container ends. */
  | 'output_endless'
  /** The target volume of a copy is full. */
  | 'data_too_large'
  /** The data could not be copied, or the copy differs from its source. */
  | 'copy_failed'
  | 'aborted';

/** The only error that a `ContainerEngine` throws. `message` may hold the engine's own words: log it, never send it. */
export class EngineError extends Error {
  override readonly name = 'EngineError';

  constructor(
    readonly code: EngineErrorCode,
    message: string,
    options: { cause?: unknown } = {},
  ) {
    super(message, options);
  }
}

/** @param reference of an image that is never pulled */
export function imageNotBuilt(reference: string): EngineError {
  const message = `there is no image ${reference}, and it is never pulled: npm run images builds Berth's own`;
  return new EngineError('image_not_built', message);
}

/** @param node its name or id */
export function nodeUnavailable(node: string, cause?: unknown): EngineError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new EngineError('node_unavailable', `the node ${node} does not answer${why}`, { cause });
}

/** Whether an error says of a container that it does not run, whatever its row says. */
export function saysNotRunning(error: unknown): boolean {
  return error instanceof EngineError && NOT_RUNNING.includes(error.code);
}

/** Whether an error says that Docker did not answer: what it was asked for may have been done, or go on. */
export function saysUnavailable(error: unknown): boolean {
  return error instanceof EngineError && UNAVAILABLE.includes(error.code);
}

/** Whether Docker said that the disk of its data is full. */
export function saysDiskFull(error: unknown): boolean {
  return error instanceof EngineError && /no space left on device/i.test(error.message);
}

/** Whether what was asked for may have been done, or go on, though an error says otherwise. */
export function mayGoOn(error: unknown): boolean {
  return saysUnavailable(error) || (error instanceof EngineError && error.code === 'container_not_responding');
}

const UNAVAILABLE: readonly EngineErrorCode[] = ['docker_unavailable', 'node_unavailable'];

const NOT_RUNNING: readonly EngineErrorCode[] = ['container_not_found', 'container_not_running', 'container_paused'];
