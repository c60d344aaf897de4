import { planExpiry, type RunPolicy } from './run-policy';

const MINUTE = 60_000;
const at = (minutes: number): Date => new Date(minutes * MINUTE);

const FREE: RunPolicy = { now: at(100), sessionEnd: null, runMs: 120 * MINUTE, idleMs: null };
const PRO: RunPolicy = { ...FREE, runMs: null };
const GUEST: RunPolicy = { ...PRO, sessionEnd: at(130) };

/** Runs for 60 of its 120 minutes. */
const ROW = {
  status: 'running',
  lastUsedAt: at(90),
  runSince: at(40),
  expiresAt: at(160),
  expiryWarnedAt: null,
} as const;
const UNLIMITED = { ...ROW, expiresAt: null };
const correct = (since: number, end: number | null): unknown => ({
  do: 'correct',
  run: { runSince: at(since), expiresAt: end === null ? null : at(end), expiryWarnedAt: null },
});
const warn = (end: number, secondsLeft: number): unknown => ({ do: 'warn', expiresAt: at(end), secondsLeft });
const stop = (ending: 'expire' | 'idle'): unknown => ({ do: 'stop', ending });

describe('what the limits ask of a container that runs', () => {
  it.each<[string, Parameters<typeof planExpiry>[0], RunPolicy, unknown]>([
    ['nothing in the middle of its run', ROW, FREE, null],
    ['nothing where nothing limits it', UNLIMITED, PRO, null],
    ['nothing a moment before the warning', ROW, { ...FREE, now: new Date(150 * MINUTE - 1) }, null],
    ['a warning ten minutes before its end', ROW, { ...FREE, now: at(150) }, warn(160, 600)],
    ['a warning with whole seconds', ROW, { ...FREE, now: new Date(150 * MINUTE + 1) }, warn(160, 600)],
    ['a warning late rather than never', ROW, { ...FREE, now: at(159) }, warn(160, 60)],
    ['one warning', { ...ROW, expiryWarnedAt: at(150) }, { ...FREE, now: at(155) }, null],
    ['a stop at its end', ROW, { ...FREE, now: at(160) }, stop('expire')],
    ['a stop after its end', ROW, { ...FREE, now: at(999) }, stop('expire')],
    [
      "a stop at the end of the guest's session",
      { ...ROW, expiresAt: at(130) },
      { ...GUEST, now: at(130) },
      stop('expire'),
    ],
    ['a stop when it is unused for too long', UNLIMITED, { ...PRO, idleMs: 10 * MINUTE }, stop('idle')],
    ['nothing a moment before that', UNLIMITED, { ...PRO, idleMs: 10 * MINUTE + 1 }, null],
    ['the end rather than idleness', ROW, { ...FREE, now: at(160), idleMs: 1 }, stop('expire')],
  ])('must be %s', (_what, row, policy, expected) => {
    expect(planExpiry(row, policy, { warningMs: 10 * MINUTE })).toEqual(expected);
  });

  it('must be no warning where none are wanted', () => {
    expect(planExpiry(ROW, { ...FREE, now: at(159) }, { warningMs: 0 })).toBeNull();
  });

  it('must be nothing where it does not run', () => {
    for (const status of ['creating', 'stopped', 'error'] as const) {
      expect(planExpiry({ ...ROW, status }, { ...FREE, now: at(999), idleMs: 1 }, { warningMs: 1 })).toBeNull();
    }
  });

  it.each<[string, Parameters<typeof planExpiry>[0], RunPolicy, unknown]>([
    ['free → pro, though it was due', ROW, { ...PRO, now: at(999) }, correct(40, null)],
    ['pro → free: a whole run from now on', UNLIMITED, FREE, correct(100, 220)],
    [
      'guest → free: from when the run began',
      { ...ROW, expiresAt: at(130) },
      { ...FREE, now: at(130) },
      correct(40, 160),
    ],
    ['free → guest', ROW, GUEST, correct(40, 130)],
    ['pro → guest', UNLIMITED, GUEST, correct(100, 130)],
    ['to a tier with longer runs', ROW, { ...FREE, now: at(999), runMs: 999 * MINUTE }, correct(40, 1039)],
    ['to a tier with shorter runs', ROW, { ...FREE, runMs: 10 * MINUTE }, correct(40, 50)],
    ['a row from before runs were counted', { ...UNLIMITED, runSince: null }, FREE, correct(100, 220)],
  ])('must first be another end where the tier changed: %s', (_what, row, policy, expected) => {
    expect(planExpiry(row, policy, { warningMs: 10 * MINUTE })).toEqual(expected);
  });
});
