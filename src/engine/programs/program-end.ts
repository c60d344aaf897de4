import { saysNotRunning } from '../port/engine-error';
import type { ContainerProcess, ProgramExit } from '../port/container-process';

/** How a program in a container ended. `cause` is the engine's error. */
type ProgramEnd =
  | { readonly kind: 'exited'; readonly code: number; readonly exit: ProgramExit }
  /** With its container, which has stopped, and may have been started again since. */
  | { readonly kind: 'container_ended'; readonly cause: unknown }
  /** The connection to its streams broke, so the program may still be running, and can be attached to. */
  | { readonly kind: 'lost'; readonly cause: unknown };

/** Determines how a program ended whose output has ended. */
export async function endOf(program: Pick<ContainerProcess, 'exit'>): Promise<ProgramEnd> {
  try {
    const exit = await program.exit();
    return { kind: 'exited', code: exit.exitCode, exit };
  } catch (cause) {
    return { kind: saysNotRunning(cause) ? 'container_ended' : 'lost', cause };
  }
}
