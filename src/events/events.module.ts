import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { RateLimitsModule } from '../rate-limits';
import { EventsController } from './events.controller';
import { EventsGateway } from './events.gateway';
import { EventFeed, EventHistory } from './feed';
import { EventLog, EventRetention } from './log';
import { AnswerStreams } from './event-stream';
import { EventStreams } from './sse';
import { TokenWatch } from './token-watch';

/**
 * Events: the log of all changes, the feed that modules subscribe to, and the gateway, streams and pages for clients.
 */
@Module({
  imports: [AuthModule, RateLimitsModule],
  controllers: [EventsController],
  providers: [
    EventLog,
    EventFeed,
    EventHistory,
    AnswerStreams,
    EventStreams,
    EventRetention,
    TokenWatch,
    EventsGateway,
  ],
  exports: [AnswerStreams, EventLog, EventFeed, EventsGateway, TokenWatch],
})
export class EventsModule {}
