import type { ContainerStatus } from '../model/container.entity';
import { newRun, NO_RUN, resumedRun, Run, runEnd, RunPolicy } from './run-policy';

const HOUR = 3_600_000;
const at = (hours: number): Date => new Date(hours * HOUR);

const PRO: RunPolicy = {
  now: at(10),
  userDeleted: false,
  suspended: false,
  sessionEnd: null,
  runMs: null,
  idleMs: null,
  idleAction: 'stop',
  deleteMs: null,
  guestDeleteMs: null,
  stopWarningMs: 0,
  deletionWarningMs: 0,
};
const GUEST: RunPolicy = { ...PRO, sessionEnd: at(50) };
const FREE: RunPolicy = { ...PRO, runMs: 50 * HOUR };

describe('a run that begins', () => {
  it.each([
    ['a guest', GUEST, at(50)],
    ['a guest whose session is over', { ...GUEST, now: at(60) }, at(50)],
    ['a user whose tier limits each run', FREE, at(60)],
    ['a user whose tier limits nothing', PRO, null],
  ])('must end, of %s, when that says so', (_who, policy, expected) => {
    const run = { runSince: policy.now, expiresAt: expected, expiryWarnedAt: null };
    expect(newRun({ lifetimeSeconds: null }, policy)).toEqual({ ...run, endsAt: null });
    expect(newRun({ lifetimeSeconds: 3600 }, policy)).toMatchObject({ endsAt: new Date(policy.now.getTime() + HOUR) });
  });

  it('must end with the session also where it counts since long ago', () => {
    expect(runEnd(GUEST, at(0))).toEqual(at(50));
    expect(runEnd(FREE, at(0))).toEqual(at(50));
  });
});

describe('the run of a container that is recreated', () => {
  const since: Run = { runSince: at(2), expiresAt: at(52), expiryWarnedAt: at(9), endsAt: at(11) };

  it.each<[string, ContainerStatus, string | null, Run, RunPolicy, 'goes on' | 'is new']>([
    ['vanished unseen', 'running', null, since, FREE, 'goes on'],
    ['vanished', 'stopped', 'missing', since, FREE, 'goes on'],
    ['vanished, of a tier without limits', 'stopped', 'missing', { ...since, expiresAt: null }, PRO, 'goes on'],
    ['vanished until after its end', 'stopped', 'missing', { ...since, expiresAt: at(10) }, FREE, 'is new'],
    ['vanished until after its lifetime', 'stopped', 'missing', { ...since, endsAt: at(10) }, FREE, 'is new'],
    ['was stopped and then removed', 'stopped', null, since, FREE, 'is new'],
    ['ended by itself and was then removed', 'stopped', 'exited', since, FREE, 'is new'],
    ['never ran', 'error', null, NO_RUN, FREE, 'is new'],
  ])('and %s (%s, %s) must be what follows from that', (_what, status, statusReason, run, policy, expected) => {
    const found = resumedRun({ status, statusReason, lifetimeSeconds: 7200, ...run }, policy);
    expect(found).toEqual(expected === 'goes on' ? run : newRun({ lifetimeSeconds: 7200 }, policy));
  });

  it('begins its lifetime now if it did not count, as that of a paused container', () => {
    const run = { ...since, endsAt: null, status: 'stopped', statusReason: 'missing', lifetimeSeconds: 3600 } as const;
    expect(resumedRun(run, FREE)).toEqual({ ...since, endsAt: at(11) });
  });
});
