import { ipv4Networks, isNetwork, isService, Networks } from './config';

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

  it.each(['10.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/128', 'loopback', 'private'])('must be written as %s', (text) =>
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

  it('must hold private networks under their one name', () => {
    const networks = new Networks(['private']);
    for (const address of ['10.9.9.9', '172.31.0.1', '192.168.0.1', '100.127.0.1', 'fd00::1']) {
      expect(networks.includes(address)).toBe(true);
    }
    for (const address of ['172.32.0.1', '100.128.0.1', '127.0.0.1', 'fe80::1']) {
      expect(networks.includes(address)).toBe(false);
    }
  });

  it.each([
    [['10.1.2.3/8'], ['10.0.0.0/8']],
    [['192.0.2.7'], ['192.0.2.7/32']],
    [
      ['198.51.100.255/25', '203.0.113.129/31'],
      ['198.51.100.128/25', '203.0.113.128/31'],
    ],
    [['255.255.255.255/1'], ['128.0.0.0/1']],
    [['2001:db8::/32', '10.0.0.0/8', '10.0.0.1/8'], ['10.0.0.0/8']],
    [['private'], ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']],
    [[], []],
  ])('%j must be %j for a firewall of IPv4', (written, canonical) => {
    expect(ipv4Networks(written)).toEqual(canonical);
  });

  it.each(['192.0.2.7:3128', '10.0.0.1:1', '10.0.0.1:65535'])('a service must be written as %s', (text) => {
    expect(isService(text)).toBe(true);
  });

  it.each(['', '192.0.2.7', '192.0.2.7:', '192.0.2.7:0', '192.0.2.7:65536', '192.0.2.0/24:80', '[::1]:80', 'proxy:80'])(
    'a service must not be written as "%s"',
    (text) => expect(isService(text)).toBe(false),
  );
});
