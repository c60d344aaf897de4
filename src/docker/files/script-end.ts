import { setTimeout as delay } from 'node:timers/promises';
import { type EngineError, saysUnavailable } from '../engine-error';
import type { EnginePrograms } from '../port/engine-programs';
import type { ContainerProcess } from '../port/container-process';
import { isGoneWithin } from '../programs/program-end';

/** Exit codes arrive a moment after the end of the output. */
const EXIT_CODE_MS = 1_000;
/** How long Docker may take to report the exit of a killed script before it is killed again. */
const KILLED_MS = 3_000;
/**
 * Maximum kill attempts. If the image's programs could not kill a script by then, more attempts would not do so
 * either.
 */
const MOST_KILLS = 3;
const LOOK_MS = { first: 250, longest: 30_000 } as const;
/** How long Docker may be silent before a script is given up: its node may never return. */
const SILENT_MS = 60 * 60_000;

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

/**
 * Kills a script by its marker unless it has exited, and resolves when Docker reports that it does not run any more.
 * The image's own programs do the killing, so their reports of success are not trusted. Gives up when Docker is silent
 * for {@link SILENT_MS}. Never rejects.
 */
export async function untilGone(script: EndingScript): Promise<void> {
  const { process, isOver } = script;
  if (isOver && (await isGoneWithin(process, EXIT_CODE_MS))) {
    process.close();
    return;
  }
  // The output is of no use any more. Unread, it would keep Docker (26.1) from reporting the exits of other programs.
  process.close();
  for (let kills = 0; kills < MOST_KILLS; kills += 1) {
    const outcome = await kill(script);
    if (outcome === 'gone' || (await isGoneWithin(process, KILLED_MS))) return;
    if (outcome === 'unavailable') break;
  }
  await isGoneAtLast(process);
}

async function kill({ programs, dockerId, marker, graceMs, killLater }: EndingScript): Promise<string> {
  try {
    return await programs.end(dockerId, { marker, signal: 'TERM', graceMs });
  } catch (error) {
    if (saysUnavailable(error)) {
      killLater();
      return 'unavailable';
    }
    const { code } = error as Partial<EngineError>;
    return code === 'container_not_found' || code === 'container_not_running' ? 'gone' : 'failed';
  }
}

/** Checks at growing intervals, and gives up if Docker stays silent. */
async function isGoneAtLast(process: ContainerProcess): Promise<void> {
  let answeredAt = performance.now();
  for (let wait: number = LOOK_MS.first; ; wait = Math.min(2 * wait, LOOK_MS.longest)) {
    await delay(wait, undefined, { ref: false });
    try {
      if (await process.isGone()) return;
      answeredAt = performance.now();
    } catch {
      if (performance.now() - answeredAt > SILENT_MS) return;
    }
  }
}
