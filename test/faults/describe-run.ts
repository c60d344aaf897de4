import { randomInt } from 'node:crypto';
import type { TestNodes } from '../support/docker/test-nodes';
import type { Actions, Parts } from './fault-injector';
import { FaultRun, INVARIANTS } from './fault-run';
import type { Times } from './fault-schedule';
import type { RunSetting } from './setting';

/** Six minutes on two idle processors; a machine that has other work too must not fail for it. */
const RUN_MS = 30 * 60_000;

interface Run<F extends string> {
  readonly setting: RunSetting;
  readonly times: Times<F>;
  readonly actions: (parts: Parts) => Actions<NoInfer<F>>;
  /** Those of a Swarm, in the place of one Docker. */
  readonly nodes?: TestNodes | null;
}

/** The tests of one run: it is made once, and each tells of one promise. */
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
      // In a short run other faults may keep one from being made until the end.
      const tried = (fault: string): number => (setting.isLong ? 0 : journal.count('fault', `${fault} in vain`));
      for (const fault of Object.keys(due)) {
        expect([fault, journal.count('fault', fault) + tried(fault)]).not.toEqual([fault, 0]);
      }
      if (!nodes) expect(journal.count('strike')).toBeGreaterThan(0);
    });

    // In a short run Docker may be away whenever a mark is to be written.
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

/** `BERTH_TEST_FAULTS` leaves those that it names, to try something out. */
function chosen<F extends string>(times: Times<F>): Times<F> {
  const names = process.env['BERTH_TEST_FAULTS']?.split(',');
  const kept = Object.entries<number>(times).filter(([fault]) => names?.includes(fault) ?? true);
  return Object.fromEntries(kept) as Times<F>;
}
