import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { ApiHeader, ApiOkResponse, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ErrorResponse } from '../http';
import { EventListView } from './dto/responses';
import { FollowEventsDto, ListEventsDto } from './dto/requests';
import { EventHistory } from './feed';
import { EventStreams, parseLastEventId } from './sse';

const DEFAULT_PAGE = 100;

const Refused = (status: number, description: string) =>
  ApiResponse({
    status,
    description,
    content: { 'application/json': { schema: { $ref: getSchemaPath(ErrorResponse) } } },
  });

/** A user's events for clients without Socket.IO: in pages, and as they come. */
@ApiTags('events')
@Controller('events')
export class EventsController {
  constructor(
    private readonly history: EventHistory,
    private readonly streams: EventStreams,
  ) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'Page through your events, oldest first' })
  @ApiOkResponse({ type: EventListView })
  @Refused(400, 'invalid parameters: details says which.')
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
    schema: { type: 'integer' },
    description: 'The last id seen; goes before "after".',
  })
  @ApiOkResponse({ description: 'Does not end.', content: { 'text/event-stream': { schema: { type: 'string' } } } })
  @Refused(400, 'invalid parameters: details says which.')
  @Refused(429, 'too many connections: one user may have 50 streams at a time to one server process.')
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
