import { addressKey } from '../http';
import { tokenKey } from './rate-counters';

describe('what callers are counted by', () => {
  it('must keep tokens apart without holding them', () => {
    const token = `berth_${'ab'.repeat(32)}`;
    expect(tokenKey(token)).toBe(tokenKey(token));
    expect(tokenKey(token)).not.toBe(tokenKey(`${token}x`));
    expect(tokenKey(token)).not.toContain('abab');
  });

  it('must take a whole IPv6 network for one caller, and IPv4 in IPv6’s clothes for IPv4', () => {
    expect(addressKey('2001:db8:1:2:3:4:5:6')).toBe(addressKey('2001:db8:1:2:ffff::1'));
    expect(addressKey('2001:db8:1:2::1')).not.toBe(addressKey('2001:db8:1:3::1'));
    expect(addressKey('::ffff:192.0.2.1')).toBe(addressKey('192.0.2.1'));
    expect(addressKey('192.0.2.1')).not.toBe(addressKey('192.0.2.2'));
  });

  it.each([undefined, '', 'unknown', 'fe80::1%eth0', '192.0.2.1:8080', 'x'.repeat(10_000)])(
    'must have something short for %p',
    (address) => {
      expect(addressKey(address).length).toBeGreaterThan(0);
      expect(addressKey(address).length).toBeLessThanOrEqual(64);
    },
  );
});
