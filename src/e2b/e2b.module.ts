import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { RateLimitsModule } from '../rate-limits';
import { SandboxModule } from '../sandbox';
import { SecretsModule } from '../secrets';
import { SandboxAccess } from './sandbox-access';

/** Sandboxes for programs that are written for E2B: its control API, and what it serves of each sandbox. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, RateLimitsModule, SandboxModule, SecretsModule],
  providers: [SandboxAccess],
  exports: [SandboxAccess],
})
export class E2bModule {}
