export { AuditLog, type SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
export { Audited, noteProgram, notingBytes, RequestAudit, showable, subjectOf } from './request-audit';
