import { Injectable } from '@nestjs/common';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SelectQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import { AuditLog, type SystemAct } from '../audit';
import { Database, isUniqueViolation, type Lookup, type PageRange, readerOf, readTime } from '../database';
import { DomainError } from '../errors';
import { EventDraft, EventLog } from '../events';
import { Clock } from '../scheduling';
import { UsageLedger } from '../usage';
import { atLeast, type CapacityBounds, reservedBy, ReservedCapacity } from './capacity/reserved-capacity';
import { type ContainerReference, parseContainerReference } from './container-id';
import {
  ContainerEntity,
  type ContainerRow,
  ContainerStatus,
  DockerIdEntity,
  Operation,
  STATUS_TRANSITIONS,
} from './container.entity';
import { type LabelSelector, whereLabels } from './labels';
import { LeaseLostError, TERM_OVER } from './leases/lease';
import { roleAfterReplacement, roleTriedAgain } from './roles/role-follows';

type Kind = Exclude<ContainerReference['kind'], 'agent'>;

/**
 * Finds a live container by any of its ids with one indexed query. Most requests make it, so its text is written once
 * and the row is read without TypeORM's entities: building the query and hydrating one take longer than the database
 * does.
 */
class ContainerLookup {
  private readonly lookups: Readonly<Record<Kind, Lookup>>;
  private readonly toRow: (values: readonly unknown[]) => ContainerRow;

  constructor(database: Database) {
    const { columns, tableName } = database.manager.dataSource.getMetadata(ContainerEntity);
    const dockerIds = database.manager.dataSource.getMetadata(DockerIdEntity).tableName;
    const live = { columns: columns.map(({ databaseName }) => `c.${databaseName}`), where: 'c.deleted_at IS NULL' };
    const byDockerId = (column: string): Lookup =>
      database.lookup({
        ...live,
        from: `${tableName} c INNER JOIN ${dockerIds} d ON d.container_id = c.id`,
        key: `d.${column}`,
        orderBy: 'c.created_at DESC',
      });
    this.lookups = {
      database_id: database.lookup({ ...live, from: `${tableName} c`, key: 'c.id' }),
      docker_id: byDockerId('docker_id'),
      docker_short_id: byDockerId('short_id'),
    };
    const properties = columns.map((column) => ({ name: column.propertyName, read: readerOf(column) }));
    this.toRow = (values) => {
      // An object with all members from the start: adding them by name makes it a dictionary, five times as slow.
      const row = new ContainerEntity();
      const members = row as unknown as Record<string, unknown>;
      properties.forEach(({ name, read }, at) => (members[name] = read ? read(values[at]) : values[at]));
      return row;
    };
  }

  /** @returns null if there is none, or it is deleted */
  async find({ kind, id }: { readonly kind: Kind; readonly id: string }): Promise<ContainerRow | null> {
    const values = await this.lookups[kind](id);
    return values && this.toRow(values);
  }
}

/** What a sweep compares with Docker. */
export type SweptRow = Pick<
  ContainerRow,
  'id' | 'status' | 'dockerId' | 'volumeName' | 'runStartedAt' | 'operation' | 'operationExpiresAt'
>;

/** How many rows are read at once: some milliseconds of work. */
const PAGE = 1000;

/**
 * Reads every live row, a page at a time, so that requests are served in between. Includes every row that is live
 * throughout.
 */
async function* readSweptRows(database: Database): AsyncGenerator<SweptRow[]> {
  for (let after = ''; ;) {
    const page = await database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select(['c.id AS id', 'c.status AS status', 'c.operation AS operation'])
      .addSelect('c.docker_id', 'dockerId')
      .addSelect('c.volume_name', 'volumeName')
      .addSelect('c.run_started_at', 'runStartedAt')
      .addSelect('c.operation_expires_at', 'operationExpiresAt')
      .where('c.deletedAt IS NULL AND c.id > :after', { after })
      .orderBy('c.id')
      .limit(PAGE)
      .getRawMany<SweptRow>();
    yield page.map((row) => ({ ...row, operationExpiresAt: readTime(row.operationExpiresAt) }));
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last.id;
    await nextTurn();
  }
}

/** Stops and deletions that Berth performs without a request, by the reason in the event. */
const STOPS = {
  session_expired: 'container.expire',
  idle: 'container.stop_idle',
  user_suspended: 'container.stop_suspended',
} as const;
const DELETION = 'container.auto_delete';

const isActed = (reason: string | undefined): reason is keyof typeof STOPS =>
  reason !== undefined && Object.hasOwn(STOPS, reason);

/** Those events that were Berth's own actions, for the audit. */
function systemActions(
  { id, userId }: Pick<ContainerRow, 'id' | 'userId'>,
  events: readonly EventDraft[],
): SystemAct[] {
  const subject = { subjectUserId: userId, containerId: id };
  return events.flatMap((event): SystemAct[] => {
    if (event.type === 'container_deleted' && event.data.reason !== undefined)
      return [{ action: DELETION, ...subject }];
    const reason = event.type === 'container_stopped' ? event.data.reason : undefined;
    return isActed(reason) ? [{ action: STOPS[reason], ...subject }] : [];
  });
}

/** The columns that a write may change. Leases have their own methods. */
export type ContainerPatch = Partial<
  Omit<
    ContainerEntity,
    | 'id'
    | 'userId'
    | 'createdAt'
    | 'revision'
    | 'operation'
    | 'operationId'
    | 'operationHolder'
    | 'operationExpiresAt'
    | 'operationCancelled'
    | 'stoppedAt'
    | 'reservedMemoryMb'
    | 'reservedCpuShares'
    | 'meteredSince'
  >
>;

/** A change of one container and its events: committed together or not at all. */
export interface ContainerChange {
  readonly row: ContainerRow;
  readonly patch: ContainerPatch;
  readonly events: readonly EventDraft[];
}

/** Far below the parameter limits of SQLite and PostgreSQL. */
const IDS_IN_QUERY = 500;

/** The columns of a row that no operation leases. */
export const FREE = {
  operation: null,
  operationId: null,
  operationHolder: null,
  operationExpiresAt: null,
  operationCancelled: false,
} as const;

/** What a page of containers is limited to, and where it begins. */
export interface ListFilter extends PageRange {
  /** All users' if absent. */
  readonly userId?: string;
  readonly name?: string;
  readonly labels?: readonly LabelSelector[];
}

/** The newest containers of the query first. */
export function readPage(
  query: SelectQueryBuilder<ContainerEntity>,
  { userId, name, labels, ...page }: ListFilter,
  database: Database,
): Promise<ContainerRow[]> {
  if (userId !== undefined) query.andWhere('c.userId = :userId', { userId });
  if (name !== undefined) query.andWhere('c.name = :name', { name });
  whereLabels(query, labels);
  return database.newestFirst(query, 'createdAt', page);
}

/**
 * The sole writer of live containers. Each write is conditional: on the lease, or without one on the revision that was
 * read.
 */
@Injectable()
export class ContainerRepository {
  private readonly lookup: ContainerLookup;

  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly audit: AuditLog,
    private readonly capacity: ReservedCapacity,
    private readonly usage: UsageLedger,
    private readonly clock: Clock,
  ) {
    this.lookup = new ContainerLookup(database);
  }

  /** @returns null if there is none, or it is deleted */
  async find(reference: ContainerReference): Promise<ContainerRow | null> {
    if (reference.kind === 'agent') return null;
    return this.lookup.find(reference);
  }

  /**
   * Resolves a client's text to a full reference. A prefix is completed, first among the containers of `userId`, if
   * given; other users' containers with the same prefix do not make it ambiguous.
   *
   * @param scope.deleted also among those that are deleted and not yet purged
   * @returns null if it names nothing
   * @throws DomainError `ambiguous_id`
   */
  async resolve(text: string, scope: { userId?: string; deleted?: true } = {}): Promise<ContainerReference | null> {
    const reference = parseContainerReference(text);
    if (reference?.kind !== 'database_id_beginning') return reference;
    const alike = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .select(['c.id', 'c.userId'])
      .where('c.id BETWEEN :from AND :to', reference)
      .andWhere(scope.deleted ? 'c.purgedAt IS NULL' : 'c.deletedAt IS NULL')
      .getMany();
    const own = scope.userId === undefined ? alike : alike.filter(({ userId }) => userId === scope.userId);
    if (own.length > 1) throw new DomainError('ambiguous_id');
    const id = (own[0] ?? alike[0])?.id;
    return id === undefined ? null : { kind: 'database_id', id };
  }

  async findById(id: string): Promise<ContainerRow | null> {
    return this.lookup.find({ kind: 'database_id', id });
  }

  /** One page of a user's containers (of all users' if none is given), newest first, after `after`. */
  list(filter: ListFilter & { readonly status?: ContainerStatus }): Promise<ContainerRow[]> {
    const query = this.live();
    if (filter.status !== undefined) query.andWhere('c.status = :status', { status: filter.status });
    return readPage(query, filter, this.database);
  }

  async countLive(userId: string): Promise<number> {
    return this.live().andWhere('c.userId = :userId', { userId }).getCount();
  }

  /** Every live row, a page at a time, for the comparison with Docker. */
  sweptRows(): AsyncGenerator<SweptRow[]> {
    return readSweptRows(this.database);
  }

  /** @returns which of these ids are of containers that are live, or deleted and not yet purged */
  async idsWithData(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const known = new Set<string>();
    for (let from = 0; from < ids.length; from += IDS_IN_QUERY) {
      const rows = await this.database.manager
        .createQueryBuilder(ContainerEntity, 'c')
        .withDeleted()
        .select('c.id', 'id')
        .where('c.id IN (:...ids) AND c.purgedAt IS NULL', { ids: ids.slice(from, from + IDS_IN_QUERY) })
        .getRawMany<{ id: string }>();
      for (const { id } of rows) known.add(id);
    }
    return known;
  }

  async neededImages(): Promise<NeededImages> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .select('c.image', 'reference')
      .addSelect('c.image_id', 'id')
      .distinct()
      .where('c.purgedAt IS NULL')
      .getRawMany<{ reference: string; id: string | null }>();
    return {
      references: new Set(rows.flatMap(({ reference, id }) => (id === null ? reference : []))),
      ids: new Set(rows.flatMap(({ id }) => id ?? [])),
    };
  }

  /**
   * Inserts a container that its creation has already leased.
   *
   * @throws DomainError `container_limit_reached`, `name_taken`, `no_capacity`
   */
  async insert(
    row: ContainerRow,
    options: { limit: number; tier: string; event: EventDraft; bounds: CapacityBounds },
  ): Promise<void> {
    await this.database.runInTxLocking(row.userId, async () => {
      // Appending locks the user's row, so the count below cannot change before the commit.
      await this.eventLog.append({ userId: row.userId, drafts: [options.event] });
      const current = await this.countLive(row.userId);
      if (current >= options.limit) {
        throw new DomainError('container_limit_reached', {
          fields: { current, limit: options.limit, tier: options.tier },
        });
      }
      // The row object stays unchanged: TypeORM would write the database's own text of columns with a default back into
      // it.
      const insert = this.database.manager.createQueryBuilder().insert().into(ContainerEntity).values(row);
      const { bounds } = options;
      await this.nameGuard(() => this.capacity.insertClaiming(insert.updateEntity(false), { row, bounds }));
    });
  }

  /**
   * Releases the lease without an outcome, together with an observed change; the next holder must handle `as` first.
   *
   * @throws LeaseLostError
   */
  async abandonLease(change: ContainerChange, as: Operation): Promise<ContainerRow> {
    const released = { operation: as, operationExpiresAt: TERM_OVER };
    try {
      return await this.write({ ...change, patch: { ...change.patch, ...released } }, { underLease: true });
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error;
      // Or an earlier write of this operation was committed without acknowledgement, and the row differs from the one
      // read.
      const { id, operationId } = change.row;
      const update = this.withLease({ id, operationId: operationId ?? '' });
      const { affected } = await update.set({ ...released, revision: () => 'revision + 1' }).execute();
      if (affected !== 1) throw error;
      return { ...change.row, ...released };
    }
  }

  /** Asks the holder of a running creation to cancel it. @returns whether one is running */
  async requestCancel(id: string): Promise<boolean> {
    const result = await this.update(id)
      .set({ operationCancelled: true })
      .andWhere('operation = :operation', { operation: 'create' })
      .execute();
    return result.affected === 1;
  }

  /**
   * Records a use, unless one after `noted` is recorded. Neither a change nor an event: concurrent readers, writers and
   * lease holders need not know.
   */
  async touch(id: string, { now, noted }: { now: Date; noted: Date }): Promise<void> {
    await this.update(id)
      .set({ lastUsedAt: now })
      .andWhere('last_used_at <= :noted', { noted: this.database.timestamp(noted) })
      .execute();
  }

  /** Emits the progress of an operation; changes nothing. @throws LeaseLostError: then nothing is emitted */
  async emit(row: ContainerRow, events: readonly EventDraft[]): Promise<void> {
    await this.database.runInTxLocking(row.userId, async () => {
      await this.eventLog.append({ userId: row.userId, drafts: events });
      const leased = this.live().andWhere('c.id = :id AND c.operationId = :operationId', row);
      if ((await leased.getCount()) === 0)
        throw new LeaseLostError(`container ${row.id} is leased by another operation`);
    });
  }

  /**
   * Reserves what a leased container needs to run within these limits, before anything is done for it.
   *
   * @throws LeaseLostError, DomainError `no_capacity`; then nothing is changed
   */
  async reserve(
    row: ContainerRow,
    { memoryMb, cpuShares }: Pick<ContainerRow, 'memoryMb' | 'cpuShares'>,
    bounds: CapacityBounds,
  ): Promise<ContainerRow> {
    const reserved = atLeast(row, { reservedMemoryMb: memoryMb, reservedCpuShares: cpuShares });
    const changed = { ...reserved, revision: row.revision + 1 };
    await this.database.runInTx(async () => {
      const update = this.withLease({ id: row.id, operationId: row.operationId ?? '' }).set(changed);
      const result = await update.andWhere('revision = :read', { read: row.revision }).execute();
      if (result.affected !== 1) throw new LeaseLostError(`container ${row.id} is no longer leased by this operation`);
      await this.capacity.claim(row, reserved, bounds);
    });
    return { ...row, ...changed };
  }

  /** An early check, before any Docker call; the index decides at the commit. @throws DomainError `name_taken` */
  async assertNameFree(wanted: { userId: string; name: string; except: string }): Promise<void> {
    const taken = this.live().andWhere('c.userId = :userId AND c.name = :name AND c.id <> :except', wanted);
    if ((await taken.getCount()) > 0) throw new DomainError('name_taken');
  }

  /** Whether the holder was asked to cancel. */
  async isCancelled(id: string): Promise<boolean> {
    return (await this.live().andWhere('c.id = :id AND c.operationCancelled = true', { id }).getCount()) > 0;
  }

  /** Writes an operation's outcome and ends its lease. @throws LeaseLostError, DomainError `name_taken` */
  async commit(change: ContainerChange): Promise<ContainerRow> {
    const patch = { ...change.patch, ...roleTriedAgain(change.row, change.patch), ...FREE };
    return this.write({ ...change, patch }, { underLease: true });
  }

  /** Writes an operation's intermediate findings; the lease continues. @throws LeaseLostError */
  async record(change: ContainerChange): Promise<ContainerRow> {
    return this.write(change, { underLease: true });
  }

  /** Updates the row to its observed state, unless it was changed or leased since it was read. */
  async follow(change: ContainerChange): Promise<ContainerRow | null> {
    try {
      return await this.write(change, { underLease: false });
    } catch (error) {
      if (error instanceof LeaseLostError) return null;
      throw error;
    }
  }

  private async write(
    { row, patch, events }: { row: ContainerRow; patch: Partial<ContainerRow>; events: readonly EventDraft[] },
    { underLease }: { underLease: boolean },
  ): Promise<ContainerRow> {
    assertTransition(row.status, patch.status ?? row.status);
    const visible = events.length > 0 ? { updatedAt: this.clock.now() } : {};
    const role = roleAfterReplacement(row, patch);
    const reserved = reservedBy({ ...row, ...patch });
    const rest = this.restOf(row, patch);
    const { meteredSince, used } = this.usage.settle(row, { ...row, ...patch });
    const changed: Partial<ContainerRow> = {
      ...patch,
      ...role,
      ...rest,
      ...visible,
      ...reserved,
      meteredSince,
      revision: row.revision + 1,
    };
    const write = async (): Promise<void> => {
      if (events.length > 0) await this.eventLog.append({ userId: row.userId, drafts: [...events] });
      for (const act of systemActions(row, events)) await this.audit.recordSystem(act);
      const update = this.update(row.id).set(changed).andWhere('revision = :read', { read: row.revision });
      if (underLease) update.andWhere('operation_id = :operationId', { operationId: row.operationId });
      else update.andWhere('operation IS NULL');
      const result = await this.nameGuard(() => update.execute());
      if (result.affected !== 1) throw new LeaseLostError(`container ${row.id} is no longer leased by this operation`);
      if (patch.dockerId != null && patch.dockerId !== row.dockerId) await this.addDockerId(row.id, patch.dockerId);
      await this.usage.record(row.userId, used);
      await this.capacity.follow(row, reserved);
    };
    await (events.length > 0 ? this.database.runInTxLocking(row.userId, write) : this.database.runInTx(write));
    return { ...row, ...changed };
  }

  /** Since when it has been at rest, if a change begins or ends that. */
  private restOf({ status }: ContainerRow, patch: ContainerPatch): Partial<ContainerRow> {
    if (patch.status === undefined || patch.status === status) return {};
    return { stoppedAt: patch.status === 'stopped' || patch.status === 'error' ? this.clock.now() : null };
  }

  private async addDockerId(containerId: string, dockerId: string): Promise<void> {
    await this.database.manager.insert(DockerIdEntity, { dockerId, shortId: dockerId.slice(0, 12), containerId });
  }

  private live(): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager.createQueryBuilder(ContainerEntity, 'c').where('c.deletedAt IS NULL');
  }

  private update(id: string): UpdateQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .where('id = :id AND deleted_at IS NULL', { id });
  }

  private withLease(lease: { id: string; operationId: string }): UpdateQueryBuilder<ContainerEntity> {
    return this.update(lease.id).andWhere('operation_id = :operationId', { operationId: lease.operationId });
  }

  private async nameGuard<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (isUniqueViolation(error)) throw new DomainError('name_taken', { cause: error });
      throw error;
    }
  }
}

function assertTransition(from: ContainerStatus, to: ContainerStatus): void {
  if (from !== to && !STATUS_TRANSITIONS[from].includes(to)) {
    throw new Error(`a container cannot go from ${from} to ${to}`);
  }
}

/** The images of containers that are live, or deleted and not yet purged. */
export interface NeededImages {
  /** Of those that have no version yet, as they are being created. */
  readonly references: ReadonlySet<string>;
  /** Docker's ids of the versions that they were created from. */
  readonly ids: ReadonlySet<string>;
}
