/** Engine errors, by what a caller can do about them. */
export type EngineErrorCode =
  /** The engine is unreachable, or did not answer in time: the call may or may not have taken effect. */
  | 'docker_unavailable'
  /** Like `docker_unavailable`, for one node of a cluster: the others go on. */
  | 'node_unavailable'
  /** This is not the engine that the container was created on; a missing object proves nothing. */
  | 'docker_changed'
  /** An error response that no code here covers. */
  | 'docker_error'
  /** The engine answers but the container's sandbox does not: the call may or may not have taken effect. */
  | 'container_not_responding'
  | 'container_not_found'
  | 'container_paused'
  /** The container exists, but the call requires it to run. */
  | 'container_not_running'
  /**
   * The container exists but can never be started again: it is partly removed, its writable layer is unusable, or the
   * runtime still holds the remains of a failed start.
   */
  | 'container_broken'
  | 'name_in_use'
  /** The engine has no room for another container, for example no free network. */
  | 'no_capacity'
  | 'image_not_found'
  /** The image is missing, and is never pulled. */
  | 'image_not_built'
  /**
   * The registry refuses the credentials, or requires some. Registries that hide private images report them as not
   * found.
   */
  | 'image_access_denied'
  /** The registry does not answer, or refuses for now. */
  | 'image_unavailable'
  /** The image cannot run the sandbox's main process, or the runtime refused it. */
  | 'start_refused'
  /** A command's program, user or working directory does not exist, or cannot be used. */
  | 'command_not_started'
  /** The sandbox has no room for another process; nothing was started. */
  | 'sandbox_full'
  /** A command in a container exceeded its time limit; it may still run there. */
  | 'timed_out'
  /** A command in a container exceeded its output limit, and was killed. */
  | 'output_too_large'
  /** A command exceeded its output limit and could not be killed: it runs until its container ends. */
  | 'output_endless'
  /** The target volume of a copy is full. */
  | 'data_too_large'
  /** The data could not be copied, or the copy differs from its source. */
  | 'copy_failed'
  | 'aborted'
  /**
   * The container was created by an earlier version of Berth, or its supervisor speaks an earlier protocol: its next
   * start makes it current.
   */
  | 'restart_required'
  /** The sandbox's supervisor knows no program of this id. */
  | 'program_not_found'
  /** The sandbox's supervisor has a program of this id already. */
  | 'program_exists'
  | 'program_running'
  /** A bound inside the sandbox is reached; the same call may succeed later. */
  | 'too_many'
  /** Nothing listens on the port of the container. */
  | 'port_closed'
  | FileErrorCode;

/** Errors about files in a container. */
export const FILE_ERRORS = [
  'path_not_found',
  /** The image's user may not do this there. */
  'path_denied',
  'path_exists',
  'path_is_directory',
  'path_not_directory',
  /** Neither a file nor a directory. */
  'path_not_file',
  /** The container cannot lose what is at the path. */
  'path_protected',
  'directory_not_empty',
  /** A name in the path is too long for the file system. */
  'invalid_parameters',
  /** The file is not, or no longer, in the state in which it may be changed. */
  'precondition_failed',
  'no_space',
  /** The sandbox's supervisor could not do it, or did not answer in time. */
  'tools_failed',
] as const;
export type FileErrorCode = (typeof FILE_ERRORS)[number];

/**
 * The only error that a `ContainerEngine` throws, besides the `ConfigError` of `prepare()`. `message` may contain the
 * engine's own words: log it, never send it.
 */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  /** Whether the disk with the engine's data is full. */
  readonly isDiskFull: boolean;

  constructor(
    readonly code: EngineErrorCode,
    message: string,
    { isDiskFull = false, ...options }: { cause?: unknown; isDiskFull?: boolean } = {},
  ) {
    super(message, options);
    this.isDiskFull = isDiskFull;
  }
}

/** @param reference of an image that is never pulled */
export function imageNotBuilt(reference: string): EngineError {
  const message = `there is no image ${reference}, and it is never pulled: npm run images builds Berth's own`;
  return new EngineError('image_not_built', message);
}

/** @param node the node's name or id */
export function nodeUnavailable(node: string, cause?: unknown): EngineError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new EngineError('node_unavailable', `the node ${node} does not answer${why}`, { cause });
}

/** Whether an error means that the container is paused: nothing was started, and what runs in it goes on later. */
export function saysPaused(error: unknown): boolean {
  return error instanceof EngineError && error.code === 'container_paused';
}

/** Whether an error means that the container does not run, even if its row says otherwise. */
export function saysNotRunning(error: unknown): boolean {
  return error instanceof EngineError && NOT_RUNNING.includes(error.code);
}

export function isFileError(error: unknown): error is EngineError & { readonly code: FileErrorCode } {
  return error instanceof EngineError && (FILE_ERRORS as readonly string[]).includes(error.code);
}

/** Whether an error means that the engine did not answer: the call may have taken effect, or may still run. */
export function saysUnavailable(error: unknown): boolean {
  return error instanceof EngineError && UNAVAILABLE.includes(error.code);
}

/** Whether the call may have taken effect, or may still run, despite the error. */
export function mayGoOn(error: unknown): boolean {
  return saysUnavailable(error) || (error instanceof EngineError && error.code === 'container_not_responding');
}

const UNAVAILABLE: readonly EngineErrorCode[] = ['docker_unavailable', 'node_unavailable'];

const NOT_RUNNING: readonly EngineErrorCode[] = ['container_not_found', 'container_not_running'];
