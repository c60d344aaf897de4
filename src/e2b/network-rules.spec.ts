import { networkOf, portsOf } from './network-rules';

const ALL = '0.0.0.0/0';

describe("the network of E2B's settings", () => {
  it.each([
    [{}, undefined],
    [{ allow_internet_access: true }, 'internet'],
    [{ allow_internet_access: false }, 'none'],
    [{ denyOut: [ALL] }, 'none'],
    [{ denyOut: [ALL], allowOut: [ALL] }, 'internet'],
    [{ allowOut: ['1.1.1.1'] }, 'internet'],
    [{ denyOut: [ALL], allowOut: ['1.1.1.1', '10.0.0.0/8'] }, { allow: ['1.1.1.1/32:*', '10.0.0.0/8:*'] }],
    [{ allow_internet_access: false, allowOut: ['1.1.1.1'] }, { allow: ['1.1.1.1/32:*'] }],
    [{ denyOut: ['128.0.0.0/1'] }, { allow: ['0.0.0.0/1:*'] }],
    [{ denyOut: ['0.0.0.0/2', '128.0.0.0/1'] }, { allow: ['64.0.0.0/2:*'] }],
    [{ denyOut: ['128.0.0.0/1'], allowOut: ['192.0.2.9'] }, { allow: ['0.0.0.0/1:*', '192.0.2.9/32:*'] }],
  ])('makes of %j %j', (asked, policy) => expect(networkOf(asked)).toEqual(policy));

  it('allows all but a denied address', () => {
    const policy = networkOf({ denyOut: ['8.8.8.8'] });
    const { allow } = policy as { allow: string[] };
    expect(allow).toHaveLength(32);
    expect(allow).toEqual(expect.arrayContaining(['8.8.8.9/32:*', '8.8.8.10/31:*', '128.0.0.0/1:*']));
  });

  it('leaves ports as the server has them unless it says otherwise', () => {
    expect(portsOf({}, false)).toEqual({ isPublic: false, requestHost: null });
    expect(portsOf({}, true)).toEqual({ isPublic: true, requestHost: null });
    expect(portsOf({ allowPublicTraffic: false }, true)).toEqual({ isPublic: false, requestHost: null });
    const asked = { allowPublicTraffic: true, maskRequestHost: 'app.test:${PORT}' };
    expect(portsOf(asked, false)).toEqual({ isPublic: true, requestHost: 'app.test:${PORT}' });
    expect(() => portsOf({ maskRequestHost: 'a\r\nb' }, false)).toThrow(/network.maskRequestHost/);
  });

  it.each([
    [{ allowOut: ['example.org'] }, /network.allowOut: must have IPv4/],
    [{ denyOut: ['1.1.1'] }, /network.denyOut: must have IPv4/],
    [{ denyOut: ['::1'] }, /network.denyOut: must have IPv4/],
    [{ denyOut: ['8.8.8.8', '1.1.1.1'] }, /more than 32 rules/],
    [{ denyOut: Array.from({ length: 33 }, () => '8.8.8.8') }, /at most 32 entries/],
    [{ rules: {} }, /network.rules/],
  ])('refuses %j', (asked, words) => expect(() => networkOf(asked)).toThrow(words));
});
