import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { CodeModule } from '../code';
import { ContainersModule } from '../containers';
import { PreviewsModule } from '../previews';
import { RateLimitsModule } from '../rate-limits';
import { SandboxModule } from '../sandbox';
import { FileTools } from './file-tools';
import { McpController } from './mcp.controller';
import { McpEndpoint } from './mcp-endpoint';
import { ProgramTools } from './program-tools';
import { SandboxTools } from './sandbox-tools';

/** Sandboxes for AI agents: tools of the Model Context Protocol, which call the services of the REST API. */
@Module({
  imports: [AuditModule, AuthModule, CodeModule, ContainersModule, PreviewsModule, RateLimitsModule, SandboxModule],
  controllers: [McpController],
  providers: [McpEndpoint, SandboxTools, ProgramTools, FileTools],
})
export class McpModule {}
