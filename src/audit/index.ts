export { AuditLog } from './audit-log';
export type { SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
