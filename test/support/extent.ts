/**
 * True in `npm run test:more`, which runs some files of `npm test` again (`jest.config.js`), with the whole of a long
 * table. `npm test` runs a sample of it.
 */
export const IS_MORE = process.env['TEST_MORE'] === 'true';

/** True if `BERTH_TEST_OPERATIONS` asks for shorter runs, as CI does: see test/README.md. */
export const IS_SAMPLE = process.env['BERTH_TEST_OPERATIONS'] !== undefined;

/** True in a whole `npm run test:more`, with every row of each table. */
export const IS_WHOLE = IS_MORE && !IS_SAMPLE;

/**
 * The runtimes under which promises about the runtime are proved: gVisor in `npm test`, runc in `npm run test:more`,
 * and both on newer Dockers (`scripts/test.mjs`).
 */
export const RUNTIMES = (process.env['TEST_RUNTIMES'] ?? (IS_MORE ? 'runc' : 'runsc')).split(',') as (
  | 'runsc'
  | 'runc'
)[];

type Declare = Pick<jest.It, 'each'> & ((title: string, work: () => Promise<void>) => void);

const declareNothing: Declare = Object.assign(() => undefined, { each: () => () => undefined });

/** Declares tests that only `npm run test:more` runs: variants of tests that `npm test` runs. */
export const inMore: Declare = IS_MORE ? it : declareNothing;

/**
 * Declares tests that `npm run test:more` does not repeat. A file of `npm test` whose rest belongs there imports it as
 * `it` (`REST` in `jest.config.js`).
 */
export const onlyQuick: Declare = IS_MORE ? declareNothing : it;

/** Declares tests that only a whole `npm run test:more` runs. */
export const inWhole: Declare = IS_WHOLE ? it : declareNothing;

/** Groups tests of {@link inMore}, if the group has hooks: jest refuses them in a group without tests. */
export const describeMore: (title: string, tests: () => void) => void = IS_MORE ? describe : () => undefined;

/** The same for those of {@link onlyQuick}. */
export const describeQuick: (title: string, tests: () => void) => void = IS_MORE ? () => undefined : describe;

/** Declares tests that run in both: `npm run test:more` has more of a table, or more of something. */
export const inBoth: Declare = it;

/** Which rows a sample has: a number of the whole run, so that a file that runs again has the same. */
const DRAW = Number(process.env['TEST_DRAW'] ?? 0);

/**
 * Rows of a long table: in a whole `npm run test:more` all of them, in `npm test` one of `every`. That is the first and
 * those that follow it at this distance; in a sample, one of the first `every`, so that each run of CI has others.
 */
export function sampled<T>(table: readonly T[], every = 2): readonly T[] {
  const first = IS_SAMPLE ? DRAW % Math.min(every, table.length) : 0;
  return table.filter((_row, index) => IS_WHOLE || index % every === first);
}

/** Rows of a table of `npm run test:more`; in a sample `count` of them, in each run of CI others. */
export function drawn<T>(table: readonly T[], count: number): readonly T[] {
  if (!IS_SAMPLE) return table;
  const first = DRAW % table.length;
  return [...table.slice(first), ...table.slice(0, first)].slice(0, count);
}

/** Declares tests by their titles; in a sample those that are {@link drawn}. */
export function itDrawn(count: number, tests: Readonly<Record<string, () => Promise<void>>>): void {
  for (const [title, test] of drawn(Object.entries(tests), count)) it(title, test);
}

/** Declares tests of which a sample has one in `every`, in each run of CI others. */
export function inTurn(every: number): (title: string, test: () => Promise<void>) => void {
  let at = DRAW;
  return (title, test) => {
    at += 1;
    if (!IS_SAMPLE || at % every === 0) it(title, test);
  };
}

/** Points before and after their effect, one after the other; in `npm test` one of both for each, in turn. */
export function beforeAndAfter<T extends object>(points: readonly T[]): readonly (T & { when: 'before' | 'after' })[] {
  const both = points.flatMap((point, index) =>
    (index % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const)).map((when) => ({
      ...point,
      when,
    })),
  );
  return sampled(both);
}

const IS_LEFT_TO_MORE = !IS_MORE && process.env['TEST_DATABASE'] === 'postgres';

/**
 * Declares tests that no database can break alone, in a file with others that one can: `npm test` runs them on SQLite.
 * The file is one of `PARTLY_ANY_DATABASE` in `jest.config.js`, so that `npm run test:more` runs them on PostgreSQL.
 */
export function describeOnAnyDatabase(title: string, tests: () => void): void {
  if (!IS_LEFT_TO_MORE) describe(title, tests);
}

/** {@link describeOnAnyDatabase} for one test, or for the rows of a table. */
export const itOnAnyDatabase: Declare = IS_LEFT_TO_MORE ? declareNothing : it;

/** A sample has a fault at every tenth call. */
const STEP = IS_SAMPLE ? 10 : 1;

/**
 * Disturbs an action at each of its calls, one after the other; in a sample at every tenth, from one of the first ten
 * on. Fails if no fault strikes.
 *
 * @param disturb does the action with the fault at the call of this number; whether there was such a call
 */
export async function atEveryCall(disturb: (nth: number) => Promise<boolean>): Promise<void> {
  const first = 1 + (DRAW % STEP);
  let nth = first;
  while (await disturb(nth)) {
    nth += STEP;
    // More calls than any action makes: one that never ends is a bug.
    expect(nth).toBeLessThan(200);
  }
  if (nth === first) expect(first > 1 && (await disturb(1))).toBe(true);
}
