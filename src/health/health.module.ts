import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { HealthController } from './health.controller';
import { ReadinessCheck } from './readiness';

/** Liveness and readiness probes. */
@Module({
  // {@link ReadinessCheck} logs failed checks, by name and with their cause.
  imports: [TerminusModule.forRoot({ logger: false })],
  controllers: [HealthController],
  providers: [ReadinessCheck],
})
export class HealthModule {}
