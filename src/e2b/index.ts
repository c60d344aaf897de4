export { E2bModule } from './e2b.module';
export { takeApiKeys } from './api-keys';
export { passSandboxPorts } from './envd/sandbox-ports';
