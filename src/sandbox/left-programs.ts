import { nodeOf, saysUnavailable } from '../docker';
import type { Logger } from '../logging';

/** How soon what failed is tried again: twice as late each time. */
const BACK_OFF_MS = { first: 1_000, longest: 60_000 } as const;

/** A program without a holder of its streams, which this process still has to end in its container. */
export interface LeftProgram {
  readonly dockerId: string;
  /**
   * Ends it in its container, and its row if it has one.
   *
   * @throws EngineError, or what the database throws
   */
  end(): Promise<void>;
  /** Its machine was given up: it counts as ended. @throws what the database throws */
  giveUp(): Promise<void>;
}

interface Waiting extends LeftProgram {
  failures: number;
  /** By the monotonic clock. */
  nextTry: number;
  isBeingEnded: boolean;
  /** Whether its machine was known to be silent at the last try. */
  wasSilent: boolean;
}

/** What is asked of the machines. */
export interface Machines {
  /** Whether this machine is believed to answer. */
  answers(node: string | null): boolean;
  /** Whether an administrator has given this machine up. */
  isGivenUp(node: string): Promise<boolean>;
}

/**
 * Programs that are still to be ended, by their markers. What cannot be ended is tried again, ever more seldom, until
 * its machine is given up; a machine that is known to be silent is not asked at all.
 */
export class LeftPrograms {
  private readonly waiting = new Map<string, Waiting>();
  /** Machines and containers of which the log says that programs on them cannot be ended. */
  private readonly failing = new Set<string>();

  constructor(
    private readonly machines: Machines,
    private readonly logger: Pick<Logger, 'warn' | 'info'>,
  ) {}

  add(marker: string, program: LeftProgram): void {
    if (this.waiting.has(marker)) return;
    this.waiting.set(marker, { ...program, failures: 0, nextTry: -Infinity, isBeingEnded: false, wasSilent: false });
  }

  has(marker: string): boolean {
    return this.waiting.has(marker);
  }

  /** Tries those that are due. Never throws. */
  async endDue(): Promise<void> {
    const now = performance.now();
    const due = [...this.waiting].filter(([, { dockerId, nextTry, isBeingEnded, wasSilent }]) => {
      const isBack = wasSilent && this.machines.answers(nodeOf(dockerId));
      return !isBeingEnded && (isBack || nextTry <= now);
    });
    await Promise.all(due.map(([marker, program]) => this.tryOne(marker, program)));
  }

  /** Tries one at once, due or not. @throws what its end throws */
  async endNow(marker: string): Promise<void> {
    const program = this.waiting.get(marker);
    if (!program) return;
    await program.end();
    this.waiting.delete(marker);
  }

  private async tryOne(marker: string, program: Waiting): Promise<void> {
    const node = nodeOf(program.dockerId);
    program.isBeingEnded = true;
    try {
      program.wasSilent = !this.machines.answers(node);
      if (!program.wasSilent) await program.end();
      else if (node !== null && (await this.machines.isGivenUp(node))) await program.giveUp();
      else throw new SilentMachine(`the machine ${String(node)} does not answer`);
      this.waiting.delete(marker);
      this.noteSuccess(program);
    } catch (error) {
      program.failures += 1;
      const pause = BACK_OFF_MS.first * 2 ** (program.failures - 1);
      program.nextTry = performance.now() + Math.min(pause, BACK_OFF_MS.longest);
      this.noteFailure(program, error);
    } finally {
      program.isBeingEnded = false;
    }
  }

  /** Once, until one on the same machine, or in the same container, was ended. */
  private noteFailure({ dockerId }: LeftProgram, error: unknown): void {
    const isMachines = error instanceof SilentMachine || saysUnavailable(error);
    const subject = isMachines ? subjectOf(dockerId) : dockerId;
    if (this.failing.has(subject)) return;
    this.failing.add(subject);
    const reason = error instanceof Error ? error.message : String(error);
    this.logger.warn({ of: subject, reason }, 'programs left behind cannot be ended yet; tried again ever more seldom');
  }

  private noteSuccess({ dockerId }: LeftProgram): void {
    const subjects = [subjectOf(dockerId), dockerId].filter((subject) => this.failing.delete(subject));
    for (const subject of subjects) this.logger.info({ of: subject }, 'programs left behind are ended again');
  }
}

class SilentMachine extends Error {}

function subjectOf(dockerId: string): string {
  return nodeOf(dockerId) ?? 'Docker';
}
