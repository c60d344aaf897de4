import type { Logger } from 'pino';
import type { ContainerEngine, EngineEvent } from '../../engine';
import { LocalSignals } from '../../signals';
import type { ContainerRow } from '../model/container.entity';
import type { ContainerRepository } from '../rows/container.repository';
import type { RunPolicies } from '../policies/run-policy';
import { ContainerWatcher, isOutcome } from './watcher';

const reported = (action: EngineEvent['action'], engineId = 'a') => ({ action, engineId });
const running = { engineId: 'a', status: 'running', runStartedAt: '2026-01-01T00:00:00Z' } as const;
const stopped = { engineId: 'a', status: 'stopped', runStartedAt: null } as const;
const paused = { ...running, status: 'paused' } as const;

describe('what Docker reports during an operation', () => {
  it.each([
    ['a start of what was seen running', reported('start'), running],
    ['an end of what was stopped', reported('die'), stopped],
    ['a pause of what was paused', reported('pause'), paused],
    ['a resumption of what was resumed', reported('unpause'), running],
  ])('must be its own outcome where it is %s', (_what, seen, row) => {
    expect(isOutcome(seen, row)).toBe(true);
  });

  it.each([
    ['an end of what runs', reported('die'), running],
    ['a start of what was stopped', reported('start'), stopped],
    ['a start that nobody has looked at', reported('start'), { ...running, runStartedAt: null }],
    ["another container's", reported('start', 'b'), running],
    ['a pause of what runs', reported('pause'), running],
    ['a resumption of what was paused', reported('unpause'), paused],
    ['several things', 'several' as const, running],
  ])('must be looked at where it is %s', (_what, seen, row) => {
    expect(isOutcome(seen, row)).toBe(false);
  });

  it('must not be looked at where the row was read before the operation ended, and is its outcome', async () => {
    const signals = new LocalSignals();
    const inspect = jest.fn();
    const leased: Partial<ContainerRow> = { ...running, status: 'creating', operation: 'create' };
    const findById = jest.fn<Promise<Partial<ContainerRow>>, []>().mockResolvedValue({ ...running, operation: null });
    findById.mockImplementationOnce(() => {
      signals.publish('container_released', { containerId: 'c' });
      return Promise.resolve(leased);
    });
    const engine = { containers: { inspect } } as unknown as ContainerEngine;
    const repository = { findById } as unknown as ContainerRepository;
    const watcher = new ContainerWatcher(engine, repository, {} as RunPolicies, signals, {} as Logger);
    await watcher.hint({ ...reported('start'), containerId: 'c', exitCode: null, at: new Date() });
    expect([findById.mock.calls.length, inspect.mock.calls.length]).toEqual([2, 0]);
  });
});
