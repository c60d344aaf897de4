import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { EventFeed } from './event-feed';
import { EventLog } from './event-log';
import { EventRetention } from './event-retention';
import { EventsGateway } from './events.gateway';
import { TokenWatch } from './token-watch';

/** Events: the log that changes are told in, the feed that modules follow, and the gateway that clients follow. */
@Module({
  imports: [AuthModule],
  providers: [EventLog, EventFeed, EventRetention, TokenWatch, EventsGateway],
  exports: [EventLog, EventFeed],
})
export class EventsModule {}
