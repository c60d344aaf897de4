import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { type Config, CONFIG } from '../config';
import { loadRoles } from './load-roles';
import { CATALOG_ROLES, RoleCatalog } from './role-catalog';
import { RolesController } from './roles.controller';

/** The catalogue of roles, the scripts that install them, and the reading of their output. */
@Module({
  imports: [AuthModule],
  controllers: [RolesController],
  providers: [
    { provide: CATALOG_ROLES, inject: [CONFIG], useFactory: (config: Config) => loadRoles(config.ROLES_FILE) },
    RoleCatalog,
  ],
  exports: [RoleCatalog],
})
export class RolesModule {}
