export { AuditLog, type SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
export { Audited, RequestAudit, showable, subjectOf } from './request-audit';
