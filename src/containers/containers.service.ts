import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { Principal } from '../auth';
import { containerName } from './lifecycle/plan';
import { DomainError } from '../errors';
import { EventLog } from '../events';
import { ImageCatalog } from '../images';
import { LOGGER, requestContext } from '../logging';
import { type Resources, TiersService } from '../tiers';
import { parseContainerReference } from './container-reference';
import type { ContainerRow } from './container.entity';
import { ContainerRepository } from './container.repository';
import * as answer from './dto/container-answers';
import { containerFacts } from './dto/container-facts';
import type { ContainerListView } from './dto/container-list-view';
import { containerView, ContainerView } from './dto/container-view';
import type { CreateContainerDto } from './dto/create-container.dto';
import type { ListContainersDto } from './dto/list-containers.dto';
import type { UpdateContainerDto } from './dto/update-container.dto';
import { ContainerClaims } from './lifecycle/claims';
import { ContainerLifecycle } from './lifecycle/container-lifecycle';
import { decodeCursor, encodeCursor } from './list-cursor';
import { generateName } from './name-generator';

/** On whose behalf something is done. A {@link Principal} is one; internal modules may build their own. */
export type Caller = Pick<Principal, 'userId' | 'tier' | 'sessionExpiresAt'>;

/** What the DTOs hold, as plain data: other modules need not make instances of them. */
export type CreateRequest = Readonly<CreateContainerDto>;
export type ListQuery = Readonly<ListContainersDto>;
export type Settings = Readonly<UpdateContainerDto>;

const DEFAULT_PAGE = 100;

/**
 * A user's containers: what the REST API offers, for other modules as well. Ids may be in any form that the API takes.
 * All methods throw {@link DomainError}: `container_not_found`, `not_authorized`, and what they name themselves.
 */
@Injectable()
export class ContainersService {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly lifecycle: ContainerLifecycle,
    private readonly claims: ContainerClaims,
    private readonly tiers: TiersService,
    private readonly images: ImageCatalog,
    private readonly eventLog: EventLog,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Accepts a container; it is made in the background and tells of itself in events.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`
   */
  async create(caller: Caller, request: CreateRequest): Promise<answer.ContainerCreatedView> {
    assertSession(caller);
    const image = this.images.resolve({ image: request.image, customImage: request.custom_image });
    const resources = this.tiers.resolve(caller.tier, request);
    this.tiers.assertWithin(caller.tier, resources);
    const row = this.newRow(caller, request, { image, resources });
    await this.repository.insert(row, {
      limit: this.tiers.limitsOf(caller.tier).containers,
      tier: caller.tier,
      event: { type: 'container_created', data: containerFacts(row) },
    });
    this.lifecycle.create(row).catch((error: unknown) => {
      this.logger.error({ err: error, container_id: row.id }, 'the creation ended without a trace');
    });
    return answer.created(row);
  }

  /** One page of the caller's containers, newest first, and where to begin to watch from. */
  async list(caller: Caller, query: ListQuery = {}): Promise<ContainerListView> {
    const limit = query.limit ?? DEFAULT_PAGE;
    // Read before the rows: a change between the two is told twice rather than never.
    const eventSeq = await this.eventLog.lastSeq(caller.userId);
    const [rows, count] = await Promise.all([
      this.repository.list({
        userId: caller.userId,
        limit: limit + 1,
        ...(query.status && { status: query.status }),
        ...(query.name !== undefined && { name: query.name }),
        ...(query.cursor !== undefined && { after: decodeCursor(query.cursor) }),
      }),
      this.repository.countLive(caller.userId),
    ]);
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page.at(-1) : undefined;
    const now = new Date();
    return {
      containers: page.map((row) => containerView(row, now)),
      count,
      limit: this.tiers.limitsOf(caller.tier).containers,
      event_seq: eventSeq,
      next_cursor: last ? encodeCursor(last) : null,
    };
  }

  async get(caller: Caller, id: string): Promise<ContainerView> {
    return containerView(await this.find(caller, id), new Date());
  }

  /**
   * Starts it; makes it anew, with its data, where it has vanished from Docker.
   *
   * @throws DomainError `start_failed`, `operation_in_progress`, `guest_session_expired`
   */
  async start(caller: Caller, id: string): Promise<answer.ContainerStartedView> {
    const row = await this.find(caller, id);
    assertSession(caller);
    return answer.started(await this.lifecycle.start(row));
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress` */
  async stop(caller: Caller, id: string): Promise<answer.ContainerStoppedView> {
    return answer.stopped(await this.lifecycle.stop(await this.find(caller, id)));
  }

  /** Soft: the name and the place in the count are free at once, the volume is kept until `purge_at`. @throws `delete_failed` */
  async delete(caller: Caller, id: string): Promise<answer.ContainerDeletedView> {
    return answer.deleted(await this.lifecycle.delete(await this.find(caller, id)));
  }

  /**
   * Renames and resizes; a resize makes the container anew and keeps its data.
   *
   * @throws DomainError `invalid_parameters`, `name_taken`, `update_failed`, `operation_in_progress`, `guest_session_expired`
   */
  async update(caller: Caller, id: string, settings: Settings): Promise<answer.ContainerUpdatedView> {
    const row = await this.find(caller, id);
    assertSession(caller);
    this.tiers.assertWithin(caller.tier, settings);
    const { name, memory_mb: memoryMb, cpu_shares: cpuShares, disk_mb: diskMb } = settings;
    return answer.updated(await this.lifecycle.update(row, { name, memoryMb, cpuShares, diskMb }));
  }

  /** The row behind any form of id. @throws DomainError `container_not_found`, `agent_not_found`, `not_authorized` */
  async find(caller: Pick<Caller, 'userId'>, id: string): Promise<ContainerRow> {
    const reference = parseContainerReference(id);
    if (reference?.kind === 'agent') throw new DomainError('agent_not_found');
    const row = reference && (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    const log = requestContext.getStore();
    if (log) log.containerId = row.id;
    if (row.userId !== caller.userId) throw new DomainError('not_authorized');
    return row;
  }

  private newRow(
    caller: Caller,
    request: CreateRequest,
    { image, resources }: { readonly image: string; readonly resources: Resources },
  ): ContainerRow {
    const id = randomUUID();
    const now = new Date();
    return {
      id,
      userId: caller.userId,
      name: request.name ?? generateName(),
      image,
      role: null,
      roleStatus: null,
      roleClaimId: null,
      roleClaimExpiresAt: null,
      env: { ...request.env },
      memoryMb: resources.memory_mb,
      cpuShares: resources.cpu_shares,
      diskMb: resources.disk_mb,
      status: 'creating',
      statusReason: null,
      dockerId: null,
      generation: 0,
      volumeName: containerName(id),
      runtime: null,
      ipAddress: null,
      runStartedAt: null,
      expiresAt: null,
      expiryWarnedAt: null,
      lastUsedAt: now,
      ...this.claims.newClaim('create'),
      revision: 0,
      createdAt: now,
      updatedAt: now,
      deletedAt: null,
      purgeAt: null,
      purgedAt: null,
    };
  }
}

function assertSession({ sessionExpiresAt }: Caller): void {
  if (sessionExpiresAt !== null && sessionExpiresAt <= new Date()) throw new DomainError('guest_session_expired');
}
