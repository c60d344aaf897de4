import { afterEnd, pauseBeforeProbeMs, type StartEnd } from './start-policy';

const exited = (exitCode: number): StartEnd => ({ reason: 'exited', exitCode });
const NOT_STARTED: StartEnd = { reason: 'command_not_started' };
const LOST: StartEnd = { reason: 'lost' };
const CONTAINER: StartEnd = { reason: 'container_stopped' };

describe('a start command that has ended', () => {
  it.each<[string, StartEnd, 'never' | 'on-failure', number, number, number | null, number]>([
    ['done', exited(0), 'on-failure', 3, 500, null, 0],
    ['done, never again anyway', exited(0), 'never', 0, 500, null, 0],
    ['ended by request', { reason: 'ended', exitCode: 143 }, 'on-failure', 3, 500, null, 0],
    ['failed', exited(1), 'on-failure', 0, 500, 1_000, 1],
    ['failed twice', exited(1), 'on-failure', 1, 500, 2_000, 2],
    ['failed six times', exited(137), 'on-failure', 5, 500, 32_000, 6],
    ['failed seven times', exited(1), 'on-failure', 6, 500, 60_000, 7],
    ['failed very often', exited(1), 'on-failure', 5_000, 500, 60_000, 5_001],
    ['failed after a long run', exited(1), 'on-failure', 6, 60_000, 1_000, 1],
    ['failed, never again', exited(1), 'never', 0, 500, null, 1],
    ['not there', NOT_STARTED, 'on-failure', 0, 0, 1_000, 1],
    ['not there for the fourth time', NOT_STARTED, 'on-failure', 3, 0, 8_000, 4],
    ['not there for the fifth time', NOT_STARTED, 'on-failure', 4, 0, null, 5],
    ['not there, never again', NOT_STARTED, 'never', 0, 0, null, 1],
    ['lost by Berth', LOST, 'on-failure', 2, 500, 1_000, 2],
    ['lost by Berth, never again of itself', LOST, 'never', 0, 500, 1_000, 0],
    ['ended with its container', CONTAINER, 'on-failure', 2, 500, 2_000, 2],
    ['ended with its container, never again of itself', CONTAINER, 'never', 0, 500, 2_000, 0],
  ])('must be run again as its policy says: %s', (_case, end, restart, failures, ranMs, dueInMs, after) => {
    expect(afterEnd(end, { restart, failures, ranMs })).toEqual({ dueInMs, failures: after });
  });
});

describe('whether a start command is ready', () => {
  it('must be looked at soon, and then less and less often', () => {
    expect([0, 2_000, 5_000, 20_000, 600_000].map(pauseBeforeProbeMs)).toEqual([200, 200, 500, 2_000, 2_000]);
  });
});
