/** What went wrong at the engine, in words that say what a caller can do about it. */
export type EngineErrorCode =
  /** Not reachable, or it did not answer in time: what was asked for may have happened or not. */
  | 'docker_unavailable'
  /** It answered, with an error that nothing here expects. */
  | 'docker_error'
  | 'container_not_found'
  | 'container_paused'
  /** It is there, and can never be started again: half removed, or its writable layer is of no use any more. */
  | 'container_broken'
  | 'name_in_use'
  | 'image_not_found'
  | 'image_unavailable'
  /** The image cannot run the sandbox's main process, or the runtime refused it. */
  | 'start_refused'
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
