import { Clock, Stopwatch } from './clock';

const HOUR_MS = 3_600_000;

describe('the clock', () => {
  beforeEach(() => jest.useFakeTimers({ now: Date.UTC(2026, 0, 1) }));
  afterEach(() => jest.useRealTimers());

  const shown = (clock: Clock): number => clock.now().getTime();

  it("must be this machine's until it follows another", () => {
    expect(shown(new Clock())).toBe(Date.now());
  });

  it('must follow another whatever becomes of this machine’s', () => {
    const clock = new Clock();
    const theirs = Date.now() - HOUR_MS;
    clock.follow(theirs, new Stopwatch());
    expect(shown(clock)).toBe(theirs);
    jest.advanceTimersByTime(1_500);
    jest.setSystemTime(Date.now() + 24 * HOUR_MS);
    expect(shown(clock)).toBe(theirs + 1_500);
  });

  it('must not step by what an answer was late, and step where that does not explain the difference', () => {
    const clock = new Clock();
    const theirs = Date.now();
    clock.follow(theirs, new Stopwatch());
    const askedAt = new Stopwatch();
    jest.advanceTimersByTime(200);
    clock.follow(theirs + 10, askedAt);
    expect(shown(clock)).toBe(theirs + 200);
    clock.follow(theirs + 5_000, new Stopwatch());
    expect(shown(clock)).toBe(theirs + 5_000);
  });
});
