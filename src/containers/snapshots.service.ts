import { Injectable } from '@nestjs/common';
import type { PageRange } from '../database';
import { DomainError } from '../errors';
import { type Page, type PagedQuery, readPage } from '../http';
import type { RequestKey } from '../idempotency';
import { TiersService } from '../tiers';
import { type Caller, ContainerRights, type Owner } from './access/container-access';
import type { WaitLimits } from './access/waits';
import {
  anySnapshotView,
  type AnySnapshotView,
  type CreateSnapshotDto,
  type ListSnapshotsDto,
  type SnapshotDeletedView,
  type SnapshotListView,
  snapshotView,
  type SnapshotView,
  type UpdateSnapshotDto,
} from './dto/snapshots';
import { MIB } from './model/container.entity';
import { parseSelector } from './model/labels';
import type { SnapshotRow } from './model/snapshot.entity';
import { SnapshotCreation } from './snapshots/snapshot-making';
import { SnapshotWait } from './snapshots/snapshot-wait';
import { type SnapshotFilter, SnapshotRepository } from './rows/snapshot.repository';
import { SnapshotAccess } from './snapshots/snapshot-access';
import { SnapshotRemoval } from './snapshots/snapshot-removal';

/** The REST API's operations on a user's snapshots, also for other modules. All methods throw {@link DomainError}. */
@Injectable()
export class SnapshotsService {
  constructor(
    private readonly access: SnapshotAccess,
    private readonly rights: ContainerRights,
    private readonly creation: SnapshotCreation,
    private readonly waiting: SnapshotWait,
    private readonly removal: SnapshotRemoval,
    private readonly snapshots: SnapshotRepository,
    private readonly tiers: TiersService,
  ) {}

  /** See {@link SnapshotCreation.accept}. */
  create(caller: Caller, id: string, request: Readonly<CreateSnapshotDto>, key?: RequestKey): Promise<SnapshotView> {
    return this.creation.accept(caller, id, request, key);
  }

  /** See {@link SnapshotWait.untilReady}. */
  wait(caller: Caller, id: string, limits: WaitLimits): Promise<SnapshotView> {
    return this.waiting.untilReady(caller, id, limits);
  }

  /** One page of the caller's snapshots, newest first. */
  async list(caller: Caller, query: Readonly<ListSnapshotsDto>): Promise<SnapshotListView> {
    const { container, label, ...range } = query;
    const containerIds = await this.rights.listedFor(caller);
    const filter = {
      userId: caller.userId,
      ...(containerIds && { containerIds }),
      ...(container !== undefined && { containerId: container }),
      ...(label !== undefined && { labels: [label].flat().map(parseSelector) }),
    };
    const page = await this.pageOf(filter, range);
    const { count, bytes } = await this.snapshots.usageOf(caller.userId);
    const { snapshots: limit, snapshotMb } = this.tiers.limitsOf(caller.tier);
    return {
      snapshots: page.items.map(snapshotView),
      count: page.items.length,
      usage: { snapshots: count, limit, bytes, limit_bytes: snapshotMb * MIB },
      next_cursor: page.next_cursor,
    };
  }

  /** @throws DomainError `snapshot_not_found`, `not_authorized` */
  async get(caller: Owner, id: string): Promise<SnapshotView> {
    return snapshotView(await this.access.find(caller, id));
  }

  /** Changes name, description or labels; absent ones stay. @throws DomainError as {@link get} */
  async update(
    caller: Owner,
    id: string,
    { name, description, labels }: Readonly<UpdateSnapshotDto>,
  ): Promise<SnapshotView> {
    const row = await this.access.find(caller, id);
    const words = {
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
      ...(labels !== undefined && { labels }),
    };
    const described = await this.snapshots.describe(row, words);
    if (described === null) throw new DomainError('snapshot_not_found');
    return snapshotView(described);
  }

  /**
   * Deletes a snapshot. What Docker has of it is removed in the background, once no container is being created from it
   * and it is not being made any more. Containers that were created from it go on.
   *
   * @throws DomainError as {@link get}
   */
  async delete(caller: Owner, id: string): Promise<SnapshotDeletedView> {
    return this.remove(await this.access.find(caller, id));
  }

  /** One page of all users' snapshots, or of one user's, for operators. */
  async listAll({ user_id: userId, ...range }: PagedQuery & { user_id?: string }): Promise<Page<AnySnapshotView>> {
    const filter = userId === undefined ? {} : { userId };
    const page = await this.pageOf(filter, range);
    return { ...page, items: page.items.map(anySnapshotView) };
  }

  /** Deletes any user's snapshot, for operators. @throws DomainError `snapshot_not_found` */
  async deleteAny(id: string): Promise<SnapshotDeletedView> {
    return this.remove(await this.access.findForOperator(id));
  }

  private pageOf(filter: Omit<SnapshotFilter, keyof PageRange>, range: PagedQuery): Promise<Page<SnapshotRow>> {
    return readPage(
      range,
      (read) => this.snapshots.list({ ...filter, ...read }),
      (row) => row,
    );
  }

  private async remove(row: SnapshotRow): Promise<SnapshotDeletedView> {
    if (!(await this.snapshots.delete(row))) throw new DomainError('snapshot_not_found');
    void this.removal.clean(row.id);
    return { message: 'snapshot deleted', id: row.id, name: row.name };
  }
}
