import { canonicalPolicy, excessOf, faultOfPolicy, type NetworkPolicy, parseAllowed } from './network-policy';

describe('an entry of an allow list', () => {
  it.each([
    ['10.1.2.3/32:443', { address: '10.1.2.3', prefix: 32, port: 443, protocol: 'tcp' }],
    ['203.0.113.0/24:8000/tcp', { address: '203.0.113.0', prefix: 24, port: 8000, protocol: 'tcp' }],
    ['198.51.100.7:53/udp', { address: '198.51.100.7', prefix: 32, port: 53, protocol: 'udp' }],
    ['0.0.0.0/0:65535', { address: '0.0.0.0', prefix: 0, port: 65_535, protocol: 'tcp' }],
    ['203.0.113.9:*', { address: '203.0.113.9', prefix: 32, port: null, protocol: null }],
  ])('must be %s', (text, meaning) => expect(parseAllowed(text)).toEqual(meaning));

  it.each([
    '',
    '10.1.2.3',
    '10.1.2.3/32',
    '10.1.2.3:0',
    '10.1.2.3:65536',
    '10.1.2.3:443/sctp',
    '10.1.2.3/33:443',
    '10.1.2:443',
    '256.1.2.3:443',
    '010.1.2.3:443',
    '[2001:db8::1]:443',
    'example.org:443',
    '10.1.2.3:443 -j ACCEPT',
    '10.1.2.3:443\n',
    ' 10.1.2.3:443',
    '10.1.2.3:1-9',
    '10.1.2.3:*/udp',
    '10.1.2.3:**',
    '１０.1.2.3:443',
  ])('must not be %p', (text) => expect(parseAllowed(text)).toContain('is not an IPv4 address or network with a port'));

  it('must not be widened where bits are left behind its prefix', () => {
    expect(parseAllowed('10.1.2.3/8:443')).toBe(
      '"10.1.2.3/8:443" has bits after its prefix: use 10.0.0.0/8 for the network',
    );
  });
});

describe('a network policy', () => {
  it.each<[unknown]>([['internet'], ['none'], [{ allow: ['10.1.2.3:443'] }]])('must be %j', (value) =>
    expect(faultOfPolicy(value)).toBeNull(),
  );

  it.each<[unknown, RegExp]>([
    ['lan', /^must be "internet", "none"/],
    [null, /^must be/],
    [['10.1.2.3:443'], /^must be/],
    [{}, /^must be/],
    [{ allow: [] }, /1 to 32/],
    [{ allow: '10.1.2.3:443' }, /^must be/],
    [{ allow: [5] }, /^must be/],
    [{ allow: ['10.1.2.3:443'], deny: [] }, /^must be/],
    [{ allow: Array.from({ length: 33 }, () => '10.1.2.3:443') }, /1 to 32/],
    [{ allow: ['10.1.2.3:443', '10.0.0.1/8:1'] }, /bits after its prefix/],
  ])('must not be %j', (value, words) => expect(faultOfPolicy(value)).toMatch(words));

  it('must have one form for what means the same', () => {
    const allow = ['203.0.113.0/24:8000/udp', '9.9.9.9:53', '203.0.113.0/24:8000', '9.9.9.9/32:53/tcp'];
    expect(canonicalPolicy({ allow })).toEqual({
      allow: ['9.9.9.9/32:53', '203.0.113.0/24:8000', '203.0.113.0/24:8000/udp'],
    });
    expect(canonicalPolicy('none')).toBe('none');
  });

  const list = (...allow: string[]): NetworkPolicy => ({ allow });
  it.each<[NetworkPolicy, NetworkPolicy, boolean]>([
    ['internet', 'internet', true],
    ['internet', 'none', true],
    ['internet', list('0.0.0.0/0:443'), true],
    ['none', 'none', true],
    ['none', 'internet', false],
    ['none', list('10.1.2.3:443'), false],
    [list('10.0.0.0/8:443'), 'none', true],
    [list('10.0.0.0/8:443'), 'internet', false],
    [list('10.0.0.0/8:443'), list('10.0.0.0/8:443'), true],
    [list('10.0.0.0/8:443', '192.0.2.0/24:80'), list('192.0.2.7:80', '10.1.0.0/16:443'), true],
    [list('10.0.0.0/8:443'), list('10.1.2.3:444'), false],
    [list('10.0.0.0/8:*'), list('10.1.2.3:*', '10.1.2.3:53/udp'), true],
    [list('10.0.0.0/8:443'), list('10.1.2.3:*'), false],
    [list('10.0.0.0/8:443'), list('10.1.2.3:443/udp'), false],
    [list('10.0.0.0/8:443'), list('11.1.2.3:443'), false],
    [list('10.0.0.0/8:443'), list('10.1.2.3:443', '0.0.0.0/0:443'), false],
    [list('10.0.0.0/9:443', '10.128.0.0/9:443'), list('10.0.0.0/8:443'), false],
    [list('0.0.0.0/0:443'), list('10.1.2.3:443'), true],
  ])('bounded by %j must be %j: %p', (bound, policy, isWithin) =>
    expect(excessOf(policy, bound) === null).toBe(isWithin),
  );
});
