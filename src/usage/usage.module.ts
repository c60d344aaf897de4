import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { UsageLedger, UsageRetention } from './usage-ledger';
import { UsageReader } from './usage-reader';
import { UsageController } from './usage.controller';

/**
 * The resources that users' containers and snapshots used, by day. Every writer of these settles their use in
 * {@link UsageLedger}.
 */
@Module({
  imports: [AuthModule],
  controllers: [UsageController],
  providers: [UsageLedger, UsageReader, UsageRetention],
  exports: [UsageLedger, UsageReader],
})
export class UsageModule {}
