import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { AuditLog, AuditRetention } from './audit-log';
import { AuditReader } from './audit-reader';
import { AuditController } from './audit.controller';
import { RequestAudit } from './request-audit';

/** The audit log: the calls of every route that writes, and Berth's own actions. */
@Module({
  imports: [AuthModule],
  controllers: [AuditController],
  providers: [AuditLog, AuditReader, AuditRetention, RequestAudit],
  exports: [AuditLog, RequestAudit],
})
export class AuditModule {}
