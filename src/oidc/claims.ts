import { z } from 'zod';
import { readJson, validate } from '../config';

/** What the provider says of a user: an ID token's claims, and those of its userinfo endpoint. */
export type Claims = Readonly<Record<string, unknown>>;

/** What a user's claims make of the user. */
export interface Admission {
  /** A name from the claims, in the form of a user's name. */
  readonly username: string;
  /** A key of the tier table. */
  readonly tier: string;
  readonly isAdmin: boolean;
}

/** A claim's values that grant something. */
const grant = z.strictObject({
  claim: z.string().min(1),
  values: z.array(z.union([z.string(), z.boolean(), z.number()])).min(1),
});

const schema = z.strictObject({
  /** The claims that may be a user's name; the first one that the user has counts. */
  username: z.array(z.string().min(1)).min(1).default(['preferred_username', 'email', 'name']),
  /** Who may sign in; absent: everyone whom the provider lets in. */
  allowed: grant.optional(),
  tier: z
    .strictObject({
      claim: z.string().min(1).optional(),
      /** Tiers by the values of the claim; the first one that the user has counts. */
      values: z.record(z.string(), z.string()).default({}),
      /** The tier of all others; absent: they may not sign in. */
      default: z.string().optional(),
    })
    .default({ values: {}, default: 'free' }),
  admin: grant.optional(),
});

/** The rules of `OIDC_CLAIMS_FILE`: which claims make a user's name, tier and rights. */
export type ClaimRules = z.output<typeof schema>;

/** The characters of a user's name, and how long it may be before a suffix that makes it unique. */
const NOT_IN_NAMES = /[^A-Za-z0-9._@-]+/g;
const LONGEST_NAME = 58;

/**
 * Reads the rules.
 *
 * @param file of the setting; absent: everyone may sign in, in the tier `free`, and nobody is an administrator
 * @param tiers the tiers that there are
 * @throws ConfigError that lists every fault
 */
export function loadClaimRules(file: string | undefined, tiers: readonly string[]): ClaimRules {
  const known = schema.superRefine(({ tier }, context) => {
    const named = [...Object.values(tier.values), ...(tier.default === undefined ? [] : [tier.default])];
    for (const name of named) {
      if (tiers.includes(name)) continue;
      const message = `there is no tier "${name}"; expected one of ${tiers.join(', ')}`;
      context.addIssue({ code: 'custom', path: ['tier'], message });
    }
    if (tier.claim === undefined && Object.keys(tier.values).length > 0) {
      context.addIssue({ code: 'custom', path: ['tier', 'claim'], message: 'is needed with values' });
    }
  });
  const from = { setting: 'OIDC_CLAIMS_FILE', file: file ?? 'the default rules', what: 'rules' } as const;
  return validate(known, file === undefined ? {} : readJson({ ...from, file }), from);
}

/** @returns what the claims make of the user; null if they do not let the user in */
export function admissionOf(claims: Claims, rules: ClaimRules): Admission | null {
  if (rules.allowed && !isGranted(claims, rules.allowed)) return null;
  const held = new Set(rules.tier.claim === undefined ? [] : valuesOf(claims, rules.tier.claim).map(String));
  const [, tier = rules.tier.default] = Object.entries(rules.tier.values).find(([value]) => held.has(value)) ?? [];
  if (tier === undefined) return null;
  const isAdmin = rules.admin !== undefined && isGranted(claims, rules.admin);
  return { username: usernameOf(claims, rules.username), tier, isAdmin };
}

function isGranted(claims: Claims, { claim, values }: z.output<typeof grant>): boolean {
  return valuesOf(claims, claim).some((value) => (values as readonly unknown[]).includes(value));
}

/** The values of a claim, which may be one or a list. `realm_access.roles` is also a claim in a claim. */
function valuesOf(claims: Claims, name: string): readonly unknown[] {
  const value = Object.hasOwn(claims, name) ? claims[name] : valueAt(claims, name.split('.'));
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

function valueAt(claims: unknown, path: readonly string[]): unknown {
  let value = claims;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Claims)[key];
  }
  return value;
}

/** The first of these claims that can be made a user's name; `user` if none can. */
function usernameOf(claims: Claims, names: readonly string[]): string {
  for (const name of names) {
    const [value] = valuesOf(claims, name);
    if (typeof value !== 'string') continue;
    const fitting = value
      .normalize('NFKD')
      .replace(NOT_IN_NAMES, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, LONGEST_NAME);
    if (fitting !== '') return fitting;
  }
  return 'user';
}
