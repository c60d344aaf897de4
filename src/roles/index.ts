export type { CatalogRole } from './catalog-role';
export { InstallOutput } from './install-output';
export type { InstallProgress } from './install-progress';
export { needsInstallation, RoleCatalog } from './role-catalog';
export { endCommand, installCommand, probeCommand, type RoleCommand } from './role-commands';
export { RolesModule } from './roles.module';
export { INSTALL_EXIT } from './scripts';
