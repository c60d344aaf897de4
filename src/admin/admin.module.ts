import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { ImagesModule } from '../images';
import { UsageModule } from '../usage';
import { AdminSnapshotsController } from './admin-snapshots.controller';
import { AdminContainersController } from './admin-containers.controller';
import { AdminImagesController } from './admin-images.controller';
import { AdminNodesController } from './admin-nodes.controller';
import { AdminTemplatesController } from './admin-templates.controller';
import { AdminUsageController } from './admin-usage.controller';
import { AdminWarmController } from './admin-warm.controller';
import { AdminTokensController, AdminUsersController } from './admin-users.controller';
import { AdminUsers } from './admin-users.service';

/** The operators' API, for tokens with the scope `admin`. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, ImagesModule, UsageModule],
  controllers: [
    AdminUsersController,
    AdminTokensController,
    AdminContainersController,
    AdminSnapshotsController,
    AdminTemplatesController,
    AdminImagesController,
    AdminNodesController,
    AdminUsageController,
    AdminWarmController,
  ],
  providers: [AdminUsers],
})
export class AdminModule {}
