import { z } from 'zod';
import { readJson, validate } from '../config';
import { BAREBONE, type CatalogRole, DEFAULT_ROLES } from './catalog-role';

/**
 * A package name that no shell or package manager reads as more: it is no option, since it begins with a letter or
 * digit, and does not end in `-`, as apt takes `name-` for a removal.
 */
const PACKAGE = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9+._-]{0,126}[A-Za-z0-9+])?$/, 'expected a package name such as libssl-dev');
const PROGRAM = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9+._-]{0,127}$/, 'expected the name of a program such as python3');
const packages = z.array(PACKAGE).max(200).default([]);

const role = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'expected 1 to 64 of a-z, 0-9, ".", "_" and "-"')
      .refine((name) => name !== BAREBONE.name, `"${BAREBONE.name}" is always there`),
    description: z.string().max(500).default(''),
    packages: z.strictObject({ apt: packages, apk: packages, dnf: packages }),
    probe: z.array(PROGRAM).min(1).max(50),
  })
  .refine((entry) => Object.values(entry.packages).some((names) => names.length > 0), {
    path: ['packages'],
    message: 'expected packages for apt, apk or dnf',
  });

const schema = z.strictObject({ roles: z.array(role).max(1000) }).superRefine(({ roles }, context) => {
  const names = roles.map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) === index) continue;
    context.addIssue({ code: 'custom', path: ['roles', index, 'name'], message: `"${name}" is there twice` });
  }
});

/**
 * `barebone` and the roles of the operator's file, or the default ones.
 *
 * @throws ConfigError that lists every fault of the file
 */
export function loadRoles(file: string | undefined): readonly CatalogRole[] {
  return [
    BAREBONE,
    ...(file === undefined ? DEFAULT_ROLES : parseRoles(readJson({ setting: 'ROLES_FILE', file }), file)),
  ];
}

/** @throws ConfigError that lists every fault and names the file */
export function parseRoles(json: unknown, file: string): readonly CatalogRole[] {
  return validate(schema, json, { setting: 'ROLES_FILE', file, what: 'roles' }).roles;
}
