/** What went wrong at the engine, in words that say what a caller can do about it. */
export type EngineErrorCode =
  /** Not reachable, or it did not answer in time: what was asked for may have happened or not. */
  | 'docker_unavailable'
  /** It is not the one that the container was made on; what is missing in it proves nothing. */
  | 'docker_changed'
  /** It answered, with an error that nothing here expects. */
  | 'docker_error'
  | 'container_not_found'
  | 'container_paused'
  /** It is there, and what was asked needs it to run. */
  | 'container_not_running'
  /** It is there, and can never be started again: half removed, or its writable layer is of no use any more. */
  | 'container_broken'
  | 'name_in_use'
  | 'image_not_found'
  /** The registry refuses the credentials, or wants some. Registries that hide what is private say that it is not found. */
  | 'image_access_denied'
  /** The registry does not answer, or has no answer now. */
  | 'image_unavailable'
  /** The image cannot run the sandbox's main process, or the runtime refused it. */
  | 'start_refused'
  /** A command's program, user or working directory is not there, or cannot be run. */
  | 'command_not_started'
  /** A command in a container took longer than it was given; it may go on there. */
  | 'timed_out'
  /** A command in a container wrote more than it may, and was cut off. */
  | 'output_too_large'
  /** The same, and it could not be ended: it goes on until its container ends. */
  | 'output_endless'
  /** The volume that data was to be copied to is full. */
  | 'data_too_large'
  /** The data could not be copied, or the copy is not what its source is. */
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
