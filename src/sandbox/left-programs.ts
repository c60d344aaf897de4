import { nodeOf, saysUnavailable } from '../docker';
import type { Logger } from '../logging';

/** Delays before a failed attempt is repeated; each is twice the one before. */
const BACK_OFF_MS = { first: 1_000, longest: 60_000 } as const;

/** The shortest time between attempts that are made because a new program needs the place. */
const ASKED_EVERY_MS = 1_000;

/** A program whose streams no process holds, and which this process still has to kill in its container. */
interface LeftProgram {
  readonly dockerId: string;
  /**
   * Kills the program in its container, and deletes its row if it has one.
   *
   * @throws EngineError, or the database's error
   */
  end(): Promise<void>;
  /** Treats the program as ended, because its node was given up. @throws the database's error */
  giveUp(): Promise<void>;
}

interface Waiting extends LeftProgram {
  failures: number;
  /** In the time of `performance.now()`, like the next one. */
  lastTry: number;
  nextTry: number;
  isBeingEnded: boolean;
  /** Whether its node was known not to answer at the last attempt. */
  wasSilent: boolean;
}

/** What `LeftPrograms` has to know of Docker's nodes. */
interface Machines {
  /** Whether the node is believed to answer. Always true on a single machine (`null`). */
  answers(node: string | null): boolean;
  /** Whether an administrator has given up the node. */
  isGivenUp(node: string): Promise<boolean>;
}

/**
 * Programs that still have to be killed, by their markers. A failed attempt is repeated with growing delays, until the
 * program's node is given up. A node that is known not to answer gets no calls.
 */
export class LeftPrograms {
  private readonly waiting = new Map<string, Waiting>();
  /** Nodes and Docker containers for which the log says that their programs cannot be killed. */
  private readonly failing = new Set<string>();

  constructor(
    private readonly machines: Machines,
    private readonly logger: Pick<Logger, 'warn' | 'info'>,
  ) {}

  add(marker: string, program: LeftProgram): void {
    if (this.waiting.has(marker)) return;
    const never = -Infinity;
    const state = { failures: 0, lastTry: never, nextTry: never, isBeingEnded: false, wasSilent: false };
    this.waiting.set(marker, { ...program, ...state });
  }

  has(marker: string): boolean {
    return this.waiting.has(marker);
  }

  /** Tries the programs that are due, and those whose node answers again. Never throws. */
  async endDue(): Promise<void> {
    const now = performance.now();
    const due = [...this.waiting].filter(([, { dockerId, nextTry, isBeingEnded, wasSilent }]) => {
      const isBack = wasSilent && this.machines.answers(nodeOf(dockerId));
      return !isBeingEnded && (isBack || nextTry <= now);
    });
    await Promise.all(due.map(([marker, program]) => this.tryOne(marker, program)));
  }

  /**
   * Tries those of one Docker container at once, because a place of theirs is needed, unless that was tried within the
   * last second. Never throws.
   *
   * @returns whether any was tried
   */
  async endOf(dockerId: string): Promise<boolean> {
    const before = performance.now() - ASKED_EVERY_MS;
    const tried = [...this.waiting].filter(
      ([, program]) => program.dockerId === dockerId && !program.isBeingEnded && program.lastTry <= before,
    );
    await Promise.all(tried.map(([marker, program]) => this.tryOne(marker, program)));
    return tried.length > 0;
  }

  /** Tries one program at once, due or not. @throws the errors of {@link LeftProgram.end} */
  async endNow(marker: string): Promise<void> {
    const program = this.waiting.get(marker);
    if (!program) return;
    await program.end();
    this.waiting.delete(marker);
  }

  private async tryOne(marker: string, program: Waiting): Promise<void> {
    const node = nodeOf(program.dockerId);
    program.isBeingEnded = true;
    program.lastTry = performance.now();
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

  /** Logs the first failure only, until a program on the same node, or in the same container, was killed. */
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
