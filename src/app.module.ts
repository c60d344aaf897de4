import { DynamicModule, Module } from '@nestjs/common';
import { dataSourceOptions } from '../ormconfig';
import { AdminModule } from './admin';
import { AgentsModule } from './agents';
import { AuditModule } from './audit';
import { AccountsModule } from './accounts';
import { AuthModule } from './auth';
import { type Config, ConfigModule } from './config';
import { ContainersModule } from './containers';
import { DatabaseModule } from './database';
import { CodeModule } from './code';
import { E2bModule } from './e2b';
import { EngineModule } from './engine.module';
import { EventsModule } from './events';
import { HealthModule } from './health';
import { HttpModule } from './http';
import { ImagesModule } from './images';
import { LoggingModule } from './logging';
import { McpModule } from './mcp';
import { MetricsModule } from './metrics';
import { OidcModule } from './oidc';
import { PreviewsModule } from './previews';
import { RateLimitsModule } from './rate-limits';
import { RolesModule } from './roles';
import { SandboxModule } from './sandbox';
import { SignalsModule } from './signals';
import { SshModule } from './ssh';
import { TiersModule } from './tiers';
import { UsageModule } from './usage';
import { WebhooksModule } from './webhooks';

/** The root module: imports every module of Berth. */
@Module({})
export class AppModule {
  static forRoot(config: Config): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.forRoot(config),
        LoggingModule,
        HttpModule,
        DatabaseModule.forRoot(dataSourceOptions(config.DATABASE_URL, config.OPERATION_CLAIM_SECONDS)),
        SignalsModule,
        TiersModule,
        AuthModule,
        AccountsModule,
        OidcModule,
        RateLimitsModule,
        AuditModule,
        EngineModule,
        ImagesModule,
        RolesModule,
        EventsModule,
        MetricsModule,
        AgentsModule,
        UsageModule,
        ContainersModule,
        SandboxModule,
        WebhooksModule,
        PreviewsModule,
        SshModule,
        CodeModule,
        E2bModule,
        McpModule,
        AdminModule,
        HealthModule,
      ],
    };
  }
}
