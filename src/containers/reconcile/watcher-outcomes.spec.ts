import type { EngineEvent } from '../../docker';
import { isOutcome } from './watcher';

const reported = (action: EngineEvent['action'], dockerId = 'a') => ({ action, dockerId });
const running = { dockerId: 'a', status: 'running', runStartedAt: '2026-01-01T00:00:00Z' } as const;
const stopped = { dockerId: 'a', status: 'stopped', runStartedAt: null } as const;

describe('what Docker reports during an operation', () => {
  it.each([
    ['a start of what was seen running', reported('start'), running],
    ['an end of what was stopped', reported('die'), stopped],
  ])('must be its own outcome where it is %s', (_what, seen, row) => {
    expect(isOutcome(seen, row)).toBe(true);
  });

  it.each([
    ['an end of what runs', reported('die'), running],
    ['a start of what was stopped', reported('start'), stopped],
    ['a start that nobody has looked at', reported('start'), { ...running, runStartedAt: null }],
    ["another container's", reported('start', 'b'), running],
    ['a pause', reported('pause'), running],
    ['several things', 'several' as const, running],
  ])('must be looked at where it is %s', (_what, seen, row) => {
    expect(isOutcome(seen, row)).toBe(false);
  });
});
