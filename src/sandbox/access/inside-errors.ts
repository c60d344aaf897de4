import { ApiContainerById, insideFault } from '../../containers';
import { EngineError, type EngineErrorCode } from '../../engine';
import { type ApiFault, DomainError, type ErrorCode } from '../../errors';

/** The errors of a route that resumes a paused container. */
export const RESUMING = ['no_capacity', 'operation_in_progress', 'resume_failed', 'restart_required'] as const;

/** Documents a route to the inside of a container: its own errors beside those of every such route. */
export const ApiInside = (...faults: readonly ApiFault[]): MethodDecorator =>
  ApiContainerById('guest_session_expired', 'exec_not_allowed', 'sandbox_full', ...faults);

/**
 * Translates an engine error into the error that clients see.
 *
 * @param failed the error's kind; the engine's code goes beside it
 */
export function failedAs(failed: ErrorCode, error: unknown): unknown {
  return translated(error, failed, ['container_not_responding', 'sandbox_full', 'restart_required']);
}

/** Translates an error of a connection to a port into the one that clients see. */
export function portFault(error: unknown): unknown {
  return translated(error, 'application_failed', ['port_closed', 'restart_required', 'container_not_responding']);
}

/** @param own the codes that are error codes of the API too */
function translated(error: unknown, failed: ErrorCode, own: readonly (EngineErrorCode & ErrorCode)[]): unknown {
  const fault = insideFault(error);
  if (!(fault instanceof EngineError)) return fault;
  const kind = own.find((code) => code === fault.code);
  return kind ? new DomainError(kind, { cause: error }) : new DomainError(failed, { code: fault.code, cause: error });
}

/** Like {@link failedAs}, for the start of a program, which may not exist. */
export function toDomainError(error: unknown): unknown {
  const isNotThere = error instanceof EngineError && error.code === 'command_not_started';
  return isNotThere ? new DomainError('command_not_started', { cause: error }) : failedAs('command_failed', error);
}
