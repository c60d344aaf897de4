import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { RateLimitsModule } from '../rate-limits';
import { EventsController } from './events.controller';
import { EventsGateway } from './events.gateway';
import { EventFeed, EventHistory } from './feed';
import { EventLog, EventRetention } from './log';
import { EventStreams } from './sse';
import { VisibleEvents } from './visible-events';

/**
 * Events: the log of all changes, the feed that modules subscribe to, and the gateway, streams and pages for clients.
 */
@Module({
  imports: [AuthModule, RateLimitsModule],
  controllers: [EventsController],
  providers: [EventLog, EventFeed, EventHistory, EventStreams, EventRetention, EventsGateway, VisibleEvents],
  exports: [EventLog, EventFeed, EventsGateway],
})
export class EventsModule {}
