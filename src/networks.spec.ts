import { isNetwork, Networks } from './networks';

describe('networks', () => {
  const networks = new Networks(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', 'loopback']);

  it.each(['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', '2001:db8:1::1', '127.0.0.1', '127.9.9.9', '::1'])(
    'must hold %s',
    (address) => expect(networks.includes(address)).toBe(true),
  );

  it.each(['11.0.0.1', '192.0.2.8', '2001:db9::1', '::ffff:11.0.0.1', '', 'unknown', '10.1.2.3:80', '10.1.2'])(
    'must not hold "%s"',
    (address) => expect(networks.includes(address)).toBe(false),
  );

  it('must hold nobody if there is none', () => {
    expect(new Networks([]).includes('127.0.0.1')).toBe(false);
  });

  it.each(['10.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/128', 'loopback'])('must be written as %s', (text) =>
    expect(isNetwork(text)).toBe(true),
  );

  it.each([
    '',
    'proxy',
    '10.0.0',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '0.0.0.0/0',
    '::/0',
    '::/129',
    'fe80::1%eth0',
  ])('must not be written as "%s"', (text) => {
    expect(isNetwork(text)).toBe(false);
    expect(() => new Networks([text])).toThrow();
  });
});
