import { setTimeout as delay } from 'node:timers/promises';
import { type ContainerProcess, EngineError, KILLED, saysNotRunning } from '../docker';
import { DomainError, type ErrorCode } from '../errors';

/** Docker reports the end of a container after that of the programs in it. Of one that is being ended it is known. */
const CONTAINER_END_MS = 2_000;
const LOOK_EVERY_MS = 100;

/**
 * The exit code of a program whose output has ended.
 *
 * @throws EngineError `container_not_running` if it was the end of the container that ended it; as
 *   {@link ContainerProcess.exit} does
 */
export async function exitCodeOf(program: ContainerProcess): Promise<number> {
  const { exitCode } = await program.exit();
  if (exitCode <= KILLED) return exitCode;
  // Throws once the container has ended, or was started again since.
  const until = performance.now() + CONTAINER_END_MS;
  for (;;) {
    await program.exit();
    if (performance.now() >= until) return exitCode;
    await delay(LOOK_EVERY_MS);
  }
}

/**
 * An error of the engine as clients see it. Those that say that the container does not run are left as they are:
 * `ContainersService.inside` has its own words for them.
 *
 * @param failed what failed; the engine's code goes beside it
 */
export function failedAs(failed: ErrorCode, error: unknown): unknown {
  if (!(error instanceof EngineError) || saysNotRunning(error)) return error;
  if (error.code === 'container_not_responding') return new DomainError(error.code, { cause: error });
  return new DomainError(failed, { code: error.code, cause: error });
}

/** The same of a program that was to be run, which may not be there. */
export function toDomainError(error: unknown): unknown {
  const isNotThere = error instanceof EngineError && error.code === 'command_not_started';
  return isNotThere ? new DomainError('command_not_started', { cause: error }) : failedAs('command_failed', error);
}
