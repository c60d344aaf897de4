import { Module } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { AuthModule } from '../auth';
import { AuditLog } from './audit-log';
import { AuditReader } from './audit-reader';
import { AuditRetention } from './audit-retention';
import { AuditController } from './audit.controller';
import { AuditInterceptor } from './audit.interceptor';

/** What was done, by whom, to what: every route that writes, and what Berth does by itself. */
@Module({
  imports: [AuthModule],
  controllers: [AuditController],
  providers: [AuditLog, AuditReader, AuditRetention, { provide: APP_INTERCEPTOR, useClass: AuditInterceptor }],
  exports: [AuditLog],
})
export class AuditModule {}
