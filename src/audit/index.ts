export { AuditLog, type SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
