import { type EngineError, saysUnavailable } from '../engine-error';
import type { EnginePrograms } from '../port/engine-programs';
import type { ContainerProcess } from '../port/container-process';

/** A script that has to exit now. */
interface EndingScript {
  readonly programs: EnginePrograms;
  readonly dockerId: string;
  readonly marker: string;
  readonly process: ContainerProcess;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** Whether its output has ended, which means that it has probably exited. */
  readonly isOver: boolean;
  /** Called when Docker does not answer, to kill the script later. */
  readonly killLater: () => void;
}

/** Kills a script unless it has exited, and resolves when it does not run any more, or could not be killed. */
export async function untilGone({
  programs,
  dockerId,
  marker,
  process,
  graceMs,
  killLater,
}: EndingScript): Promise<void> {
  process.close();
  try {
    await programs.end(dockerId, { id: marker, signal: 'TERM', graceMs });
  } catch (error) {
    if (saysUnavailable(error as EngineError)) killLater();
  }
}
