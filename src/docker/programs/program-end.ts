import { setTimeout as delay } from 'node:timers/promises';
import { saysNotRunning } from '../engine-error';
import { type ContainerProcess, wasKilled } from '../port/container-process';

/**
 * Docker reports the end of a container after the ends of its programs. While Berth itself stops a container, the
 * engine knows that beforehand.
 */
const CONTAINER_END_MS = 2_000;
const LOOK_EVERY_MS = 100;
/** Intervals between checks whether a killed program has ended; each is twice the one before. */
const GONE_LOOK_MS = { first: 5, longest: 250 } as const;

/** How a program in a container ended. `cause` is the engine's error. */
type ProgramEnd =
  | { readonly kind: 'exited'; readonly code: number }
  /** With its container, which has stopped, and may have been started again since. */
  | { readonly kind: 'container_ended'; readonly cause: unknown }
  /** The connection to its streams broke, so the program may still be running. */
  | { readonly kind: 'lost'; readonly cause: unknown };

/**
 * Determines how a program ended whose output has ended. A program that a signal killed is known to have exited only
 * after a wait, since its container may have ended as well.
 */
export async function endOf(program: Pick<ContainerProcess, 'exit'>): Promise<ProgramEnd> {
  try {
    const { exitCode: code } = await program.exit();
    const until = performance.now() + CONTAINER_END_MS;
    while (wasKilled(code)) {
      // Throws once the container has ended, or if it was started again since.
      await program.exit();
      if (performance.now() >= until) break;
      await delay(LOOK_EVERY_MS);
    }
    return { kind: 'exited', code };
  } catch (cause) {
    return { kind: saysNotRunning(cause) ? 'container_ended' : 'lost', cause };
  }
}

/**
 * The exit code by {@link endOf}.
 *
 * @throws EngineError `container_not_running` if the program ended with its container; otherwise as
 *   {@link ContainerProcess.exit} does
 */
export async function exitCodeOf(program: ContainerProcess): Promise<number> {
  const end = await endOf(program);
  if (end.kind === 'exited') return end.code;
  throw end.cause;
}

/** Whether Docker reports within `ms` that a program has ended. False also if Docker does not answer. */
export async function isGoneWithin(program: Pick<ContainerProcess, 'isGone'>, ms: number): Promise<boolean> {
  const until = performance.now() + ms;
  for (let wait: number = GONE_LOOK_MS.first; ; wait = Math.min(2 * wait, GONE_LOOK_MS.longest)) {
    try {
      if (await program.isGone()) return true;
    } catch {
      return false;
    }
    if (performance.now() + wait > until) return false;
    await delay(wait, undefined, { ref: false });
  }
}
