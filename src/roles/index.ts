export type { CatalogRole } from './catalog-role';
export { InstallOutput, type InstallProgress } from './install-output';
export { needsInstallation, RoleCatalog } from './role-catalog';
export { INSTALL_EXIT, installCommand, probeCommand, type RoleCommand } from './scripts';
export { RolesModule } from './roles.module';
