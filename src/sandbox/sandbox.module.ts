import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { DockerModule } from '../docker';
import { EventsModule } from '../events';
import { HeldPrograms } from './held-programs';

/** What is done inside running containers. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, DockerModule, EventsModule],
  providers: [HeldPrograms],
})
export class SandboxModule {}
