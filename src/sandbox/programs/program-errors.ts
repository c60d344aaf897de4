import { EngineError, saysNotRunning, saysPaused } from '../../engine';
import { DomainError, type ErrorCode, pausedMeanwhile } from '../../errors';

/**
 * Translates an engine error into the error that clients see. Errors about a container that does not run are returned
 * unchanged: `ContainersService.inside` translates them.
 *
 * @param failed the error's kind; the engine's code goes beside it
 */
export function failedAs(failed: ErrorCode, error: unknown): unknown {
  if (!(error instanceof EngineError) || saysNotRunning(error)) return error;
  if (saysPaused(error)) return pausedMeanwhile(error);
  const { code } = error;
  if (code === 'container_not_responding' || code === 'sandbox_full' || code === 'restart_required') {
    return new DomainError(code, { cause: error });
  }
  return new DomainError(failed, { code, cause: error });
}

/** Like {@link failedAs}, for the start of a program, which may not exist. */
export function toDomainError(error: unknown): unknown {
  const isNotThere = error instanceof EngineError && error.code === 'command_not_started';
  return isNotThere ? new DomainError('command_not_started', { cause: error }) : failedAs('command_failed', error);
}
