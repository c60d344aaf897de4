import type { IdleAction } from '../../tiers';
import { idleActionOf, planExpiry, type RunPolicy } from './run-policy';

const MINUTE = 60_000;
const at = (minutes: number): Date => new Date(minutes * MINUTE);

const FREE: RunPolicy = {
  now: at(100),
  userDeleted: false,
  suspended: false,
  sessionEnd: null,
  runMs: 120 * MINUTE,
  idleMs: null,
  idleAction: 'stop',
  deleteMs: null,
  guestDeleteMs: null,
  stopWarningMs: 10 * MINUTE,
  deletionWarningMs: 60 * MINUTE,
};
const PRO: RunPolicy = { ...FREE, runMs: null };
const IDLE: RunPolicy = { ...PRO, idleMs: 10 * MINUTE };
const GUEST: RunPolicy = { ...PRO, sessionEnd: at(130) };

/** Runs for 60 of its 120 minutes. */
const ROW = {
  status: 'running',
  lastUsedAt: at(90),
  runSince: at(40),
  expiresAt: at(160),
  expiryWarnedAt: null,
  endAction: 'stop',
  endsAt: null,
  autoStopSeconds: null,
  idleAction: null,
  idleWarnedAt: null,
  autoDeleteSeconds: null,
  pausedAt: null,
  stoppedAt: null,
  deletionWarnedAt: null,
} as const;
const UNLIMITED = { ...ROW, expiresAt: null };
const correct = (since: number, end: number | null): unknown => ({
  do: 'correct',
  run: { runSince: at(since), expiresAt: end === null ? null : at(end), expiryWarnedAt: null, endsAt: null },
});
const warn = (end: number, secondsLeft: number, reason = 'session_expired'): unknown => ({
  do: 'warn',
  action: 'stop',
  reason,
  expiresAt: at(end),
  secondsLeft,
});
const stop = (ending: 'expire' | 'lifetime' | 'idle' | 'suspend'): unknown => ({ do: 'stop', ending });

describe('what the limits ask of a container that runs', () => {
  it.each<[string, Parameters<typeof planExpiry>[0], RunPolicy, unknown]>([
    ['nothing in the middle of its run', ROW, FREE, null],
    ['nothing where nothing limits it', UNLIMITED, PRO, null],
    ['a stop where its user is suspended', ROW, { ...FREE, suspended: true }, stop('suspend')],
    ['that stop rather than a change of its end', UNLIMITED, { ...FREE, suspended: true }, stop('suspend')],
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
    ['nothing a moment before its lifetime is over', { ...UNLIMITED, endsAt: new Date(100 * MINUTE + 1) }, PRO, null],
    ['a stop once its lifetime is over', { ...UNLIMITED, endsAt: at(100) }, PRO, stop('lifetime')],
    [
      'a pause then, where it says so',
      { ...UNLIMITED, endsAt: at(100), endAction: 'pause' },
      PRO,
      { do: 'pause', reason: 'lifetime_over' },
    ],
    [
      'a deletion then, where it says so, also of a paused one',
      { ...UNLIMITED, status: 'paused', endsAt: at(100), endAction: 'delete' },
      PRO,
      { do: 'delete', reason: 'lifetime_over' },
    ],
    ['the end of the session rather than that', { ...ROW, endsAt: at(100) }, { ...FREE, now: at(160) }, stop('expire')],
    ['a stop when it is unused for too long', UNLIMITED, { ...PRO, idleMs: 10 * MINUTE }, stop('idle')],
    ['a warning before that', UNLIMITED, { ...PRO, idleMs: 12 * MINUTE }, warn(102, 120, 'idle')],
    ['a warning half of a short time before', UNLIMITED, { ...PRO, idleMs: 20 * MINUTE }, warn(110, 600, 'idle')],
    ['nothing a moment before the warning', UNLIMITED, { ...PRO, idleMs: 20 * MINUTE + 1 }, null],
    ['one warning of it', { ...UNLIMITED, idleWarnedAt: at(96) }, { ...PRO, idleMs: 12 * MINUTE }, null],
    [
      'another one after another use',
      { ...UNLIMITED, idleWarnedAt: at(89) },
      { ...PRO, idleMs: 12 * MINUTE },
      warn(102, 120, 'idle'),
    ],
    ['a stop after its own time', { ...UNLIMITED, autoStopSeconds: 600 }, PRO, stop('idle')],
    ["a stop after the tier's time, if that is less", { ...UNLIMITED, autoStopSeconds: 900 }, IDLE, stop('idle')],
    ['the end rather than idleness', ROW, { ...FREE, now: at(160), idleMs: 1 }, stop('expire')],
  ])('must be %s', (_what, row, policy, expected) => {
    expect(planExpiry(row, policy)).toEqual(expected);
  });

  it('must be no warning where none are wanted', () => {
    expect(planExpiry(ROW, { ...FREE, now: at(159), stopWarningMs: 0 })).toBeNull();
  });

  it('must be nothing where it does not run', () => {
    for (const status of ['creating', 'stopped', 'error'] as const) {
      expect(planExpiry({ ...ROW, status }, { ...FREE, now: at(999), idleMs: 1 })).toBeNull();
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
    expect(planExpiry(row, policy)).toEqual(expected);
  });
});

describe('what the limits ask of a container that is paused, or is to be', () => {
  /** Unused since minute 90; paused at minute 95. */
  const PAUSED = { ...UNLIMITED, status: 'paused', pausedAt: at(95), autoStopSeconds: 600 } as const;
  const stopping = { idleAction: 'pause_then_stop' } as const;

  it.each<[string, Parameters<typeof planExpiry>[0], RunPolicy, unknown]>([
    [
      'a pause where it says so',
      { ...UNLIMITED, autoStopSeconds: 600, idleAction: 'pause' },
      PRO,
      { do: 'pause', reason: 'idle' },
    ],
    [
      'a pause where a stop follows',
      { ...UNLIMITED, autoStopSeconds: 600, ...stopping },
      PRO,
      { do: 'pause', reason: 'idle' },
    ],
    ['a pause where its tier says so', UNLIMITED, { ...IDLE, idleAction: 'pause' }, { do: 'pause', reason: 'idle' }],
    ["a stop where its tier's limit is one", { ...UNLIMITED, idleAction: 'pause' }, IDLE, stop('idle')],
    [
      'a warning of the pause',
      { ...UNLIMITED, autoStopSeconds: 720, idleAction: 'pause' },
      PRO,
      { ...(warn(102, 120, 'idle') as object), action: 'pause' },
    ],
    ['nothing more where it was paused by request', PAUSED, { ...PRO, now: at(999) }, null],
    ['nothing more where it is only to be paused', { ...PAUSED, idleAction: 'pause' }, { ...PRO, now: at(999) }, null],
    ['nothing before as long again', { ...PAUSED, ...stopping }, { ...PRO, now: at(104), stopWarningMs: 0 }, null],
    ['a stop after as long again', { ...PAUSED, ...stopping }, { ...PRO, now: at(105) }, stop('idle')],
    ['a warning before that stop', { ...PAUSED, ...stopping }, PRO, warn(105, 300, 'idle')],
    ['a later stop where it was used since', { ...PAUSED, ...stopping, lastUsedAt: at(99) }, PRO, null],
    ['a stop at the end of its run', { ...PAUSED, expiresAt: at(160) }, { ...FREE, now: at(160) }, stop('expire')],
    ['a warning of that end', { ...PAUSED, expiresAt: at(160) }, { ...FREE, now: at(150) }, warn(160, 600)],
    ['a stop where its user is suspended', PAUSED, { ...PRO, suspended: true }, stop('suspend')],
  ])('must be %s', (_what, row, policy, expected) => {
    expect(planExpiry(row, policy)).toEqual(expected);
  });

  it.each<[own: IdleAction | null, ofTier: IdleAction, isLimited: boolean, IdleAction]>([
    [null, 'pause', false, 'pause'],
    [null, 'pause_then_stop', true, 'pause_then_stop'],
    ['pause', 'stop', false, 'pause'],
    ['pause', 'stop', true, 'stop'],
    ['pause', 'pause_then_stop', true, 'pause_then_stop'],
    ['pause_then_stop', 'pause', true, 'pause_then_stop'],
    ['stop', 'pause', true, 'stop'],
  ])('%s on a tier with %s (with a limit: %s) must be %s', (own, idleAction, isLimited, expected) => {
    expect(idleActionOf(own, { idleMs: isLimited ? 1 : null, idleAction })).toBe(expected);
  });
});

const HOUR = 60;
/** Stopped at 100 minutes, last used before. */
const STOPPED = { ...UNLIMITED, status: 'stopped', runSince: null, stoppedAt: at(100) } as const;
const DELETING: RunPolicy = { ...PRO, deleteMs: 10 * HOUR * MINUTE };
const warnOfDeletion = (end: number, secondsLeft: number, reason = 'auto_delete'): unknown => ({
  do: 'warn',
  action: 'delete',
  reason,
  expiresAt: at(end),
  secondsLeft,
});
const remove = (reason = 'auto_delete'): unknown => ({ do: 'delete', reason });

describe('what the limits ask of a container that is stopped', () => {
  const due = 100 + 10 * HOUR;
  const warned = { ...STOPPED, deletionWarnedAt: at(due - HOUR) };
  const guest = { ...DELETING, sessionEnd: at(130), guestDeleteMs: 5 * HOUR * MINUTE };

  it.each<[string, Parameters<typeof planExpiry>[0], RunPolicy, unknown]>([
    ['nothing where nothing limits it', STOPPED, { ...PRO, now: at(99_999) }, null],
    ['nothing where its user is suspended', warned, { ...DELETING, now: at(due), suspended: true }, null],
    [
      'its deletion without a warning where its user is deleted',
      STOPPED,
      { ...PRO, suspended: true, userDeleted: true },
      remove('user_deleted'),
    ],
    ['nothing before its warning', STOPPED, { ...DELETING, now: at(due - HOUR - 1) }, null],
    ['a warning', STOPPED, { ...DELETING, now: at(due - HOUR) }, warnOfDeletion(due, 3600)],
    ['one warning', warned, { ...DELETING, now: at(due - 1) }, null],
    ['its deletion', warned, { ...DELETING, now: at(due) }, remove()],
    ['its deletion where its creation failed', { ...warned, status: 'error' }, { ...DELETING, now: at(due) }, remove()],
    [
      'a whole warning first, however late it is',
      STOPPED,
      { ...DELETING, now: at(due + 500) },
      warnOfDeletion(due + 500 + HOUR, 3600),
    ],
    [
      'nothing until that warning is over',
      { ...STOPPED, deletionWarnedAt: at(due + 500) },
      { ...DELETING, now: at(due + 500 + HOUR - 1) },
      null,
    ],
    [
      'its deletion then',
      { ...STOPPED, deletionWarnedAt: at(due + 500) },
      { ...DELETING, now: at(due + 500 + HOUR) },
      remove(),
    ],
    ['nothing where it was used since', { ...warned, lastUsedAt: at(due - 30) }, { ...DELETING, now: at(due) }, null],
    [
      'another warning after that',
      { ...warned, lastUsedAt: at(due - 30) },
      { ...DELETING, now: at(due - 30 + 9 * HOUR) },
      warnOfDeletion(due - 30 + 10 * HOUR, 3600),
    ],
    [
      'its deletion at once where no warnings are wanted',
      STOPPED,
      { ...DELETING, now: at(due), deletionWarningMs: 0 },
      remove(),
    ],
    [
      'a warning after its own time',
      { ...STOPPED, autoDeleteSeconds: 7200 },
      { ...PRO, now: at(160) },
      warnOfDeletion(220, 3600),
    ],
    [
      "a guest's warning some time after the session",
      STOPPED,
      { ...guest, now: at(130 + 4 * HOUR) },
      warnOfDeletion(130 + 5 * HOUR, 3600, 'session_expired'),
    ],
    [
      "a guest's deletion",
      { ...STOPPED, deletionWarnedAt: at(130 + 4 * HOUR) },
      { ...guest, now: at(130 + 5 * HOUR) },
      remove('session_expired'),
    ],
    ['nothing where it is not known since when', { ...STOPPED, stoppedAt: null }, { ...DELETING, now: at(9999) }, null],
  ])('must be %s', (_what, row, policy, expected) => {
    expect(planExpiry(row, policy)).toEqual(expected);
  });
});
