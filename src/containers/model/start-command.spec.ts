import { type AskedStart, faultOfStart, startCommandOf } from './start-command';

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
