import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { Compressed, eventStream, parseLastEventId } from '../http';
import { EventListView, NodeFactsView, ProcessFactsView } from './dto/responses';
import { FollowEventsDto, ListEventsDto } from './dto/requests';
import { EVENT_SCHEMAS, RESYNC_SCHEMA } from './event-schemas';
import { EventHistory } from './feed';
import { EventStreams } from './sse';

const DEFAULT_PAGE = 100;

/** A user's events for clients without Socket.IO: in pages, or as a stream. */
@ApiTags('events')
@ApiExtraModels(NodeFactsView, ProcessFactsView)
@Controller('events')
export class EventsController {
  constructor(
    private readonly history: EventHistory,
    private readonly streams: EventStreams,
  ) {}

  @Get()
  @Scopes('read')
  @Compressed()
  @ApiOperation({ summary: 'Page through your events, oldest first' })
  @ApiOkResponse({ type: EventListView })
  list(
    @CurrentPrincipal() caller: Principal,
    @Query() { after = 0, limit = DEFAULT_PAGE }: ListEventsDto,
  ): Promise<EventListView> {
    return this.history.page({ userId: caller.userId, after, limit });
  }

  @Get('stream')
  @Scopes('read')
  @ApiOperation({
    summary: 'Follow your events as Server-Sent Events',
    description:
      'Each has its type as "event", its seq as "id" and the same JSON as "data" as everywhere. Where events after the one named are ' +
      'no longer kept, a resync_required ({ type, event_seq }) comes in their place. The stream ends with the token, or when it is not read.',
  })
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    schema: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    description: 'The last id seen; goes before "after".',
  })
  @ApiOkResponse({
    description: 'Does not end.',
    content: eventStream(Object.assign({ resync_required: RESYNC_SCHEMA }, EVENT_SCHEMAS)),
  })
  @ApiFaults('too_many_connections')
  follow(
    @CurrentPrincipal() caller: Principal,
    @Query() { after }: FollowEventsDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const seen = request.headers['last-event-id'];
    return this.streams.follow({ caller, after: parseLastEventId([seen].flat()[0]) ?? after, request, reply });
  }
}
