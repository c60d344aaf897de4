import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { type Principal, TokenRequests, TokenService } from '../auth';
import { Database } from '../database';
import { DomainError, invalidParameters } from '../errors';
import { requestContext } from '../logging';
import { Clock } from '../scheduling';
import { TiersService } from '../tiers';
import { type AgentRow, publicId } from './agent.entity';
import { AgentRepository } from './agent.repository';
import {
  type AgentCreatedView,
  type AgentDeletedView,
  AgentListView,
  type AgentStoppedView,
  AgentView,
  viewAgent,
} from './dto/responses';
import type { CreateAgentDto } from './dto/requests';

type Maker = Pick<Principal, 'userId' | 'tokenId'>;
type Caller = Pick<Principal, 'userId' | 'tier'>;
type Owner = Pick<Principal, 'userId' | 'boundTo'>;

/**
 * The REST API of a user's agents, under `/api/agents` and, beside containers, under `/api/containers`. Ids are those
 * of rows, without `agent:`. All methods on one agent throw {@link DomainError} `agent_not_found`, `not_authorized`.
 */
@Injectable()
export class AgentsService {
  constructor(
    private readonly repository: AgentRepository,
    private readonly database: Database,
    private readonly tokens: TokenService,
    private readonly requests: TokenRequests,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {}

  /**
   * Creates an agent and its token. A guest's agent token expires with the session.
   *
   * @throws DomainError `agent_limit_reached`, `agent_name_taken`, `guest_session_expired`, `unauthorized`,
   *   `user_suspended`
   */
  async create(caller: Maker, request: Readonly<CreateAgentDto>): Promise<AgentCreatedView> {
    const { userId } = caller;
    const { name } = request;
    const id = randomUUID();
    return this.database.runInTxLocking(userId, async () => {
      const { user } = await this.requests.requireIssuer(caller);
      const { tier, sessionExpiresAt } = user;
      const limit = this.tiers.limitsOf(tier).agents;
      const agent = { userId, name, scopes: ['agent'], agentId: id, expiresAt: sessionExpiresAt } as const;
      const { text, token } = await this.tokens.issue(agent);
      const row = newAgent(request, { id, userId, tokenId: token.id, createdAt: this.clock.now() });
      await this.repository.insert(row, { limit, tier });
      return { id: publicId(row), name, token: text };
    });
  }

  /** All of the caller's agents, online or offline. */
  async list({ userId, tier }: Caller): Promise<AgentListView> {
    const agents = await this.repository.list({ userId });
    return { agents: agents.map(viewAgent), count: agents.length, limit: this.tiers.limitsOf(tier).agents };
  }

  /** The user's connected agents. */
  async online({ userId, name }: { userId: string; name?: string }): Promise<AgentView[]> {
    const agents = await this.repository.list({ userId, online: true, ...(name !== undefined && { name }) });
    return agents.map(viewAgent);
  }

  async get(caller: Owner, id: string): Promise<AgentView> {
    return viewAgent(await this.find(caller, id));
  }

  /** Closes the agent's connection. The machine is not affected, and its agent may reconnect. */
  async stop(caller: Owner, id: string): Promise<AgentStoppedView> {
    const agent = await this.find(caller, id);
    const ended = await this.repository.disconnect(agent, { reason: 'stopped' });
    const message = ended ? 'agent disconnected' : 'agent was already offline';
    return { message, id: publicId(agent), name: agent.name, status: 'offline' };
  }

  /** Closes the agent's connection and revokes its token. */
  async delete(caller: Owner, id: string): Promise<AgentDeletedView> {
    const agent = await this.find(caller, id);
    await this.database.runInTxLocking(agent.userId, async () => {
      if (!(await this.repository.delete(agent, this.clock.now()))) throw new DomainError('agent_not_found');
      await this.tokens.revoke({ userId: agent.userId, tokenId: agent.tokenId }).catch(unlessRevokedBefore);
    });
    return { message: 'agent deleted', id: publicId(agent), name: agent.name };
  }

  /** Refuses operations that exist only for containers. @throws DomainError `invalid_parameters` */
  async refuse(caller: Owner, id: string): Promise<never> {
    await this.find(caller, id);
    const message = 'an agent must be started and configured on its own machine; here it can be stopped and deleted';
    throw invalidParameters([{ field: 'id', message }]);
  }

  private async find({ userId, boundTo }: Owner, id: string): Promise<AgentRow> {
    const agent = await this.repository.find(id);
    if (!agent) throw new DomainError('agent_not_found');
    const context = requestContext.getStore();
    if (context) context.subjectUserId = agent.userId;
    if (agent.userId !== userId || boundTo !== null) throw new DomainError('not_authorized');
    return agent;
  }
}

function newAgent(
  { name, description, os, arch, tags }: Readonly<CreateAgentDto>,
  made: Pick<AgentRow, 'id' | 'userId' | 'tokenId' | 'createdAt'>,
): AgentRow {
  return {
    ...made,
    name,
    description: description ?? null,
    os: os ?? null,
    arch: arch ?? null,
    version: null,
    tags: [...(tags ?? [])],
    epoch: 0,
    online: false,
    connectedAt: null,
    seenAt: null,
    stats: null,
    deletedAt: null,
  };
}

function unlessRevokedBefore(error: unknown): void {
  if (!(error instanceof DomainError && error.kind === 'token_not_found')) throw error;
}
