import { ConfigError } from '../config';
import { BAREBONE, DEFAULT_ROLES } from './catalog-role';
import { loadRoles, parseRoles } from './load-roles';

const role = {
  name: 'php',
  description: 'PHP',
  packages: { apt: ['php-cli'], apk: ['php84'], dnf: ['php-cli'] },
  probe: ['php'],
};
/** No names of packages. */
const PACKAGES = [
  '-y',
  '--force',
  'a b',
  'a;b',
  '$(x)',
  '`x`',
  'bash-',
  'a\nb',
  '*',
  'a/b',
  'a=1',
  '',
  'ä',
  'x'.repeat(200),
];
const withPackage = (name: unknown) => ({ roles: [{ ...role, packages: { apt: [name] } }] });

describe('the catalogue of roles', () => {
  it('must be valid as it comes, with barebone before all', () => {
    expect(parseRoles({ roles: DEFAULT_ROLES }, 'default')).toEqual(DEFAULT_ROLES);
    expect(loadRoles(undefined)).toEqual([BAREBONE, ...DEFAULT_ROLES]);
  });

  it('must be replaced by the operator’s', () => {
    const short = { name: 'c++', packages: { apt: ['g++', 'libstdc++6'] }, probe: ['g++'] };
    expect(() => parseRoles({ roles: [role, short] }, 'x.json')).toThrow(/roles\.1\.name/);
    expect(parseRoles({ roles: [role, { ...short, name: 'cpp' }] }, 'x.json')).toEqual([
      role,
      { ...short, name: 'cpp', description: '', packages: { ...short.packages, apk: [], dnf: [] } },
    ]);
    expect(parseRoles({ roles: [] }, 'x.json')).toEqual([]);
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', null, /file: /],
    ['an unknown field', { roles: [{ ...role, script: 'x' }] }, /roles\.0: .*script/],
    ['an unknown package manager', { roles: [{ ...role, packages: { brew: ['x'] } }] }, /packages: .*brew/],
    ['a role twice', { roles: [role, role] }, /roles\.1\.name: "php" is there twice/],
    ['the name barebone', { roles: [{ ...role, name: 'barebone' }] }, /"barebone" is always there/],
    ['a name with a slash', { roles: [{ ...role, name: 'a/b' }] }, /roles\.0\.name: /],
    ['no packages', { roles: [{ ...role, packages: {} }] }, /roles\.0\.packages: expected packages/],
    ['no probe', { roles: [{ ...role, probe: [] }] }, /roles\.0\.probe: /],
    ['a path as probe', { roles: [{ ...role, probe: ['/bin/sh'] }] }, /roles\.0\.probe\.0: /],
    ['a probe that a shell would read', { roles: [{ ...role, probe: ['php;reboot'] }] }, /roles\.0\.probe\.0: /],
    ...PACKAGES.map((name): [string, unknown, RegExp] => [
      `the package ${JSON.stringify(name)}`,
      withPackage(name),
      /apt\.0: /,
    ]),
  ])('must be refused with %s', (_what, json, message) => {
    expect(() => parseRoles(json, 'x.json')).toThrow(ConfigError);
    expect(() => parseRoles(json, 'x.json')).toThrow(message);
  });

  it('must report every fault at once, and the file', () => {
    const faults = {
      roles: [
        { ...role, name: '' },
        { ...role, probe: [1] },
      ],
    };
    expect(() => parseRoles(faults, 'x.json')).toThrow(/x\.json[^]*roles\.0\.name[^]*roles\.1\.probe/);
    expect(() => loadRoles('/nonexistent/roles.json')).toThrow(/ROLES_FILE: \/nonexistent\/roles\.json cannot be read/);
  });
});
