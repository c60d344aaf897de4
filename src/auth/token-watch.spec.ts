import { Clock } from '../scheduling';
import { LocalSignals } from '../signals';
import { TokenService } from './token.service';
import { TokenWatch } from './token-watch';

const DAY = 24 * 3_600_000;

describe('the watch over tokens in use', () => {
  let signals: LocalSignals;
  let valid: Set<string>;
  let watch: TokenWatch;

  beforeEach(() => {
    jest.useFakeTimers();
    signals = new LocalSignals();
    valid = new Set();
    const service: Pick<TokenService, 'stillValid'> = { stillValid: () => Promise.resolve(valid) };
    watch = new TokenWatch(service as TokenService, new Clock(), signals);
  });

  afterEach(() => {
    watch.onApplicationShutdown();
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  const expiring = (tokenId: string, expiresAt: Date | null = null) => {
    const onEnd = jest.fn();
    return { onEnd, stop: watch.watch({ tokenId, expiresAt, onEnd }) };
  };

  it('must report the end at the time of expiry, also when that is further away than a timer can be set', () => {
    const { onEnd } = expiring('t', new Date(Date.now() + 100 * DAY));
    jest.advanceTimersByTime(100 * DAY - 1);
    expect(onEnd).not.toHaveBeenCalled();
    jest.advanceTimersByTime(1);
    jest.advanceTimersByTime(100 * DAY);
    expect(onEnd).toHaveBeenCalledTimes(1);
  });

  it('must notify everyone who uses the token, once, when it is revoked', () => {
    const users = [expiring('t'), expiring('t', new Date(Date.now() + DAY)), expiring('other')];
    signals.publish('token_revoked', { tokenId: 't' });
    signals.publish('token_revoked', { tokenId: 't' });
    expect(users.map(({ onEnd }) => onEnd.mock.calls.length)).toEqual([1, 1, 0]);
  });

  it('must notify at once who comes with a token that was revoked just now', () => {
    signals.publish('token_revoked', { tokenId: 't' });
    expect(expiring('t').onEnd).toHaveBeenCalledTimes(1);
  });

  it('must find revocations of which no signal came', async () => {
    const [gone, stays] = [expiring('gone'), expiring('stays')];
    valid.add('stays');
    await watch.recheck();
    expect([gone.onEnd.mock.calls.length, stays.onEnd.mock.calls.length]).toEqual([1, 0]);
  });

  it('must not end what a failing database cannot answer for', async () => {
    watch.onApplicationShutdown();
    const service: Pick<TokenService, 'stillValid'> = { stillValid: () => Promise.reject(new Error('no database')) };
    watch = new TokenWatch(service as TokenService, new Clock(), signals);
    const { onEnd } = expiring('t');
    await expect(watch.recheck()).rejects.toThrow('no database');
    expect(onEnd).not.toHaveBeenCalled();
  });

  it('must notify nobody who has stopped, and keep no timer for nobody', () => {
    const [set, cleared] = [jest.spyOn(globalThis, 'setTimeout'), jest.spyOn(globalThis, 'clearTimeout')];
    const { onEnd, stop } = expiring('t', new Date(Date.now() + DAY));
    stop();
    stop();
    expect(set).toHaveBeenCalledTimes(1);
    expect(cleared).toHaveBeenCalledWith(set.mock.results[0]?.value);
    jest.advanceTimersByTime(2 * DAY);
    expect(onEnd).not.toHaveBeenCalled();
  });
});
