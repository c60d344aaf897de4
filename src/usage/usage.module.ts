import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { UsageLedger, UsageRetention } from './usage-ledger';
import { UsageReader } from './usage-reader';
import { UsageController } from './usage.controller';

/**
 * How much of the machine users' containers took, by day. Whoever writes containers settles it in {@link UsageLedger}.
 */
@Module({
  imports: [AuthModule],
  controllers: [UsageController],
  providers: [UsageLedger, UsageReader, UsageRetention],
  exports: [UsageLedger, UsageReader],
})
export class UsageModule {}
