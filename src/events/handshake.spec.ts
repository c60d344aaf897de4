import { afterOf, ConnectionRefused, tokenOf } from './events.gateway';

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
      expect(() => afterOf({ after })).toThrow(ConnectionRefused);
    }
  });
});
