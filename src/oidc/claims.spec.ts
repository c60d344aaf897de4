import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../config';
import { admissionOf, type ClaimRules, type Claims, loadClaimRules } from './claims';

const TIERS = ['guest', 'free', 'pro'];

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-claims-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function rulesOf(json: unknown): ClaimRules {
  const file = join(folder, 'claims.json');
  writeFileSync(file, JSON.stringify(json));
  return loadClaimRules(file, TIERS);
}

describe('the rules for claims', () => {
  it('must let everyone in, in the tier free, where there are none', () => {
    const admission = admissionOf({ sub: '1', email: 'zoe@example.com' }, loadClaimRules(undefined, TIERS));
    expect(admission).toEqual({ username: 'zoe@example.com', tier: 'free', isAdmin: false });
  });

  it('must take claims of one value, of a list and in another claim', () => {
    const rules = rulesOf({
      allowed: { claim: 'realm_access.roles', values: ['berth'] },
      tier: { claim: 'https://example.com/plan', values: { gold: 'pro', silver: 'free' } },
      admin: { claim: 'is_admin', values: [true] },
    });
    const claims = { preferred_username: 'zoe', realm_access: { roles: ['x', 'berth'] }, is_admin: true };
    const gold = { ...claims, 'https://example.com/plan': ['silver', 'gold'] };
    expect(admissionOf(gold, rules)).toEqual({ username: 'zoe', tier: 'pro', isAdmin: true });
    const silver = { ...claims, 'https://example.com/plan': 'silver', is_admin: 'true' };
    expect(admissionOf(silver, rules)).toEqual({ username: 'zoe', tier: 'free', isAdmin: false });
  });

  it.each<[claims: Claims, what: string]>([
    [{}, 'no claim'],
    [{ groups: null }, 'null'],
    [{ groups: ['other'] }, 'other values'],
    [{ groups: { users: true } }, 'an object'],
    [{ groups: 'users,admins' }, 'a text that contains it'],
  ])('must not let %p in (%s)', (claims) => {
    expect(admissionOf(claims, rulesOf({ allowed: { claim: 'groups', values: ['users'] } }))).toBeNull();
    const byTier = rulesOf({ tier: { claim: 'groups', values: { users: 'pro' } } });
    expect(admissionOf(claims, byTier)).toBeNull();
  });

  it('must not find what every object has', () => {
    const rules = rulesOf({ admin: { claim: 'constructor.name', values: ['Object'] } });
    expect(admissionOf({}, rules)?.isAdmin).toBe(false);
  });

  it.each([
    ['zoe@example.com', 'zoe@example.com'],
    ['Zoë Müller', 'Zoe-Mu-ller'],
    ['../../root', 'root'],
    ['x'.repeat(100), 'x'.repeat(58)],
    ['名前', 'user'],
    ['', 'user'],
    [42, 'user'],
  ])('must make a name that a user may have of %p: %p', (claim, expected) => {
    const name = admissionOf({ preferred_username: claim }, loadClaimRules(undefined, TIERS))?.username ?? '';
    expect(name).toBe(expected);
  });

  it.each<[object, RegExp]>([
    [{ tier: { claim: 'plan', values: { gold: 'golden' } } }, /there is no tier "golden"; expected one of guest, free/],
    [{ tier: { values: { gold: 'pro' } } }, /tier\.claim: is needed with values/],
    [{ allowed: { claim: 'groups', values: [] } }, /allowed\.values/],
    [{ allow: {} }, /allow/],
    [[], /rules in .*claims\.json are not valid/],
  ])('must be refused with a word on each fault: %j', (json, message) => {
    expect(() => rulesOf(json)).toThrow(ConfigError);
    expect(() => rulesOf(json)).toThrow(message);
  });
});
