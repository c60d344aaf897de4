import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type AgentDeletedView, AgentsService, type AgentStoppedView, type AgentView } from '../agents';
import type { Principal } from '../auth';
import { ContainerEngine, EngineError, type EngineErrorCode, type ExecRequest } from '../docker';
import { DomainError } from '../errors';
import { EventLog } from '../events';
import { decodeCursor, encodeCursor } from '../http';
import { ImageCatalog } from '../images';
import { LOGGER } from '../logging';
import { RoleCatalog } from '../roles';
import { Clock } from '../scheduling';
import { TiersService } from '../tiers';
import { Capacity } from './capacity/capacity';
import { assertOwner, assertSession } from './container-access';
import { agentIdOf } from './container-id';
import { containerFacts, type ContainerRow } from './container.entity';
import { ContainerRepository } from './container.repository';
import { DeletedContainers } from './deleted-containers';
import type { CreateContainerDto, ListContainersDto, UpdateContainerDto } from './dto/requests';
import * as answer from './dto/responses';
import { type ContainerListView, containerView, ContainerView, listedContainer, type ViewedAt } from './dto/responses';
import { RunPolicies } from './expiry/run-policy';
import { requestHash } from './idempotency';
import { parseSelector } from './labels';
import { ContainerLeases } from './leases/leases';
import { newContainer } from './new-container';
import { ContainerOperations } from './operations/operations';
import { Restoration } from './operations/restoration';

/** The user on whose behalf something is done. A {@link Principal} is one; internal modules may build their own. */
export type Caller = Pick<Principal, 'userId' | 'tier' | 'sessionExpiresAt'>;

/** The DTOs' fields as plain data: other modules need not instantiate the classes. */
export type CreateRequest = Readonly<CreateContainerDto>;
export type ListQuery = Readonly<ListContainersDto>;
export type Settings = Readonly<UpdateContainerDto>;

/** Makes a creation safe to retry. */
export interface CreateOptions {
  /** For 24 hours the same key with the same request creates nothing and returns the first answer. */
  readonly idempotencyKey?: string | undefined;
  /** Called if the answer is a replayed one. */
  readonly onReplayed?: () => void;
}

const DEFAULT_PAGE = 100;

/** Docker's errors for a container that is not running, though its row says so. */
const NOT_RUNNING: readonly EngineErrorCode[] = ['container_not_found', 'container_not_running', 'container_paused'];

/**
 * A user's containers: the REST API's operations, also for other modules. Ids may be in any form that the API accepts.
 * All methods throw {@link DomainError}: `container_not_found`, `ambiguous_id`, `not_authorized`, and what they name
 * themselves.
 */
@Injectable()
export class ContainersService {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly capacity: Capacity,
    private readonly deleted: DeletedContainers,
    private readonly operations: ContainerOperations,
    private readonly restoration: Restoration,
    private readonly leases: ContainerLeases,
    private readonly tiers: TiersService,
    private readonly images: ImageCatalog,
    private readonly roles: RoleCatalog,
    private readonly agents: AgentsService,
    private readonly eventLog: EventLog,
    private readonly engine: ContainerEngine,
    private readonly policies: RunPolicies,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Accepts a container; it is created in the background and its progress emitted in events.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`,
   * `idempotency_key_reused`, `no_capacity`
   */
  async create(
    caller: Caller,
    request: CreateRequest,
    options: CreateOptions = {},
  ): Promise<answer.ContainerCreatedView> {
    const { idempotencyKey, onReplayed } = options;
    assertSession(caller, this.clock.now());
    const image = this.images.resolve({ image: request.image, customImage: request.custom_image });
    const role = this.roles.resolve(request.role);
    const resources = this.tiers.resolve(caller.tier, request);
    this.tiers.assertWithin(caller.tier, resources);
    const { columns, stamp } = this.leases.newLease('create');
    const row = newContainer({
      userId: caller.userId,
      request,
      image,
      role,
      resources,
      lease: columns,
      now: this.clock.now(),
    });
    const created = answer.created(row, { session: caller, tier: this.tiers.limitsOf(caller.tier) });
    const once =
      idempotencyKey === undefined ? null : { key: idempotencyKey, requestHash: requestHash(request), answer: created };
    let replayed: answer.ContainerCreatedView | null;
    try {
      replayed = await this.capacity.within((bounds) =>
        this.repository.insert(row, {
          limit: this.tiers.limitsOf(caller.tier).containers,
          tier: caller.tier,
          event: { type: 'container_created', data: containerFacts(row) },
          once,
          bounds,
        }),
      );
    } catch (error) {
      const isNamed = (request.name ?? null) !== null;
      if (isNamed || !(error instanceof DomainError && error.kind === 'name_taken')) throw error;
      // The taken name was generated: another will do.
      return this.create(caller, request, options);
    }
    if (replayed) {
      onReplayed?.();
      return replayed;
    }
    this.operations.create(row, stamp).catch((error: unknown) => {
      this.logger.error({ err: error, container_id: row.id }, 'container creation failed unexpectedly');
    });
    return created;
  }

  /**
   * One page of the caller's containers, newest first, the first page with the online agents; and the event number to
   * watch from.
   */
  async list(caller: Caller, query: ListQuery = {}): Promise<ContainerListView> {
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

  async get(caller: Caller, id: string): Promise<ContainerView | AgentView> {
    const agentId = agentIdOf(id);
    if (agentId !== null) return this.agents.get(caller, agentId);
    return containerView(await this.find(caller, id), this.viewedAt(caller));
  }

  /**
   * Starts it; recreates it, with its data, if it is missing from Docker.
   *
   * @throws DomainError `start_failed`, `operation_in_progress`, `guest_session_expired`, `no_capacity`
   */
  async start(caller: Caller, id: string): Promise<answer.ContainerStartedView> {
    const row = await this.find(caller, id);
    assertSession(caller, this.clock.now());
    return answer.started(await this.operations.start(row));
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress` */
  async stop(caller: Caller, id: string): Promise<answer.ContainerStoppedView | AgentStoppedView> {
    const agentId = agentIdOf(id);
    if (agentId !== null) return this.agents.stop(caller, agentId);
    return answer.stopped(await this.operations.stop(await this.find(caller, id)));
  }

  /**
   * A soft deletion: the name and the place in the count are freed at once, the volume is kept until `purge_at`.
   *
   * @throws `delete_failed`
   */
  async delete(caller: Caller, id: string): Promise<answer.ContainerDeletedView | AgentDeletedView> {
    const agentId = agentIdOf(id);
    if (agentId !== null) return this.agents.delete(caller, agentId);
    return answer.deleted(await this.operations.delete(await this.find(caller, id)));
  }

  /**
   * Restores a deleted container as stopped, while its data is kept; the next start recreates it. A live one is left
   * unchanged.
   *
   * @throws DomainError `name_taken`, `container_limit_reached`, `guest_session_expired`, `operation_in_progress`
   */
  async restore(caller: Caller, id: string): Promise<answer.ContainerRestoredView> {
    const reference = await this.repository.resolve(id, { userId: caller.userId, deleted: true });
    if (reference?.kind === 'agent') return this.agents.refuse(caller, reference.id);
    if (!reference) throw new DomainError('container_not_found');
    return answer.restored(await this.restoration.restore(caller, reference));
  }

  /**
   * Renames and resizes; a resize recreates the container and keeps its data.
   *
   * @throws DomainError `invalid_parameters`, `name_taken`, `update_failed`, `operation_in_progress`,
   * `guest_session_expired`, `no_capacity`
   */
  async update(caller: Caller, id: string, settings: Settings): Promise<answer.ContainerUpdatedView> {
    const row = await this.find(caller, id);
    assertSession(caller, this.clock.now());
    this.tiers.assertWithin(caller.tier, settings);
    const { name, memory_mb: memoryMb, cpu_shares: cpuShares, disk_mb: diskMb } = settings;
    return answer.updated(await this.operations.update(row, { name, memoryMb, cpuShares, diskMb }));
  }

  /** Replaces all labels. Makes no Docker call. @throws DomainError `operation_in_progress`, `guest_session_expired` */
  async replaceLabels(caller: Caller, id: string, labels: Readonly<Record<string, string>>): Promise<ContainerView> {
    const row = await this.find(caller, id);
    assertSession(caller, this.clock.now());
    return containerView(await this.operations.relabel(row, labels), this.viewedAt(caller));
  }

  /**
   * Notes that the container is being used, so that it does not count as idle. For internal modules whose traffic the
   * API does not see, such as terminals and proxies: to be called at every use, as it writes at most once a minute, and
   * emits no event.
   */
  async touch(caller: Pick<Caller, 'userId'>, id: string): Promise<void> {
    const row = await this.find(caller, id);
    const now = this.clock.now();
    const noted = new Date(now.getTime() - this.policies.useNotedEveryMs);
    if (row.lastUsedAt <= noted) await this.repository.touch(row.id, { now, noted });
  }

  /**
   * Runs a command in a running container and waits for its end; counts as use. For internal modules such as terminals
   * and file managers: the request is the engine's own, so output is passed to `onOutput`, and `timeoutMs` bounds the
   * wait. No operation of the container waits for it: a stop ends the command, usually with exit code 137.
   *
   * @throws DomainError `container_not_running`, `guest_session_expired`; EngineError `command_not_started`,
   * `timed_out`, `output_too_large` and `aborted` (what may continue in the container: see the engine's port),
   * `docker_unavailable`
   */
  async exec(caller: Caller, id: string, request: ExecRequest): Promise<{ exitCode: number }> {
    const row = await this.find(caller, id);
    assertSession(caller, this.clock.now());
    if (row.status !== 'running' || row.dockerId === null) throw new DomainError('container_not_running');
    await this.touch(caller, row.id);
    try {
      return await this.engine.exec(row.dockerId, request);
    } catch (error) {
      if (error instanceof EngineError && NOT_RUNNING.includes(error.code)) {
        throw new DomainError('container_not_running', { cause: error });
      }
      throw error;
    } finally {
      await this.touch(caller, row.id).catch(() => undefined);
    }
  }

  /**
   * The row for any form of a container's id.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `agent_not_found`, `not_authorized`, and
   * `invalid_parameters` for an agent's id
   */
  async find(caller: Pick<Caller, 'userId'>, id: string): Promise<ContainerRow> {
    const reference = await this.repository.resolve(id, { userId: caller.userId });
    if (reference?.kind === 'agent') return this.agents.refuse(caller, reference.id);
    const row = reference && (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    assertOwner(caller, row);
    return row;
  }

  private viewedAt(caller: Caller): ViewedAt {
    return { now: this.clock.now(), sessionEnd: caller.sessionExpiresAt };
  }

  /** Agents have no container status, no labels, and no pages: all of them are on the first. */
  private async agentsBeside({ userId }: Caller, { status, name, label, cursor }: ListQuery): Promise<AgentView[]> {
    if (status !== undefined || label !== undefined || cursor !== undefined) return [];
    return this.agents.online({ userId, ...(name !== undefined && { name }) });
  }

  /** The rows that `status` selects: live ones, or the deleted ones that can be restored. */
  private rows(
    caller: Caller,
    { status, name, label, cursor, limit }: ListQuery & { limit: number },
  ): Promise<ContainerRow[]> {
    const filter = {
      userId: caller.userId,
      limit,
      ...(name !== undefined && { name }),
      ...(label !== undefined && { labels: [label].flat().map(parseSelector) }),
      ...(cursor !== undefined && { after: decodeCursor(cursor) }),
    };
    if (status === 'deleted') return this.deleted.listRestorable(filter);
    return this.repository.list({ ...filter, ...(status && { status }) });
  }
}
