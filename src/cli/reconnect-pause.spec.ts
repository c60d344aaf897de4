import { ReconnectPause } from './agent-link';

const pauses = (pause: ReconnectPause, count: number) => Array.from({ length: count }, () => pause.next());

describe('the pause before an agent tries again', () => {
  it('must double up to half a minute, for ever, and begin again after a success', () => {
    const pause = new ReconnectPause(() => 1);
    expect(pauses(pause, 7)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(pauses(pause, 5_000).at(-1)).toBe(30_000);
    pause.reset();
    expect(pause.next()).toBe(1_000);
  });

  it('must differ from one agent to the next, by half at most', () => {
    expect(pauses(new ReconnectPause(() => 0), 3)).toEqual([500, 1_000, 2_000]);
    expect(pauses(new ReconnectPause(() => 0.5), 3)).toEqual([750, 1_500, 3_000]);
  });
});
