import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { IdempotencyModule } from '../idempotency';
import { MetricsModule } from '../metrics';
import { RateLimitsModule } from '../rate-limits';
import { TiersModule } from '../tiers';
import { UsageModule } from '../usage';
import { SandboxModule } from '../sandbox';
import { ContainerPorts } from './container-ports';
import { ListeningPorts } from './listening-ports';
import { PortsController } from './ports.controller';
import { PreviewAccess } from './preview-access';
import { PreviewConnections } from './preview-connections';
import { PreviewLinkRetention, PreviewLinks } from './preview-links';
import { PreviewTraffic } from './preview-traffic';
import { PreviewServer } from './preview-server';
import { PreviewUpstream } from './preview-upstream';
import { Previews } from './previews';

/** Previews of the ports of containers: who may see them, and the listener that serves them. */
@Module({
  imports: [
    AuditModule,
    AuthModule,
    ContainersModule,
    IdempotencyModule,
    MetricsModule,
    RateLimitsModule,
    SandboxModule,
    TiersModule,
    UsageModule,
  ],
  controllers: [PortsController],
  providers: [
    ContainerPorts,
    ListeningPorts,
    PreviewAccess,
    PreviewConnections,
    PreviewLinkRetention,
    PreviewLinks,
    Previews,
    PreviewServer,
    PreviewTraffic,
    PreviewUpstream,
  ],
  exports: [ContainerPorts, Previews, PreviewServer],
})
export class PreviewsModule {}
