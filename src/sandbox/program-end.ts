import { setTimeout as delay } from 'node:timers/promises';
import { type ContainerEngine, type ContainerProcess, EngineError } from '../docker';
import { DomainError } from '../errors';

/** The exit code of a program that was killed is greater, as that of all is when their container ends. */
const KILLED = 128;
/** Docker reports the end of a container after that of the programs in it. */
const CONTAINER_END_MS = 2_000;

/**
 * The exit code of a program whose output has ended.
 *
 * @throws EngineError `container_not_running` if it was the end of the container that ended it; as
 *   {@link ContainerProcess.exit} does
 */
export async function exitCodeOf(
  engine: ContainerEngine,
  dockerId: string,
  program: ContainerProcess,
): Promise<number> {
  const { exitCode } = await program.exit();
  if (exitCode > KILLED && (await hasStopped(engine, dockerId))) {
    throw new EngineError('container_not_running', 'the container ended under the program');
  }
  return exitCode;
}

async function hasStopped(engine: ContainerEngine, dockerId: string): Promise<boolean> {
  const deadline = performance.now() + CONTAINER_END_MS;
  for (;;) {
    if ((await engine.inspectContainer(dockerId))?.state !== 'running') return true;
    if (performance.now() >= deadline) return false;
    await delay(CONTAINER_END_MS / 20);
  }
}

/** An error of the engine as clients see it; those that say that the container does not run are dealt with for all. */
export function toDomainError(error: unknown): unknown {
  if (!(error instanceof EngineError) || saysNotRunning(error)) return error;
  if (error.code === 'command_not_started') return new DomainError('command_not_started', { cause: error });
  return new DomainError('command_failed', { code: error.code, cause: error });
}

export function saysNotRunning(error: unknown): boolean {
  return (
    error instanceof EngineError &&
    ['container_not_found', 'container_not_running', 'container_paused'].includes(error.code)
  );
}
