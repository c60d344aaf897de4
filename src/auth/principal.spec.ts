import { DomainError } from '../errors';
import { effectiveScopes, grantedEnd, grantedScopes, holdsScope, RouteScope, Scope } from './principal';

const TABLE: [Scope[], RouteScope[]][] = [
  [[], []],
  [['read'], ['read']],
  [['write'], ['write']],
  [
    ['read', 'write'],
    ['read', 'write'],
  ],
  [['admin'], ['read', 'write', 'admin']],
  [['exec'], ['exec']],
  [
    ['exec', 'admin'],
    ['read', 'write', 'exec', 'admin'],
  ],
  [['agent'], []],
  [['agent', 'read', 'admin'], []],
];

describe('scopes', () => {
  it.each(TABLE)('%j must open what asks for %j, and nothing else', (scopes, opened) => {
    const asked: RouteScope[] = ['read', 'write', 'exec', 'admin'];
    expect(asked.filter((scope) => holdsScope({ scopes }, scope))).toEqual(opened);
    expect([...effectiveScopes(scopes)].sort()).toEqual([...opened].sort());
  });
});

describe('the scopes of a token that another token asks for', () => {
  it.each<[Scope[], RouteScope[]]>([
    [['write'], ['write']],
    [
      ['read', 'write'],
      ['read', 'write'],
    ],
    [
      ['read', 'write', 'exec'],
      ['read', 'write', 'exec'],
    ],
    [['admin'], ['read', 'write']],
    [
      ['exec', 'admin'],
      ['read', 'write', 'exec'],
    ],
  ])('must by default be read, write and exec as far as %j holds them', (own, granted) => {
    expect(grantedScopes({ own, asked: undefined })).toEqual(granted);
  });

  it.each<[Scope[], RouteScope[]]>([
    [['write'], ['read']],
    [['read', 'write'], ['admin']],
    [
      ['read', 'write'],
      ['read', 'admin'],
    ],
    [['agent'], ['read']],
    [['admin'], ['exec']],
    [['read', 'write'], ['exec']],
  ])('must not exceed its own: %j asks for %j', (own, asked) => {
    expect(() => grantedScopes({ own, asked })).toThrow(new DomainError('insufficient_permissions'));
  });

  it('must be what it asks for where it may', () => {
    expect(grantedScopes({ own: ['admin'], asked: ['read', 'admin'] })).toEqual(['read', 'admin']);
  });
});

describe('the end of a token that another token asks for', () => {
  const now = new Date('2026-01-01T00:00:00Z');
  const after = (days: number): Date => new Date(now.getTime() + days * 24 * 3_600_000);

  it.each<[string, Date | null, number | null | undefined, Date | null]>([
    ['none', null, undefined, null],
    ['none', null, null, null],
    ['what it asks for', null, 30, after(30)],
    ['what it asks for', after(30), 7, after(7)],
    ['what it asks for', after(30), 30, after(30)],
    ['that of the one that asks', after(30), undefined, after(30)],
    ['that of the one that asks', after(0.1), null, after(0.1)],
  ])('must be %s: own %p, asked %p days', (_what, own, days, end) => {
    expect(grantedEnd({ own, days, now })).toEqual(end);
  });

  it('must not be later than that of the one that asks', () => {
    expect(() => grantedEnd({ own: after(30), days: 31, now })).toThrow(new DomainError('invalid_parameters'));
  });
});
