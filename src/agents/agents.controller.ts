import { Body, Controller, Get, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiExtraModels, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { Location } from '../http';
import { ApiIdempotencyKey, Keyed, type KeyedRequest, KeyedSecrets, REPLAYED_HEADER } from '../idempotency';
import { AgentsService } from './agents.service';
import { AgentCreatedView, AgentFactsView, AgentListView } from './dto/responses';
import { CreateAgentDto } from './dto/requests';

/**
 * A user's own machines. Single agents are read, stopped and deleted by the routes of containers, with ids `agent:…`.
 */
@ApiTags('agents')
@ApiExtraModels(AgentFactsView)
@Controller('agents')
export class AgentsController {
  constructor(
    private readonly agents: AgentsService,
    private readonly once: KeyedSecrets,
  ) {}

  @Post()
  @Scopes('write')
  @Audited('agent.create')
  @Location<AgentCreatedView>(({ id }) => `/api/containers/${id}`)
  @ApiOperation({ summary: 'Create an agent', description: 'The token is shown only in this response.' })
  @ApiIdempotencyKey()
  @ApiCreatedResponse({ type: AgentCreatedView, headers: REPLAYED_HEADER })
  @ApiFaults('idempotency_key_reused', 'guest_session_expired', 'agent_limit_reached', 'agent_name_taken')
  create(
    @CurrentPrincipal() caller: Principal,
    @Body() body: CreateAgentDto,
    @Keyed() request: KeyedRequest,
  ): Promise<AgentCreatedView> {
    return this.once.once(caller, request, () => this.agents.create(caller, body));
  }

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List your agents' })
  @ApiOkResponse({ type: AgentListView })
  list(@CurrentPrincipal() caller: Principal): Promise<AgentListView> {
    return this.agents.list(caller);
  }
}
