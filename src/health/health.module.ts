import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { DockerModule } from '../docker';
import { HealthController } from './health.controller';
import { ReadinessCheck } from './readiness';

/** Liveness and readiness probes. */
@Module({
  // {@link ReadinessCheck} logs failed checks, by name and with their cause.
  imports: [TerminusModule.forRoot({ logger: false }), DockerModule],
  controllers: [HealthController],
  providers: [ReadinessCheck],
})
export class HealthModule {}
