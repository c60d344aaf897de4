import { setTimeout as delay } from 'node:timers/promises';
import { RealDocker } from '../support/docker/real-docker';
import { SeededRandom } from '../support/seeded-random';
import { Cohabitation } from './cohabitation';
import { DatabaseView } from './database-view';
import { Excuses } from './excuses';
import type { ScheduledFault } from './fault-schedule';
import { FaultyCluster } from './faulty-cluster';
import { Journal } from './journal';
import { User } from './user';

/** How often a fault is tried if other faults prevent it. */
const TRIES = 90;
const TRY_AGAIN_MS = 1_000;

/** The objects that faults act on. */
export interface Parts {
  readonly cluster: FaultyCluster;
  readonly dockers: readonly RealDocker[];
  readonly database: DatabaseView;
  readonly users: readonly User[];
  /** An administrator's token. */
  readonly operator: string;
  readonly excuses: Excuses;
  readonly cohabitation: Cohabitation;
  readonly random: SeededRandom;
  readonly journal: Journal;
  readonly turns: Turns;
}

/**
 * To be called when a fault's turn has come. If the traffic is over by then, the fault is made only if none of its
 * kind was made.
 *
 * @throws InVain
 */
export type Begin = () => void;

/** Each resolves when the fault is over, with the name of its target. @throws InVain */
export type Actions<F extends string> = Readonly<Record<F, (begin: Begin) => Promise<string>>>;

/** The fault could not be made now, because of other faults. */
export class InVain extends Error {
  override readonly name = 'InVain';
}

/** The subject of faults that leave locks of live processes in the database. To be taken before any other subject. */
export const LOCKS_HELD = 'locks';

/** Runs faults on one subject one after the other, so that a service is not ended while it starts. */
export class Turns {
  private readonly last = new Map<string, Promise<unknown>>();

  /** Takes the subjects in this order; then calls `begin`, and does the work. */
  async take<T>(subjects: string | readonly string[], work: () => Promise<T>, begin?: Begin): Promise<T> {
    const [subject, ...others] = [subjects].flat();
    if (subject === undefined) {
      begin?.();
      return work();
    }
    const before = this.last.get(subject) ?? Promise.resolve();
    const next = (): Promise<T> => this.take(others, work, begin);
    const mine = before.then(next, next);
    this.last.set(subject, mine);
    const isOver = (): unknown => this.last.get(subject) === mine && this.last.delete(subject);
    void mine.then(isOver, isOver);
    return mine;
  }

  isTaken(subject: string): boolean {
    return this.last.has(subject);
  }
}

/** Makes the scheduled faults, concurrently with the traffic. */
export class FaultInjector<F extends string> {
  private readonly running = new Map<Promise<void>, string>();
  private readonly made = new Set<F>();
  private trafficIsOver = false;

  constructor(
    private readonly schedule: ScheduledFault<F>[],
    private readonly actions: Actions<F>,
    private readonly journal: Journal,
  ) {}

  /** To be called before each operation. */
  readonly onOperation = (operation: number): void => {
    while (this.schedule[0] && this.schedule[0].before <= operation) {
      const [{ fault }] = this.schedule.splice(0, 1) as [ScheduledFault<F>];
      const done = this.inject(fault, operation);
      this.running.set(done, `${fault} of operation ${String(operation)}`);
      void done.finally(() => this.running.delete(done));
    }
  };

  /** To be called after the traffic. Resolves when all faults are over. */
  async over(): Promise<void> {
    this.trafficIsOver = true;
    while (this.running.size > 0) await Promise.all(this.running.keys());
  }

  /** The faults that are not over. */
  left(): string[] {
    return [...this.running.values()];
  }

  private async inject(fault: F, operation: number): Promise<void> {
    const since = Date.now();
    try {
      const subject = await this.perform(fault);
      this.made.add(fault);
      this.journal.note('fault', fault, { operation, subject, ms: Date.now() - since });
    } catch (error) {
      if (!(error instanceof InVain)) this.journal.complain(`${fault}: ${String(error)}`);
      this.journal.note('fault', `${fault} in vain`, { operation, error: String(error) });
    }
  }

  private async perform(fault: F): Promise<string> {
    const isTooLate = (): boolean => this.trafficIsOver && this.made.has(fault);
    const begin = (): void => {
      if (isTooLate()) throw new InVain('the traffic is over');
    };
    for (let tries = 1; ; tries += 1) {
      try {
        begin();
        return await this.actions[fault](begin);
      } catch (error) {
        if (!(error instanceof InVain) || tries === TRIES || isTooLate()) throw error;
        await delay(TRY_AGAIN_MS);
      }
    }
  }
}
