import { Inject, Injectable } from '@nestjs/common';
import type { SelectQueryBuilder } from 'typeorm';
import { type Config, CONFIG } from '../../config';
import { Database, isAbsentSql, type PageRange, ProcessPresence, sql } from '../../database';
import { DomainError } from '../../errors';
import { type EventDraft, EventLog } from '../../events';
import { Clock } from '../../scheduling';
import { UsageLedger } from '../../usage';
import { type LabelSelector, whereLabels } from '../model/labels';
import { MIB } from '../model/container.entity';
import {
  bytesOf,
  SnapshotEntity,
  snapshotFacts,
  type SnapshotRow,
  type SnapshotStatus,
} from '../model/snapshot.entity';

/** The limits of a tier. */
export interface SnapshotLimits {
  readonly name: string;
  readonly snapshots: number;
  readonly snapshotMb: number;
}

/** What a user has. */
interface SnapshotUsage {
  readonly count: number;
  readonly bytes: number;
}

/** What the making of a snapshot has brought. */
export type MadeSnapshot = Pick<
  SnapshotRow,
  'root' | 'layerId' | 'layerBytes' | 'keptLayerMb' | 'dataBytes' | 'downtimeMs'
>;

export interface SnapshotFilter extends PageRange {
  /** All users if absent. */
  readonly userId?: string;
  readonly containerId?: string;
  /** Only those of these containers. */
  readonly containerIds?: readonly string[];
  readonly labels?: readonly LabelSelector[];
}

/** The process that makes a snapshot has the lease of its container under this id. */
const IS_UNDER_LEASE = `EXISTS (SELECT 1 FROM containers c WHERE c.id = s.container_id
  AND c.operation = 'snapshot' AND c.operation_id = s.operation_id)`;

/** A container is being created from the snapshot, for the first time or again; or a template copies its files. */
const IS_NEEDED = `(EXISTS (SELECT 1 FROM containers c WHERE c.seed_snapshot_id = s.id AND c.deleted_at IS NULL
  AND (c.status = 'creating' OR c.operation = 'start'))
  OR EXISTS (SELECT 1 FROM snapshots f WHERE f.copied_from_id = s.id AND f.status = 'making'))`;

/** The node of the snapshot was given up. */
const IS_LOST = 's.node_id IN (SELECT n.id FROM nodes n WHERE n.forgotten_at IS NOT NULL)';
const NODE_LOST = 'node_lost';
/** Docker lacks the volume or the image of the snapshot. */
const FILES_MISSING = 'files_missing';
const isFailedBy = (...reasons: readonly string[]): string =>
  `(s.status = 'failed' AND COALESCE(s.status_reason, '') IN (${reasons.map((reason) => `'${reason}'`).join(', ')}))`;
/** Nothing of these is removed, as their files may come back. */
const IS_GIVEN_UP = isFailedBy(NODE_LOST, FILES_MISSING);

/** Statuses that count towards the limits. */
const COUNTED: readonly SnapshotStatus[] = ['making', 'ready'];

/** The only writer of snapshots. Each change is conditional on the status that it follows, so that it happens once. */
@Injectable()
export class SnapshotRepository {
  /** The ids of the files of templates that this process makes. */
  private readonly inWork = new Set<string>();

  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly usage: UsageLedger,
    private readonly presence: ProcessPresence,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SNAPSHOT_RETENTION'>,
  ) {}

  /**
   * Inserts a snapshot that is about to be made. The limits hold under concurrent requests; a transient snapshot has
   * none.
   *
   * @param more further writes of the same transaction. @returns the id of the only container that is made from the
   *   snapshot on the same node; null if there is none
   * @throws DomainError `snapshot_limit_reached`
   */
  async insert(row: SnapshotRow, limits: SnapshotLimits, more?: () => Promise<string | null>): Promise<void> {
    await this.locking(row, async () => {
      if (!row.isTransient) assertWithin(limits, plus(await this.usageOf(row.userId), row));
      await this.append(row, { type: 'snapshot_created', data: snapshotFacts(row) });
      await this.database.run(sql.insert(SnapshotEntity, row));
      const onlyCopyId = (await more?.()) ?? null;
      if (onlyCopyId !== null) await this.change(row, { onlyCopyId }, ['making']);
    });
  }

  /**
   * Makes a snapshot ready, or `failed` if it has become larger than the tier allows. Call it in the transaction that
   * ends the container's lease. A snapshot that was deleted meanwhile stays so.
   */
  async finish(row: SnapshotRow, made: MadeSnapshot, limits: SnapshotLimits): Promise<void> {
    const { userId } = row;
    const ready: SnapshotRow = { ...row, ...made, status: 'ready', updatedAt: this.clock.now() };
    const others = await this.usageOf(userId, row.id);
    if (!row.isTransient && plus(others, ready).bytes > limits.snapshotMb * MIB) {
      await this.writeFailure(row, 'snapshot_limit_reached', ['making']);
      return;
    }
    const { status, updatedAt } = ready;
    if ((await this.follow(row, { ...made, status, updatedAt }, ['making'])) === null) return;
    const data = { ...snapshotFacts(ready), downtime_ms: made.downtimeMs ?? 0 };
    await this.append(row, { type: 'snapshot_ready', data });
  }

  /** Records the image of the layer of a snapshot that is still being made. */
  async noteLayer(row: SnapshotRow, layer: Pick<SnapshotRow, 'layerId' | 'keptLayerMb'>): Promise<void> {
    await this.change(row, layer, ['making']);
  }

  /**
   * Inserts the files of a template, which this process is about to copy from a snapshot. Until {@link endWork}, that
   * snapshot is kept.
   *
   * @returns the row as inserted
   * @throws DomainError `snapshot_not_found` if the snapshot was deleted meanwhile
   */
  async insertFiles(row: SnapshotRow): Promise<SnapshotRow> {
    const inserted = { ...row, operationId: this.presence.holder };
    this.inWork.add(row.id);
    await this.locking(row, async () => {
      const source = await lockedSnapshot(this.database, row.copiedFromId ?? '');
      if (source?.status !== 'ready') throw new DomainError('snapshot_not_found');
      await this.database.run(sql.insert(SnapshotEntity, inserted));
    });
    return inserted;
  }

  /** Call it once the files of a template are made, or cannot be made. */
  endWork({ id }: SnapshotRow): void {
    this.inWork.delete(id);
  }

  /**
   * Makes the files of a template ready. Call it in the transaction that writes the template.
   *
   * @returns false if another process has taken this one for dead, and removes them
   */
  async finishFiles(row: SnapshotRow, made: MadeSnapshot): Promise<boolean> {
    return (await this.change(row, { ...made, status: 'ready', updatedAt: this.clock.now() }, ['making'])) !== null;
  }

  /** Deletes the files of a template. Call it in the transaction that writes the template. */
  async deleteFiles(id: string): Promise<void> {
    const set = { status: 'deleting' as const, isClean: false, updatedAt: this.clock.now() };
    await this.database.run(sql`
      UPDATE snapshots SET ${sql.set(SnapshotEntity, set)} WHERE id = ${id} AND status <> 'deleting'`);
  }

  /** Marks a snapshot as failed, unless it is ready or was deleted. */
  async fail(row: SnapshotRow, reason: string): Promise<void> {
    await this.locking(row, () => this.writeFailure(row, reason, ['making']));
  }

  /** Marks the snapshots as failed that no process makes any more. */
  async failAbandoned(): Promise<void> {
    const abandoned = await this.query().where(`s.status = 'making' AND NOT ${this.isBeingMade}`).getMany();
    for (const row of abandoned) {
      await this.locking(row, async () => {
        const still = this.query().where(`s.id = :id AND NOT ${this.isBeingMade}`, { id: row.id });
        if ((await still.getCount()) > 0) await this.writeFailure(row, 'interrupted', ['making']);
      });
    }
  }

  /**
   * Marks the snapshots on nodes that were given up as failed. Nothing of them is removed: should the node come back,
   * {@link giveBack} makes them ready again, or, if they were deleted meanwhile, the sweep removes them.
   */
  async giveUp(): Promise<void> {
    const lost = await this.query().where(`s.status = 'ready' AND ${IS_LOST}`).getMany();
    for (const row of lost) await this.locking(row, () => this.writeFailure(row, NODE_LOST, ['ready']));
  }

  /** Makes snapshots ready again that were given up with a node which is back. */
  async giveBack(): Promise<void> {
    const back = this.query().where(`s.is_clean = false AND ${isFailedBy(NODE_LOST)} AND NOT (${IS_LOST})`);
    for (const row of await back.getMany()) await this.readyAgain(row);
  }

  /** The snapshots, and the files of templates, that are ready, or failed only as Docker lacked their files. */
  async listWithFiles(): Promise<SnapshotRow[]> {
    const isWithFiles = `(s.status = 'ready' OR ${isFailedBy(FILES_MISSING)})`;
    const isKept = '(s.is_transient = false OR EXISTS (SELECT 1 FROM templates t WHERE t.files_id = s.id))';
    return this.query().where(`${isKept} AND ${isWithFiles}`).getMany();
  }

  /** Records whether Docker has the files of a snapshot of {@link listWithFiles}. Nothing is removed from Docker. */
  async noteFiles(row: SnapshotRow, { areThere }: { areThere: boolean }): Promise<void> {
    if (areThere === (row.status === 'ready')) return;
    if (areThere) await this.readyAgain(row);
    else await this.locking(row, () => this.writeFailure(row, FILES_MISSING, ['ready']));
  }

  private async readyAgain(row: SnapshotRow): Promise<void> {
    const set = { status: 'ready' as const, statusReason: null, isClean: true, updatedAt: this.clock.now() };
    await this.locking(row, async () => {
      const ready = await this.follow(row, set, ['failed']);
      if (ready === null) return;
      const data = { ...snapshotFacts(ready), downtime_ms: row.downtimeMs ?? 0 };
      await this.append(row, { type: 'snapshot_ready', data });
    });
  }

  /** Emits the progress of a snapshot that is being made. */
  async emitProgress(row: SnapshotRow, progress: { message: string; percent: number }): Promise<void> {
    if (row.isTransient) return;
    await this.database.runInTxLocking(row.userId, async () => {
      await this.append(row, { type: 'snapshot_progress', data: { ...snapshotFacts(row), ...progress } });
    });
  }

  /** Changes what a user says about a snapshot. @returns null if it was deleted meanwhile */
  async describe(
    row: SnapshotRow,
    words: Partial<Pick<SnapshotEntity, 'name' | 'description' | 'labels'>>,
  ): Promise<SnapshotRow | null> {
    return this.change(row, { ...words, updatedAt: this.clock.now() }, ['making', 'ready', 'failed']);
  }

  /**
   * Deletes a snapshot for its user. What Docker has of it is removed once no process makes it and no container is
   * being created from it.
   *
   * @returns false if it was deleted meanwhile
   */
  async delete(row: SnapshotRow): Promise<boolean> {
    return this.locking(row, async () => {
      const set = { status: 'deleting' as const, isClean: false, updatedAt: this.clock.now() };
      const deleted = await this.follow(row, set, ['making', 'ready', 'failed']);
      if (deleted === null) return false;
      await this.append(row, { type: 'snapshot_deleted', data: snapshotFacts(deleted) });
      return true;
    });
  }

  /** @returns null if there is none, or it was deleted */
  async find(id: string): Promise<SnapshotRow | null> {
    return this.query().where("s.id = :id AND s.status <> 'deleting'", { id }).getOne();
  }

  /** Also finds a deleted snapshot, of which Docker still has everything while a container is to be created from it. */
  async findSeed(id: string): Promise<SnapshotRow | null> {
    return this.query().where('s.id = :id', { id }).getOne();
  }

  /** One page of snapshots, newest first; none that are transient or deleted. */
  list({ userId, containerId, containerIds, labels, ...page }: SnapshotFilter): Promise<SnapshotRow[]> {
    const query = this.query().where("s.is_transient = false AND s.status <> 'deleting'");
    if (userId !== undefined) query.andWhere('s.userId = :userId', { userId });
    if (containerId !== undefined) query.andWhere('s.containerId = :containerId', { containerId });
    if (containerIds !== undefined) query.andWhere('s.containerId IN (:...containerIds)', { containerIds });
    whereLabels(query, labels);
    return this.database.newestFirst(query, 'createdAt', page);
  }

  /** What a user's snapshots count with. For decisions, lock the user's row first. */
  async usageOf(userId: string, except = ''): Promise<SnapshotUsage> {
    const sums = await this.query()
      .select('COUNT(*)', 'count')
      .addSelect('COALESCE(SUM(s.data_bytes + s.layer_bytes), 0)', 'bytes')
      .where('s.userId = :userId AND s.is_transient = false AND s.id <> :except', { userId, except })
      .andWhere('s.status IN (:...counted)', { counted: COUNTED })
      .getRawOne<{ count: unknown; bytes: unknown }>();
    return { count: Number(sums?.count ?? 0), bytes: Number(sums?.bytes ?? 0) };
  }

  /**
   * Deletes the snapshots that are over: of deleted users, of containers that were deleted `SNAPSHOT_RETENTION` ago,
   * of forks whose copies are made, and the files of templates that could not be made.
   *
   * @param id one of them; absent: all
   */
  async deleteDue(id?: string): Promise<void> {
    const retention = this.config.SNAPSHOT_RETENTION;
    const expired = retention === null ? null : new Date(this.clock.now().getTime() - retention);
    const ofDeletedUser = `s.user_id IN (SELECT id FROM users WHERE suspended_at IS NOT NULL AND deleted_at IS NOT NULL)`;
    const isUsed = `s.is_transient = true AND s.status <> 'making' AND NOT ${IS_NEEDED}`;
    const isExpired = 'EXISTS (SELECT 1 FROM containers c WHERE c.id = s.container_id AND c.deleted_at <= :expired)';
    const conditions = [ofDeletedUser, isUsed, ...(expired ? [isExpired] : [])].join(' OR ');
    const isUnused = `s.status = 'failed' AND NOT EXISTS (SELECT 1 FROM templates t WHERE t.files_id = s.id)`;
    const query = this.query()
      .where("s.status <> 'deleting'")
      .andWhere(`CASE WHEN s.copied_from_id IS NULL THEN (${conditions}) ELSE (${isUnused}) END`);
    if (expired) query.setParameter('expired', this.database.timestamp(expired));
    if (id !== undefined) query.andWhere('s.id = :id', { id });
    for (const row of await query.getMany()) await this.delete(row);
  }

  /**
   * Snapshots of which Docker may have something unneeded.
   *
   * @param only.id one of them; absent: all
   * @param only.silent the nodes that do not answer, which are left out
   */
  async listUnclean({ id, silent = new Set() }: { id?: string; silent?: ReadonlySet<string> }): Promise<SnapshotRow[]> {
    const query = this.query()
      .where(`s.is_clean = false AND NOT ${IS_GIVEN_UP}`)
      .andWhere(`NOT ${this.isBeingMade} AND NOT ${IS_NEEDED}`);
    if (silent.size > 0) {
      query.andWhere('(s.node_id IS NULL OR s.node_id NOT IN (:...silent))', { silent: [...silent] });
    }
    if (id !== undefined) query.andWhere('s.id = :id', { id });
    return query.getMany();
  }

  /** The ids of all snapshots, except the failed ones of which Docker has nothing any more. */
  async idsWithFiles(): Promise<ReadonlySet<string>> {
    const query = this.query().select('s.id', 'id').where("NOT (s.status = 'failed' AND s.is_clean = true)");
    return new Set((await query.getRawMany<{ id: string }>()).map(({ id }) => id));
  }

  /** Records that Docker has nothing of a snapshot any more; forgets a deleted one. */
  async markClean({ id }: SnapshotRow): Promise<void> {
    const isUnclean = sql`id = ${id} AND is_clean = FALSE`;
    await this.database.runInTx(async () => {
      await this.database.run(sql`DELETE FROM snapshots WHERE ${isUnclean} AND status = 'deleting'`);
      await this.database.run(sql`UPDATE snapshots SET is_clean = TRUE WHERE ${isUnclean}`);
    });
  }

  /** A condition: a snapshot that is made under a lease, or the files of a template that a living process makes. */
  private get isBeingMade(): string {
    const own = ['', ...this.inWork].map((id) => `'${id}'`).join(', ');
    const isOfOthers = `s.operation_id <> '${this.presence.holder}' AND NOT ${isAbsentSql('s.operation_id')}`;
    const isAtWork = this.database.isSqlite ? `s.id IN (${own})` : `(s.id IN (${own}) OR ${isOfOthers})`;
    return `(${IS_UNDER_LEASE} OR (s.copied_from_id IS NOT NULL AND s.status = 'making' AND ${isAtWork}))`;
  }

  /** Runs `work` in a transaction under the lock of the user's row. */
  private async locking<T>({ userId }: SnapshotRow, work: () => Promise<T>): Promise<T> {
    return this.database.runInTxLocking(userId, async () => {
      await this.eventLog.lock(userId);
      return work();
    });
  }

  private async writeFailure(row: SnapshotRow, reason: string, from: readonly SnapshotStatus[]): Promise<void> {
    const set = { status: 'failed' as const, statusReason: reason, isClean: false, updatedAt: this.clock.now() };
    const failed = await this.follow(row, set, from);
    if (failed === null) return;
    const message = FAULTS[reason] ?? 'the snapshot could not be created';
    await this.append(row, { type: 'snapshot_failed', data: { ...snapshotFacts(failed), reason, message } });
  }

  /**
   * Changes the status, and settles the use until then. To be called under the lock of the user's row: the row that
   * was read before it may be older.
   *
   * @returns null if the status is none of `from` any more
   */
  private async follow(
    { id, userId }: SnapshotRow,
    set: Partial<SnapshotEntity> & Pick<SnapshotEntity, 'status'>,
    from: readonly SnapshotStatus[],
  ): Promise<SnapshotRow | null> {
    const current = await this.findSeed(id);
    if (current === null) return null;
    const { meteredSince, used } = this.usage.settleSnapshot(current, { ...current, ...set });
    const changed = await this.change(current, { ...set, meteredSince }, from);
    if (changed !== null) await this.usage.record(userId, used);
    return changed;
  }

  /** @returns null if the status is none of `from` any more */
  private async change(
    row: SnapshotRow,
    set: Partial<SnapshotEntity>,
    from: readonly SnapshotStatus[],
  ): Promise<SnapshotRow | null> {
    const { affected } = await this.database.run(sql`
      UPDATE snapshots SET ${sql.set(SnapshotEntity, set)} WHERE id = ${row.id} AND status IN (${sql.list(from)})`);
    return affected === 1 ? { ...row, ...set } : null;
  }

  /** Users are told nothing of transient snapshots. */
  private async append({ userId, isTransient }: SnapshotRow, draft: EventDraft): Promise<void> {
    if (!isTransient) await this.eventLog.append({ userId, drafts: [draft] });
  }

  private query(): SelectQueryBuilder<SnapshotEntity> {
    return this.database.manager.createQueryBuilder(SnapshotEntity, 's');
  }
}

/**
 * The row of a snapshot, which cannot change until the end of the transaction.
 *
 * @returns null if there is none
 */
export function lockedSnapshot(database: Database, id: string): Promise<SnapshotRow | null> {
  const query = database.manager.createQueryBuilder(SnapshotEntity, 's').where('s.id = :id', { id });
  return (database.isSqlite ? query : query.setLock('pessimistic_read')).getOne();
}

function plus({ count, bytes }: SnapshotUsage, row: SnapshotRow): SnapshotUsage {
  return { count: count + 1, bytes: bytes + bytesOf(row) };
}

function assertWithin({ name: tier, snapshots, snapshotMb }: SnapshotLimits, { count, bytes }: SnapshotUsage): void {
  if (count <= snapshots && bytes <= snapshotMb * MIB) return;
  const sizes = { current_mb: Math.ceil(bytes / MIB), limit_mb: snapshotMb };
  throw new DomainError('snapshot_limit_reached', {
    fields: { current: count - 1, limit: snapshots, ...sizes, tier },
  });
}

const FAULTS: Readonly<Record<string, string>> = {
  interrupted: 'the creation was interrupted',
  snapshot_limit_reached: "its size exceeds the tier's limit",
  data_too_large: 'there was not enough space for its files',
  copy_failed: 'the data could not be copied',
  docker_unavailable: 'Docker is unreachable',
  node_unavailable: 'the node is unreachable',
  node_lost: 'the node was lost with its files',
  files_missing: 'its files are missing from Docker',
  docker_error: 'Docker returned an error',
  container_not_running: 'the container stopped or was resumed during the creation',
};
