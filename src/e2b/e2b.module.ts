import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { CodeModule } from '../code';
import { ContainersModule } from '../containers';
import { ImagesModule } from '../images';
import { PreviewsModule } from '../previews';
import { RateLimitsModule } from '../rate-limits';
import { SandboxModule } from '../sandbox';
import { SecretsModule } from '../secrets';
import { E2bController } from './control.controller';
import { E2bSandboxes } from './sandboxes';
import { SandboxAccess } from './sandbox-access';
import { SandboxMetrics } from './sandbox-metrics';
import { EnvdController } from './envd/envd.controller';
import { EnvdGuard } from './envd/envd.guard';
import { FileUploads } from './envd/file-uploads';
import { DirectoryWatches } from './envd/directory-watches';
import { FilesystemService } from './envd/filesystem-service';
import { ProcessService } from './envd/process-service';
import { SandboxPorts } from './envd/sandbox-ports';

const ENVD = [EnvdGuard, FileUploads, DirectoryWatches, FilesystemService, ProcessService, SandboxPorts];

/** Sandboxes for programs that are written for E2B: its control API, and what it serves of each sandbox. */
@Module({
  imports: [
    AuditModule,
    AuthModule,
    CodeModule,
    ContainersModule,
    ImagesModule,
    PreviewsModule,
    RateLimitsModule,
    SandboxModule,
    SecretsModule,
  ],
  controllers: [E2bController, EnvdController],
  providers: [E2bSandboxes, SandboxAccess, SandboxMetrics, ...ENVD],
  exports: [SandboxAccess],
})
export class E2bModule {}
