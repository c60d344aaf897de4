export { AuditLog, type SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
export { Audited, AuditedLook, noteProgram, notingBytes, RequestAudit, showable, subjectOf } from './request-audit';
