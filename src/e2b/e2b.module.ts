import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { ImagesModule } from '../images';
import { RateLimitsModule } from '../rate-limits';
import { SandboxModule } from '../sandbox';
import { SecretsModule } from '../secrets';
import { E2bController } from './control.controller';
import { E2bSandboxes } from './sandboxes';
import { SandboxAccess } from './sandbox-access';

/** Sandboxes for programs that are written for E2B: its control API, and what it serves of each sandbox. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, ImagesModule, RateLimitsModule, SandboxModule, SecretsModule],
  controllers: [E2bController],
  providers: [E2bSandboxes, SandboxAccess],
  exports: [SandboxAccess],
})
export class E2bModule {}
