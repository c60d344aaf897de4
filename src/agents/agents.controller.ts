import { Body, Controller, Get, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiExtraModels, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { AgentsService } from './agents.service';
import { AgentCreatedView, AgentFactsView, AgentListView } from './dto/responses';
import { CreateAgentDto } from './dto/requests';

/** A user's own machines. One agent is found, stopped and deleted among the containers, by its id `agent:…`. */
@ApiTags('agents')
@ApiExtraModels(AgentFactsView)
@Controller('agents')
export class AgentsController {
  constructor(private readonly agents: AgentsService) {}

  @Post()
  @Scopes('write')
  @Audited('agent.create')
  @ApiOperation({ summary: 'Make an agent', description: 'The answer is the only one that shows its token.' })
  @ApiCreatedResponse({ type: AgentCreatedView })
  @ApiFaults('guest_session_expired', 'agent_limit_reached', 'agent_name_taken')
  create(@CurrentPrincipal() caller: Principal, @Body() body: CreateAgentDto): Promise<AgentCreatedView> {
    return this.agents.create(caller, body);
  }

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List your agents, online or not' })
  @ApiOkResponse({ type: AgentListView })
  list(@CurrentPrincipal() caller: Principal): Promise<AgentListView> {
    return this.agents.list(caller);
  }
}
