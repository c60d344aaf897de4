import { Injectable } from '@nestjs/common';
import { AgentsService, type AgentView } from '../agents';
import { EventLog } from '../events';
import { decodeCursor, encodeCursor } from '../http';
import { Clock } from '../scheduling';
import { TiersService } from '../tiers';
import { type Caller, ContainerRights } from './access/container-access';
import type { ContainerRow } from './model/container.entity';
import { ContainerRepository } from './rows/container.repository';
import { DeletedContainers } from './rows/deleted-containers';
import type { ListContainersDto } from './dto/requests';
import { type ContainerListView, containerView, ContainerView, listedContainer, type ViewedAt } from './dto/responses';
import { parseSelector } from './model/labels';

export type ListQuery = Readonly<ListContainersDto>;

const DEFAULT_PAGE = 100;

/** The API's views of a user's containers. */
@Injectable()
export class ContainerViews {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly rights: ContainerRights,
    private readonly agents: AgentsService,
    private readonly eventLog: EventLog,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {}

  /** The view of one of the caller's containers. */
  of(caller: Caller, row: ContainerRow): ContainerView {
    return containerView(row, this.viewedAt(caller));
  }

  /**
   * One page of the caller's containers, newest first, and the event number to watch from. The first page includes
   * the online agents.
   */
  async list(caller: Caller, query: ListQuery): Promise<ContainerListView> {
    const limit = query.limit ?? DEFAULT_PAGE;
    // Read before the rows: a change between the two is reported twice rather than never.
    const eventSeq = await this.eventLog.lastSeq(caller.userId);
    const [rows, live, agents] = await Promise.all([
      this.rows(caller, { ...query, limit: limit + 1 }),
      this.repository.countLive(caller.userId),
      this.agentsBeside(caller, query),
    ]);
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    const at = this.viewedAt(caller);
    const containers = [...page.map((row) => listedContainer(row, at)), ...agents];
    const tierLimit = this.tiers.limitsOf(caller.tier).containers;
    return {
      containers,
      count: containers.length,
      usage: { containers: live, limit: tierLimit },
      limit: tierLimit,
      event_seq: eventSeq,
      next_cursor: last ? encodeCursor(last) : null,
    };
  }

  private viewedAt(caller: Caller): ViewedAt {
    return { now: this.clock.now(), sessionEnd: caller.sessionExpiresAt };
  }

  /**
   * The online agents, for the first page only. None if the query filters by status or label, which agents do not
   * have, and none for a token for one container.
   */
  private async agentsBeside(
    { userId, boundTo }: Caller,
    { status, name, label, cursor }: ListQuery,
  ): Promise<AgentView[]> {
    if (boundTo !== null || status !== undefined || label !== undefined || cursor !== undefined) return [];
    return this.agents.online({ userId, ...(name !== undefined && { name }) });
  }

  /** The rows that match the query: live ones or, for `status=deleted`, the deleted ones that can be restored. */
  private async rows(
    caller: Caller,
    { status, name, label, cursor, limit }: ListQuery & { limit: number },
  ): Promise<ContainerRow[]> {
    const ids = await this.rights.listedFor(caller);
    const filter = {
      userId: caller.userId,
      ...(ids && { ids }),
      limit,
      ...(name !== undefined && { name }),
      ...(label !== undefined && { labels: [label].flat().map(parseSelector) }),
      ...(cursor !== undefined && { after: decodeCursor(cursor) }),
    };
    if (status === 'deleted') return this.deleted.listRestorable(filter);
    return this.repository.list({ ...filter, ...(status && { status }) });
  }
}
