import type { ContainerRow } from '../model/container.entity';
import { startAfter } from './start-command-runs';

describe('what a change of a container means for its start command', () => {
  const start = { command: ['server'], restart: 'on-failure', ready: null } as const;
  const NOW = new Date();
  const row = (values: Partial<ContainerRow>): ContainerRow =>
    ({
      status: 'running',
      engineId: 'd1',
      runStartedAt: 't1',
      deletedAt: null,
      start,
      startRun: 'run',
      startDueAt: null,
      ...values,
    }) as ContainerRow;
  const stopped = row({ status: 'stopped', runStartedAt: null, startRun: null });

  it.each<[string, ContainerRow, Partial<ContainerRow>]>([
    ['a creation that ends', row({ status: 'creating', engineId: null, startRun: null }), { status: 'running' }],
    ['a start', stopped, { status: 'running' }],
    ['a replacement', row({}), { engineId: 'd2', runStartedAt: 't2' }],
    ['a start by Docker', row({}), { status: 'running', runStartedAt: 't2' }],
    ['another command', row({}), { start: { ...start, restart: 'never' } }],
    ['a first command', row({ start: null, startRun: null }), { start }],
  ])('must be another course, due now: %s', (_what, before, change) => {
    const after = startAfter(before, change, NOW);
    expect(after).toMatchObject({ startDueAt: NOW, startFailures: 0, startReady: null });
    expect(after.startRun).not.toBe(before.startRun);
  });

  it.each<[string, ContainerRow, Partial<ContainerRow>]>([
    ['a stop', row({}), { status: 'stopped', runStartedAt: null }],
    ['a deletion', row({}), { deletedAt: NOW }],
    ['no command any more', row({}), { start: null }],
  ])('must be the end of the course: %s', (_what, before, change) => {
    expect(startAfter(before, change, NOW)).toEqual({
      startRun: null,
      startDueAt: null,
      startFailures: 0,
      startReady: null,
    });
  });

  it.each<[string, ContainerRow, Partial<ContainerRow>]>([
    ['another name', row({}), { name: 'x' }],
    ['the first look at our own start', row({ runStartedAt: null }), { runStartedAt: 't1' }],
    ['the same command', row({}), { start: { ...start } }],
    ['another command while it is stopped', stopped, { start: { ...start, restart: 'never' } }],
    ['a pause', row({}), { status: 'paused' }],
    ['the end of a pause', row({ status: 'paused' }), { status: 'running' }],
    ['a container without one', row({ start: null, startRun: null }), { status: 'stopped' }],
  ])('must be nothing: %s', (_what, before, change) => {
    expect(startAfter(before, change, NOW)).toEqual({});
  });
});
