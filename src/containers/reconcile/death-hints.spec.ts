import type { EngineEvent } from '../../docker';
import { DeathHints } from './watcher';

const event = (action: EngineEvent['action'], seconds: number, exitCode: number | null = null): EngineEvent => ({
  dockerId: 'a',
  containerId: 'id',
  action,
  exitCode,
  at: new Date(seconds * 1000),
});

function cleanup(...events: EngineEvent[]): unknown {
  const hints = new DeathHints();
  for (const each of events) hints.take(each);
  return hints.of('a');
}

describe('what the event stream says of an end', () => {
  it('must be an out-of-memory kill where that came just before', () => {
    expect(cleanup(event('oom', 0), event('die', 0.1, 137))).toEqual({ exitCode: 137, oom: true });
  });

  it('must not be one where a process of it was killed long ago and the container went on', () => {
    expect(cleanup(event('oom', 0), event('die', 3600, 0))).toEqual({ exitCode: 0, oom: false });
  });

  it('must count an out-of-memory kill once', () => {
    const again = [event('start', 1), event('die', 2, 1)];
    expect(cleanup(event('oom', 0), event('die', 0.1, 137), ...again)).toEqual({ exitCode: 1, oom: false });
  });

  it('must be nothing before an end, and after it was used', () => {
    expect(cleanup(event('oom', 0), event('start', 1))).toBeNull();
    const hints = new DeathHints();
    hints.take(event('die', 0, 1));
    hints.used('a');
    expect(hints.of('a')).toBeNull();
  });
});
