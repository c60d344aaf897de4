export { type AuditIntent, AuditLog, type SystemAct } from './audit-log';
export { AuditModule } from './audit.module';
export { Audited, AuditedLook, notedBytes, noteProgram, RequestAudit, showable } from './request-audit';
