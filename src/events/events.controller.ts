import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
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
@ForContainerTokens()
@Controller('events')
export class EventsController {
  constructor(
    private readonly history: EventHistory,
    private readonly streams: EventStreams,
  ) {}

  @Get()
  @Scopes('read')
  @Compressed()
  @ApiOperation({ summary: 'List your events, oldest first' })
  @ApiOkResponse({ type: EventListView })
  list(
    @CurrentPrincipal() caller: Principal,
    @Query() { after = 0, limit = DEFAULT_PAGE }: ListEventsDto,
  ): Promise<EventListView> {
    return this.history.page(caller, { after, limit });
  }

  @Get('stream')
  @Scopes('read')
  @ApiOperation({
    summary: 'Stream your events as Server-Sent Events',
    description:
      '"event" is the type, "id" the seq, and "data" the event as JSON. If events after the given position are no ' +
      'longer stored, a resync_required ({ type, event_seq }) is sent instead. The stream ends when the token ' +
      'does, or if the client does not read it.',
  })
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    schema: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    description: 'Last id received; takes precedence over "after".',
  })
  @ApiOkResponse({
    description: 'The stream stays open.',
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
