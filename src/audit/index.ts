export { AuditLog, type SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
export { Audited } from './request-audit';
