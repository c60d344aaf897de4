import { Logger } from '@nestjs/common';
import { LocalSignals } from './signals';

describe('local signals', () => {
  const payload = { tokenId: 'a' };

  afterEach(() => jest.restoreAllMocks());

  it('must be delivered to every listener of that name before publish returns', () => {
    const signals = new LocalSignals();
    const told: string[] = [];
    signals.on('token_revoked', ({ tokenId }) => told.push(`first ${tokenId}`));
    signals.on('token_revoked', ({ tokenId }) => told.push(`second ${tokenId}`));
    signals.on('container_released', () => told.push('other'));
    signals.publish('token_revoked', payload);
    expect(told).toEqual(['first a', 'second a']);
  });

  it('must not be delivered to who has stopped listening', () => {
    const signals = new LocalSignals();
    const listener = jest.fn();
    const stop = signals.on('token_revoked', listener);
    signals.on('token_revoked', listener);
    stop();
    stop();
    signals.publish('token_revoked', payload);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('must reach the other listeners when one throws, and the publisher must not notice', () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation();
    const signals = new LocalSignals();
    const listener = jest.fn();
    signals.on('token_revoked', () => {
      throw new Error('broken listener');
    });
    signals.on('token_revoked', listener);
    signals.publish('token_revoked', payload);
    expect(listener).toHaveBeenCalledWith(payload);
    expect(logged).toHaveBeenCalledTimes(1);
  });

  it('must let a listener stop, and others start, during the call', () => {
    const signals = new LocalSignals();
    const late = jest.fn();
    const stop = signals.on('token_revoked', () => {
      stop();
      signals.on('token_revoked', late);
    });
    signals.publish('token_revoked', payload);
    expect(late).not.toHaveBeenCalled();
    signals.publish('token_revoked', payload);
    expect(late).toHaveBeenCalledTimes(1);
  });
});
