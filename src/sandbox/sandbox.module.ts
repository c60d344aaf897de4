import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { DockerModule } from '../docker';
import { EventsModule } from '../events';
import { CommandAnswers } from './command-answers';
import { CommandsController } from './commands.controller';
import { Commands } from './exec';
import { HeldPrograms } from './held-programs';

/** What is done inside running containers. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, DockerModule, EventsModule],
  controllers: [CommandsController],
  providers: [HeldPrograms, Commands, CommandAnswers],
})
export class SandboxModule {}
