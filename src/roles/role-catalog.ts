import { Inject, Injectable } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Flag, Text } from '../api-fields';
import { invalidParameters } from '../errors';
import { BAREBONE, type CatalogRole, PACKAGE_MANAGERS, ROLE_ALIASES } from './catalog-role';

/** The packages of a role, by the image's package manager. */
class RolePackagesView {
  @ApiProperty({ type: [String], example: ['nodejs', 'npm'], description: 'On Debian and Ubuntu.' })
  readonly apt: readonly string[];
  @ApiProperty({ type: [String], example: ['nodejs', 'npm'], description: 'On Alpine.' })
  readonly apk: readonly string[];
  @ApiProperty({ type: [String], example: ['nodejs', 'nodejs-npm'], description: 'On Fedora.' })
  readonly dnf: readonly string[];
}

/** A role of the catalogue, as a client sees it. */
class RoleView {
  @Text('Value of "role" in a creation.', { example: 'node' })
  readonly name: string;
  @Text({ example: 'Node.js with npm' }) readonly description: string;
  @ApiProperty({ type: RolePackagesView })
  readonly packages: RolePackagesView;
  @Flag('True for the role of containers without one; exactly one is.')
  readonly default: boolean;
}

/** The response of `GET /api/roles`. */
export class RoleListView {
  @ApiProperty({ type: [RoleView] }) readonly roles: readonly RoleView[];
}

/** Injection token of the catalogue's roles, `barebone` among them. */
export const CATALOG_ROLES = Symbol('CATALOG_ROLES');

/** The roles that containers can have. */
@Injectable()
export class RoleCatalog {
  constructor(@Inject(CATALOG_ROLES) private readonly roles: readonly CatalogRole[]) {}

  /**
   * The role that a request names, by its own name or an alias; null if it names none.
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

  /** @returns undefined if the catalogue has no role of this name (any more) */
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
