import { DomainError } from '../errors';
import { afterOf } from './events.gateway';
import { ConnectionRefused, tokenOf } from './socket-admission';

describe('a handshake', () => {
  it('must give its token if that is text', () => {
    expect(tokenOf({ token: 'berth_1' })).toBe('berth_1');
    for (const auth of [undefined, null, 'berth_1', [], {}, { token: 1 }, { token: ['berth_1'] }]) {
      expect(tokenOf(auth)).toBeNull();
    }
  });

  it('must give `after` if it is a whole number from 0 on', () => {
    expect([afterOf({ after: 0 }), afterOf({ after: 41 }), afterOf({})]).toEqual([0, 41, undefined]);
    for (const after of [-1, 0.5, Number.NaN, '1', '', null, true, [], {}, 2 ** 53]) {
      expect(() => afterOf({ after })).toThrow(DomainError);
    }
  });

  it('must be refused with an error as everywhere, which says when to try again', () => {
    const limited = new DomainError('rate_limit_exceeded', { fields: { limit: 5 }, retryAfter: 7 });
    const error = 'rate limit exceeded';
    expect(new ConnectionRefused(limited).data).toEqual({
      error,
      code: 'rate_limit_exceeded',
      limit: 5,
      retry_after: 7,
    });
    expect(new ConnectionRefused(new DomainError('unauthorized')).data).toEqual({
      error: 'unauthorized',
      code: 'unauthorized',
    });
  });
});
