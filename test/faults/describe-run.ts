import { randomInt } from 'node:crypto';
import type { TestNodes } from '../support/docker/test-nodes';
import type { Actions, Parts } from './fault-injector';
import { FaultRun, INVARIANTS } from './fault-run';
import type { Times } from './fault-schedule';
import type { RunSetting } from './setting';

/** A run takes six minutes on two idle processors. A machine with other work may take much longer. */
const RUN_MS = 30 * 60_000;

interface Run<F extends string> {
  readonly setting: RunSetting;
  readonly times: Times<F>;
  readonly actions: (parts: Parts) => Actions<NoInfer<F>>;
  /** The nodes of a Swarm, instead of one Docker. */
  readonly nodes?: TestNodes | null;
}

/** Declares the tests of one run. The run is made once, and each test checks one promise. */
export function describeRun<F extends string>(title: string, { setting, times, actions, nodes = null }: Run<F>): void {
  const due = chosen(times);
  const seed = Number(process.env['BERTH_TEST_SEED'] ?? randomInt(2 ** 31));

  describe(`${title} (BERTH_TEST_SEED=${String(seed)})`, () => {
    const run = new FaultRun(setting, seed, nodes);
    const { journal } = run;

    beforeAll(() => run.perform(due, actions), RUN_MS);

    afterAll(() => run.close(), 600_000);

    it(`must have been ${String(setting.operations)} operations and every kind of fault`, () => {
      expect(journal.count('operation')).toBeGreaterThanOrEqual(setting.operations);
      // In a short run, other faults may prevent one until the end.
      const tried = (fault: string): number => (setting.isLong ? 0 : journal.count('fault', `${fault} in vain`));
      for (const fault of Object.keys(due)) {
        expect([fault, journal.count('fault', fault) + tried(fault)]).not.toEqual([fault, 0]);
      }
      if (!nodes) expect(journal.count('strike')).toBeGreaterThan(0);
    });

    // In a short run, Docker may be away at every attempt to write a mark.
    if (setting.isLong) {
      it('must have written marks into volumes', () => {
        expect(journal.count('mark', 'written')).toBeGreaterThan(0);
      });
    }

    it('during all of it every request must be answered as documented, no process end by itself, and never two containers run on one volume', () => {
      expect(journal.complaints).toEqual([]);
    });

    it.each(Object.entries(INVARIANTS))('%s', (_promise, contradictions) => {
      expect(run.contradictions(contradictions)).toEqual([]);
    });

    it('after all of it each user must be able to create up to the limit, and not one more', () => {
      expect(run.rushFaults).toEqual([]);
    });
  });
}

/** `BERTH_TEST_FAULTS` selects single faults, for experiments. */
function chosen<F extends string>(times: Times<F>): Times<F> {
  const names = process.env['BERTH_TEST_FAULTS']?.split(',');
  const kept = Object.entries<number>(times).filter(([fault]) => names?.includes(fault) ?? true);
  return Object.fromEntries(kept) as Times<F>;
}
