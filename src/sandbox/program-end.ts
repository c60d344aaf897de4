import { setTimeout as delay } from 'node:timers/promises';
import { type ContainerProcess, EngineError, KILLED, saysNotRunning } from '../docker';
import { DomainError, type ErrorCode } from '../errors';

/**
 * Docker reports the end of a container after the ends of its programs. While Berth itself stops a container, the
 * engine knows that beforehand.
 */
const CONTAINER_END_MS = 2_000;
const LOOK_EVERY_MS = 100;

/**
 * The exit code of a program whose output has ended. A code above {@link KILLED} is returned after a wait, since the
 * container may have ended as well.
 *
 * @throws EngineError `container_not_running` if the program ended with its container; otherwise as
 *   {@link ContainerProcess.exit} does
 */
export async function exitCodeOf(program: ContainerProcess): Promise<number> {
  const { exitCode } = await program.exit();
  if (exitCode <= KILLED) return exitCode;
  // `exit` throws once the container has ended, or if it was started again since.
  const until = performance.now() + CONTAINER_END_MS;
  for (;;) {
    await program.exit();
    if (performance.now() >= until) return exitCode;
    await delay(LOOK_EVERY_MS);
  }
}

/**
 * Translates an engine error into the error that clients see. Errors about a container that does not run are returned
 * unchanged: `ContainersService.inside` translates them.
 *
 * @param failed the error's kind; the engine's code goes beside it
 */
export function failedAs(failed: ErrorCode, error: unknown): unknown {
  if (!(error instanceof EngineError) || saysNotRunning(error)) return error;
  if (error.code === 'container_not_responding') return new DomainError(error.code, { cause: error });
  return new DomainError(failed, { code: error.code, cause: error });
}

/** Like {@link failedAs}, for the start of a program, which may not exist. */
export function toDomainError(error: unknown): unknown {
  const isNotThere = error instanceof EngineError && error.code === 'command_not_started';
  return isNotThere ? new DomainError('command_not_started', { cause: error }) : failedAs('command_failed', error);
}
