import { BAREBONE, DEFAULT_ROLES } from './catalog-role';
import { RoleCatalog } from './role-catalog';

describe('the role "default"', () => {
  const [standard, node] = ['standard', 'node'].map((name) => DEFAULT_ROLES.find((role) => role.name === name));
  const own = { ...BAREBONE, name: 'default', description: "the operator's" };

  it.each([
    ['standard, where the catalogue has it', [BAREBONE, ...DEFAULT_ROLES], standard],
    ['barebone, where an operator’s has none', [BAREBONE, node ?? BAREBONE], BAREBONE],
    ['itself, where an operator’s has it', [BAREBONE, ...DEFAULT_ROLES, own], own],
  ])('must be %s', (_what, roles, expected) => {
    expect(new RoleCatalog(roles).resolve('default')).toBe(expected);
  });
});

describe('the catalogue of roles', () => {
  /** What fetches by TLS and brings no certificates of its own: Debian only recommends them, which is not installed. */
  const TRUSTING = ['git', 'curl', 'wget', 'go', 'cargo'];
  const fetching = DEFAULT_ROLES.filter(({ probe }) => probe.some((program) => TRUSTING.includes(program)));

  it.each(fetching)('must have certificates on Debian for $name', ({ packages }) => {
    expect(packages.apt).toContain('ca-certificates');
  });
});
