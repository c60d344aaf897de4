export { McpModule } from './mcp.module';
export { setUpMcp } from './mcp.controller';
