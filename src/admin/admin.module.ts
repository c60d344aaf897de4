import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { AdminContainersController } from './admin-containers.controller';
import { AdminTokensController } from './admin-tokens.controller';
import { AdminUsersController } from './admin-users.controller';
import { AdminUsers } from './admin-users.service';

/** What operators do by HTTP, with a token of the scope `admin`. */
@Module({
  imports: [AuthModule, ContainersModule],
  controllers: [AdminUsersController, AdminTokensController, AdminContainersController],
  providers: [AdminUsers],
})
export class AdminModule {}
