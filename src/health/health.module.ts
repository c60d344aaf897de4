import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { DockerModule } from '../docker';
import { HealthController } from './health.controller';
import { ReadinessCheck } from './readiness';

/** Whether the process is alive, and whether it is ready. */
@Module({
  // What is down is logged here, by name and with its cause.
  imports: [TerminusModule.forRoot({ logger: false }), DockerModule],
  controllers: [HealthController],
  providers: [ReadinessCheck],
})
export class HealthModule {}
