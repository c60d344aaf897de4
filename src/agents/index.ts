export { AgentsModule } from './agents.module';
export { AgentsService } from './agents.service';
export { AgentDeletedView, AgentStoppedView } from './dto/agent-answers';
export { AgentView } from './dto/agent-view';
