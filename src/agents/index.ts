export { AGENT_CHANNEL } from './agent-channel';
export { AgentsModule } from './agents.module';
export { AgentsService } from './agents.service';
export { AgentDeletedView, AgentStoppedView, AgentView } from './dto/responses';
