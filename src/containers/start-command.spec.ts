import type { ContainerRow } from './container.entity';
import { type AskedStart, faultOfStart, startAfter, startCommandOf } from './start-command';

describe('a start command from outside', () => {
  const command = ['node', 'server.js'];

  it.each<[string, AskedStart, object]>([
    ['a command alone', { command }, { command, restart: 'on-failure', ready: null }],
    ['null for no condition', { command, restart: 'never', ready: null }, { command, restart: 'never', ready: null }],
    ['a port', { command, ready: { port: 80 } }, { ready: { port: 80, within_seconds: 60 } }],
    [
      'a command that says so',
      { command, ready: { command: ['curl', '-f', 'x'], within_seconds: 3600 } },
      { ready: { command: ['curl', '-f', 'x'], within_seconds: 3600 } },
    ],
    ['many and empty arguments', { command: ['a', ...Array.from({ length: 255 }, () => '')] }, {}],
    ['as many bytes as may be', { command: ['é'.repeat(8 * 1024)] }, {}],
  ])('must be kept whole: %s', (_what, asked, kept) => {
    expect(faultOfStart(asked)).toBeNull();
    expect(startCommandOf(asked)).toMatchObject(kept);
  });

  it.each<[string, unknown, string]>([
    ['text', 'node server.js', 'start must be an object'],
    ['a list', command, 'start must be an object'],
    ['nothing', {}, 'start.command'],
    ['an empty command', { command: [] }, 'start.command'],
    ['an empty program', { command: ['', 'x'] }, 'start.command'],
    ['a number for an argument', { command: ['sleep', 1] }, 'start.command'],
    ['a NUL', { command: ['a', 'b\0c'] }, 'start.command'],
    ['257 items', { command: Array.from({ length: 257 }, () => 'a') }, 'start.command'],
    ['more than 16 KiB', { command: [`é${'x'.repeat(16 * 1024 - 1)}`] }, 'start.command must have at most 16 KiB'],
    ['another restart', { command, restart: 'always' }, 'start.restart'],
    ['null for a restart', { command, restart: null }, 'start.restart'],
    ['a field that there is not', { command, cwd: '/' }, 'start has no field "cwd"'],
    ['a condition that is a port', { command, ready: 80 }, 'start.ready must be an object'],
    ['no condition', { command, ready: {} }, 'start.ready must have either'],
    ['two conditions', { command, ready: { port: 80, command } }, 'start.ready must have either'],
    ['port 0', { command, ready: { port: 0 } }, 'start.ready.port'],
    ['port 65536', { command, ready: { port: 65_536 } }, 'start.ready.port'],
    ['half a port', { command, ready: { port: 80.5 } }, 'start.ready.port'],
    ['a port as text', { command, ready: { port: '80' } }, 'start.ready.port'],
    ['no time', { command, ready: { port: 80, within_seconds: 0 } }, 'start.ready.within_seconds'],
    ['too long a time', { command, ready: { port: 80, within_seconds: 3601 } }, 'start.ready.within_seconds'],
    ['no command to ask', { command, ready: { command: [] } }, 'start.ready.command'],
    ['a path of the condition', { command, ready: { path: '/' } }, 'start.ready has no field "path"'],
  ])('must be refused by the name of what is wrong: %s', (_what, value, fault) => {
    expect(faultOfStart(value)).toContain(fault);
  });
});

describe('what a change of a container means for its start command', () => {
  const start = { command: ['server'], restart: 'on-failure', ready: null } as const;
  const NOW = new Date();
  const row = (values: Partial<ContainerRow>): ContainerRow =>
    ({
      status: 'running',
      dockerId: 'd1',
      runStartedAt: 't1',
      deletedAt: null,
      start,
      startRun: 'run',
      startDueAt: null,
      ...values,
    }) as ContainerRow;
  const stopped = row({ status: 'stopped', runStartedAt: null, startRun: null });

  it.each<[string, ContainerRow, Partial<ContainerRow>]>([
    ['a creation that ends', row({ status: 'creating', dockerId: null, startRun: null }), { status: 'running' }],
    ['a start', stopped, { status: 'running' }],
    ['a replacement', row({}), { dockerId: 'd2', runStartedAt: 't2' }],
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
    ['a container without one', row({ start: null, startRun: null }), { status: 'stopped' }],
  ])('must be nothing: %s', (_what, before, change) => {
    expect(startAfter(before, change, NOW)).toEqual({});
  });
});
