import { DomainError } from '../errors';
import { grantedScopes } from './granted-scopes';
import { effectiveScopes, holdsScope, RouteScope, Scope } from './principal';

const TABLE: [Scope[], RouteScope[]][] = [
  [[], []],
  [['read'], ['read']],
  [['write'], ['write']],
  [
    ['read', 'write'],
    ['read', 'write'],
  ],
  [['admin'], ['read', 'write', 'admin']],
  [['agent'], []],
  [['agent', 'read', 'admin'], []],
];

describe('scopes', () => {
  it.each(TABLE)('%j must open what asks for %j, and nothing else', (scopes, opened) => {
    const asked: RouteScope[] = ['read', 'write', 'admin'];
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
    [['admin'], ['read', 'write']],
  ])('must by default be read and write as far as %j holds them', (own, granted) => {
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
  ])('must not exceed its own: %j asks for %j', (own, asked) => {
    expect(() => grantedScopes({ own, asked })).toThrow(new DomainError('insufficient_permissions'));
  });

  it('must be what it asks for where it may', () => {
    expect(grantedScopes({ own: ['admin'], asked: ['read', 'admin'] })).toEqual(['read', 'admin']);
  });
});
