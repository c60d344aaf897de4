import { Inject, Injectable } from '@nestjs/common';
import { invalidParameters } from '../errors';
import { BAREBONE, type CatalogRole, PACKAGE_MANAGERS, ROLE_ALIASES } from './catalog-role';
import type { RoleView } from './role-view';

/** Injection token of the catalogue's roles, `barebone` among them. */
export const CATALOG_ROLES = Symbol('CATALOG_ROLES');

/** The roles that containers can have. */
@Injectable()
export class RoleCatalog {
  constructor(@Inject(CATALOG_ROLES) private readonly roles: readonly CatalogRole[]) {}

  /**
   * The role that a request names, by its own name or another; null where it names none.
   *
   * @throws DomainError `invalid_parameters` that names the field and the choices
   */
  resolve(name: string | null | undefined): CatalogRole | null {
    if (name === null || name === undefined) return null;
    const [role] = [name, ...(ROLE_ALIASES.get(name) ?? [])].flatMap((each) => this.find(each) ?? []);
    if (role) return role;
    const names = this.roles.map((each) => each.name);
    throw invalidParameters([{ field: 'role', message: `must be one of ${names.join(', ')}` }]);
  }

  /** @returns undefined where the catalogue has none of this name (any more) */
  find(name: string): CatalogRole | undefined {
    return this.roles.find((role) => role.name === name);
  }

  /** Every role, as clients see it. */
  list(): RoleView[] {
    return this.roles.map(({ name, description, packages }) => ({
      name,
      description,
      packages: { apt: [...packages.apt], apk: [...packages.apk], dnf: [...packages.dnf] },
      default: name === BAREBONE.name,
    }));
  }
}

/** Whether there is anything to install for a role. */
export function needsInstallation(role: CatalogRole | null): boolean {
  return role !== null && PACKAGE_MANAGERS.some((manager) => role.packages[manager].length > 0);
}
