import { stat } from 'node:fs';
import type { EngineEvent } from '../../engine';
import { DeathHints } from './watcher';

const event = (action: EngineEvent['action'], seconds: number, exitCode: number | null = null): EngineEvent => ({
  engineId: 'a',
  containerId: 'id',
  action,
  exitCode,
  at: new Date(seconds * 1000),
});

async function told(...events: EngineEvent[]): Promise<unknown> {
  const hints = new DeathHints();
  for (const each of events) hints.take(each);
  return hints.of('a');
}

describe('what the event stream says of an end', () => {
  it('must be an out-of-memory kill where that came just before', async () => {
    expect(await told(event('oom', 0), event('die', 0.1, 137))).toEqual({ exitCode: 137, oom: true });
  });

  it('must not be one where a process of it was killed long ago and the container went on', async () => {
    expect(await told(event('oom', 0), event('die', 3600, 0))).toEqual({ exitCode: 0, oom: false });
  });

  it('must count an out-of-memory kill once', async () => {
    const again = [event('start', 1), event('die', 2, 1)];
    expect(await told(event('oom', 0), event('die', 0.1, 137), ...again)).toEqual({ exitCode: 1, oom: false });
  });

  it('must be an out-of-memory kill where that is told just after it, also if it runs again by then', async () => {
    const hints = new DeathHints();
    hints.take(event('die', 0.1, 137));
    const death = hints.of('a');
    hints.take(event('start', 0.2));
    hints.take(event('oom', 0));
    expect(await death).toEqual({ exitCode: 137, oom: true });
    hints.take(event('die', 1, 1));
    expect(await hints.of('a')).toEqual({ exitCode: 1, oom: false });
  });

  it('must be an out-of-memory kill where that is told just after it, while the process stands still', async () => {
    const hints = new DeathHints();
    hints.take(event('die', 0.1, 137));
    const death = hints.of('a');
    // Ready to be read, as Docker's event is, before the time is over.
    stat('/', () => hints.take(event('oom', 0)));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
    expect(await death).toEqual({ exitCode: 137, oom: true });
  });

  it('must not wait for that where somebody had it killed, or its exit code is another', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    try {
      expect(await told(event('kill', 0), event('die', 0.1, 137))).toEqual({ exitCode: 137, oom: false });
      expect(await told(event('die', 0.1, 1))).toEqual({ exitCode: 1, oom: false });
      const other = told(event('die', 0.1, 137));
      await jest.advanceTimersByTimeAsync(500);
      expect(await other).toEqual({ exitCode: 137, oom: false });
    } finally {
      jest.useRealTimers();
    }
  });

  it('must be nothing before an end, and after it was used', async () => {
    expect(await told(event('oom', 0), event('start', 1))).toBeNull();
    const hints = new DeathHints();
    hints.take(event('die', 0, 1));
    const death = await hints.of('a');
    hints.take(event('die', 1, 2));
    hints.used('a', death);
    expect(await hints.of('a')).toEqual({ exitCode: 2, oom: false });
    hints.used('a', await hints.of('a'));
    expect(await hints.of('a')).toBeNull();
  });
});
