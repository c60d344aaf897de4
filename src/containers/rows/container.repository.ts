import { Injectable } from '@nestjs/common';
import { AuditLog, type SystemAct } from '../../audit';
import { Database, isUniqueViolation, type Sql, sql, type SqlPatch } from '../../database';
import { plainId } from '../../engine';
import { DomainError } from '../../errors';
import { EventDraft, EventLog } from '../../events';
import { Clock } from '../../scheduling';
import { UsageLedger } from '../../usage';
import {
  atLeast,
  type CapacityBounds,
  NOTHING_RESERVED,
  reservedBy,
  ReservedCapacity,
  type ReservedColumns,
} from './reserved-capacity';
import { ContainerQueries } from './container.queries';
import {
  ContainerEntity,
  containerFacts,
  type ContainerRow,
  ContainerStatus,
  DockerIdEntity,
  Operation,
  STATUS_TRANSITIONS,
} from '../model/container.entity';
import type { WarmSlot } from '../model/warm-slot.entity';
import { NO_RUN } from '../policies/run-policy';
import { lockedSnapshot } from './snapshot.repository';
import { LeaseLostError } from '../leases/lease';
import { TERM_OVER } from '../leases/lease-term';
import { roleAfterReplacement, roleTriedAgain } from '../policies/role-follows';
import { SingleStatementWriter } from './single-statement-writer';
import { startAfter, type StartColumns } from './start-command-runs';
import { NoSlotError, WarmSlots } from './warm-slots';

const LIFETIME_END = 'container.expire';

/** Audit actions of stops that Berth performs without a request, by the reason in the event. */
const STOPS = {
  session_expired: LIFETIME_END,
  lifetime_over: LIFETIME_END,
  idle: 'container.stop_idle',
  user_suspended: 'container.stop_suspended',
} as const;
const PAUSE = 'container.pause_idle';
const DELETION = 'container.auto_delete';

const isActed = (reason: string | undefined): reason is keyof typeof STOPS =>
  reason !== undefined && Object.hasOwn(STOPS, reason);

/** The audit entries for those events that were Berth's own actions. */
function systemActions(
  { id, userId }: Pick<ContainerRow, 'id' | 'userId'>,
  events: readonly EventDraft[],
): SystemAct[] {
  const subject = { subjectUserId: userId, containerId: id };
  return events.flatMap((event): SystemAct[] => {
    if (event.type === 'container_deleted' && event.data.reason !== undefined)
      return [{ action: event.data.reason === 'lifetime_over' ? LIFETIME_END : DELETION, ...subject }];
    if (event.type === 'container_paused' && event.data.reason !== undefined)
      return [{ action: event.data.reason === 'lifetime_over' ? LIFETIME_END : PAUSE, ...subject }];
    const reason = event.type === 'container_stopped' ? event.data.reason : undefined;
    return isActed(reason) ? [{ action: STOPS[reason], ...subject }] : [];
  });
}

/** The columns that a caller may change. The others belong to the lease, follow from the change, or never change. */
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
    | 'pausedAt'
    | 'reservedMemoryMb'
    | 'reservedCpuShares'
    | 'meteredSince'
    | keyof StartColumns
  >
>;

/** A change of one container and its events: committed together or not at all. */
export interface ContainerChange {
  readonly row: ContainerRow;
  readonly patch: ContainerPatch;
  readonly events: readonly EventDraft[];
  /** Writes that belong to the same transaction, under the lock of the user's row. */
  readonly also?: (() => Promise<void>) | undefined;
}

/** The status reason of a container whose node was given up. */
const NODE_LOST = 'node_lost';
const LOST = 'the node was lost with its data; a start recreates the container';

/** The columns of a row that is not placed on a node. */
const NOT_PLACED = { nodeId: null, otherNodeId: null, engineId: null, unreachableSince: null } as const;

/** The columns of a row that no operation leases. */
export const FREE = {
  operation: null,
  operationId: null,
  operationHolder: null,
  operationExpiresAt: null,
  operationCancelled: false,
} as const;

/**
 * The main writer of live containers. Each write is conditional: on the lease, or without a lease on the revision
 * that was read. Leases, role columns and start-command columns have writers of their own.
 */
@Injectable()
export class ContainerRepository extends ContainerQueries {
  private readonly singleStatements: SingleStatementWriter;

  constructor(
    database: Database,
    private readonly eventLog: EventLog,
    private readonly audit: AuditLog,
    private readonly capacity: ReservedCapacity,
    private readonly usage: UsageLedger,
    private readonly slots: WarmSlots,
    private readonly clock: Clock,
  ) {
    super(database);
    this.singleStatements = new SingleStatementWriter(database, eventLog);
  }

  /**
   * Inserts a container that is already leased by its creation. In a cluster it is placed on the least full node.
   *
   * @returns the row as inserted
   * @throws DomainError `container_limit_reached`, `name_taken`, `no_capacity`; `snapshot_not_found` if the snapshot
   *   that it is to be made from was deleted meanwhile
   */
  async insert(
    row: ContainerRow,
    options: { limit: number; tier: string; event: EventDraft; bounds: CapacityBounds },
  ): Promise<ContainerRow> {
    const isAlone = row.seedSnapshotId === null;
    const inserted = isAlone ? await this.nameGuard(() => this.insertByStatement(row, options)) : null;
    if (inserted) return inserted;
    return this.database.runInTxLocking(row.userId, async () => {
      // Appending locks the user's row, so the count below cannot change before the commit.
      await this.eventLog.append({ userId: row.userId, drafts: [options.event] });
      if (row.seedSnapshotId !== null) await this.assertKept(row.seedSnapshotId);
      const current = await this.countLive(row.userId);
      if (current >= options.limit) {
        throw new DomainError('container_limit_reached', {
          fields: { current, limit: options.limit, tier: options.tier },
        });
      }
      const { bounds } = options;
      if (bounds.nodes) {
        const placed = { ...row, nodeId: await this.capacity.place(row, bounds) };
        await this.insertRow(placed);
        return placed;
      }
      await this.insertRow(row);
      await this.capacity.claim({ ...NOTHING_RESERVED, nodeId: null, otherNodeId: null }, row, bounds);
      return row;
    });
  }

  /**
   * Inserts a container that runs already: in a warm slot, which is taken in the same transaction. A rollback returns
   * the slot. From the commit on it is a container like any other, without a lease.
   *
   * @param options.keys of the slots that suit
   * @param rowOf the row of the container in that slot
   * @returns the row as inserted
   * @throws NoSlotError, and the creation can go on without a slot: none is ready, or the tier or the machine has no
   *   room, which the caller must find out; DomainError `name_taken`
   */
  async insertWarm(
    rowOf: (slot: WarmSlot) => ContainerRow,
    { userId, keys, limit, bounds }: { userId: string; keys: readonly string[]; limit: number; bounds: CapacityBounds },
  ): Promise<ContainerRow> {
    return this.database.runInTxLocking(userId, async () => {
      await this.eventLog.lock(userId);
      if ((await this.countLive(userId)) >= limit) throw new NoSlotError('the tier allows no more containers');
      const taken = rowOf(await this.slots.take(keys));
      const before: ContainerRow = { ...taken, status: 'creating' };
      const { meteredSince } = this.usage.settle(before, taken);
      const row = { ...taken, ...startAfter(before, taken, this.clock.now()), meteredSince };
      await this.insertRow(row);
      if (row.engineId !== null) await this.insertEngineId(row.id, row.engineId);
      const data = containerFacts(row);
      const drafts: EventDraft[] = [
        { type: 'container_created', data },
        { type: 'container_started', data },
      ];
      await this.eventLog.append({ userId, drafts });
      await this.claimAsPlaced(row, bounds);
      return row;
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
      // The lease may still be ours: an earlier write of this operation was committed without acknowledgement, so the
      // row differs from the one read.
      const { id, operationId } = change.row;
      const again = { ...released, revision: sql`revision + 1` };
      if (!(await this.update(id, again, sql`operation_id = ${operationId}`))) throw error;
      return { ...change.row, ...released };
    }
  }

  /** Asks the holder of a running creation to cancel it. @returns whether a creation is running */
  async requestCancel(id: string): Promise<boolean> {
    return this.update(id, { operationCancelled: true }, sql`operation = 'create'`);
  }

  /**
   * Records a use, unless one after `noted` is recorded. Neither changes the revision nor emits an event: concurrent
   * readers, writers and lease holders need not notice.
   */
  async touch(id: string, { now, noted }: { now: Date; noted: Date }): Promise<void> {
    await this.update(id, { lastUsedAt: now }, sql`last_used_at <= ${noted}`);
  }

  /**
   * Records that the container's node does not answer, or answers again, and emits the event, unless the row says so
   * already. The container and its operation do not change, so its lease and revision stay.
   *
   * @param since when the node was found silent; null: it answers
   */
  async noteReachability(row: ContainerRow, since: Date | null): Promise<void> {
    const { userId } = row;
    await this.database.runInTxLocking(userId, async () => {
      const before = since === null ? sql`unreachable_since IS NOT NULL` : sql`unreachable_since IS NULL`;
      const isThere = sql`node_id = ${row.nodeId} AND ${before}`;
      if (!(await this.update(row.id, { unreachableSince: since }, isThere))) return;
      const type = since === null ? 'container_reachable' : 'container_unreachable';
      const current = (await this.findById(row.id)) ?? row;
      await this.eventLog.append({ userId, drafts: [{ type, data: containerFacts(current) }] });
    });
  }

  /**
   * Gives up a container whose node is gone for good, regardless of its lease: an operation on it cannot finish any
   * more. A start creates the container again, without its data.
   *
   * @returns false if the row was written since it was read, by this or another process
   */
  async giveUp(row: ContainerRow): Promise<boolean> {
    // The container may be given up again before it was created again: then its data is still on the former node.
    const formerNodeId = row.engineId === null ? (row.formerNodeId ?? row.nodeId) : row.nodeId;
    const lost = { ...NOT_PLACED, formerNodeId, status: 'error', statusReason: NODE_LOST } as const;
    const after: ContainerRow = { ...row, ...FREE, ...lost, ...NO_RUN };
    const data = Object.assign({}, containerFacts(after), { reason: NODE_LOST, message: LOST });
    const give = async (): Promise<void> => {
      await this.eventLog.append({ userId: row.userId, drafts: [{ type: 'container_error', data }] });
      const { meteredSince, used } = this.usage.settle(row, after);
      const changed = { ...FREE, ...lost, ...NO_RUN, ...this.restOf(row, lost), ...NOTHING_RESERVED, meteredSince };
      const times = { updatedAt: this.clock.now(), revision: row.revision + 1 };
      await this.updateAsRead(row, { ...changed, ...times });
      await this.usage.record(row.userId, used);
      await this.capacity.follow(row, NOTHING_RESERVED);
    };
    return isAsRead(this.database.runInTxLocking(row.userId, give));
  }

  /** Emits the progress of an operation without changing the row. @throws LeaseLostError: then nothing is emitted */
  async emit(row: ContainerRow, events: readonly EventDraft[]): Promise<void> {
    const { userId } = row;
    await this.database.runInTxLocking(userId, async () => {
      await this.eventLog.append({ userId, drafts: events });
      const leased = this.live().andWhere('c.id = :id AND c.operationId = :operationId', row);
      // The lock keeps other processes from taking the lease before the commit. SQLite has only one process.
      if (!this.database.isSqlite) leased.setLock('pessimistic_read');
      if ((await leased.getOne()) === null) {
        throw new LeaseLostError(`container ${row.id} is leased by another operation`);
      }
    });
  }

  /**
   * Reserves the capacity that a leased container needs to run within these limits, before any Docker call.
   *
   * @throws LeaseLostError, DomainError `no_capacity`; then nothing is changed
   */
  async reserve(
    row: ContainerRow,
    { memoryMb, cpuShares }: Pick<ContainerRow, 'memoryMb' | 'cpuShares'>,
    bounds: CapacityBounds,
  ): Promise<ContainerRow> {
    const reserved = atLeast(row, { reservedMemoryMb: memoryMb, reservedCpuShares: cpuShares });
    const changed: Partial<ContainerRow> = { ...reserved, revision: row.revision + 1 };
    await this.database.runInTx(async () => {
      // The container was given up with its node, and has no data: place it on another node.
      const isUnplaced = row.nodeId === null && bounds.nodes !== undefined;
      if (isUnplaced) Object.assign(changed, { nodeId: await this.capacity.place(reserved, bounds) });
      await this.updateAsRead(row, changed, sql`operation_id = ${row.operationId}`);
      if (!isUnplaced) await this.capacity.claim(row, reserved, bounds);
    });
    return { ...row, ...changed };
  }

  /**
   * Moves a leased creation to another node, together with its reservation.
   *
   * @throws LeaseLostError, DomainError `no_capacity`; then nothing is changed
   */
  async placeElsewhere(row: ContainerRow, bounds: CapacityBounds): Promise<ContainerRow> {
    return this.database.runInTx(async () => {
      const placed = await this.place(row, bounds, (nodeId) => ({ nodeId }));
      await this.capacity.follow(row, NOTHING_RESERVED);
      return placed;
    });
  }

  /**
   * Reserves a leased container's capacity a second time, on the target node of a move.
   *
   * @throws LeaseLostError, DomainError `no_capacity`; then nothing is changed
   */
  async reserveElsewhere(row: ContainerRow, bounds: CapacityBounds): Promise<ContainerRow & { otherNodeId: string }> {
    return this.database.runInTx(() => this.place(row, bounds, (otherNodeId) => ({ otherNodeId })));
  }

  /**
   * Gives a container back its data after the node that it was given up with has come back: the container becomes
   * `stopped`. Skips a container that was created again meanwhile, or that an operation leases.
   */
  async giveBack(row: ContainerRow): Promise<void> {
    const back = { nodeId: row.formerNodeId, status: 'stopped', statusReason: null } as const;
    const after: ContainerRow = { ...row, ...back };
    await isAsRead(
      this.database.runInTxLocking(row.userId, async () => {
        await this.eventLog.append({
          userId: row.userId,
          drafts: [{ type: 'container_stopped', data: containerFacts(after) }],
        });
        const { meteredSince, used } = this.usage.settle(row, after);
        const changed = { ...back, ...this.restOf(row, back), meteredSince, revision: row.revision + 1 };
        const isGivenUp = sql`docker_id IS NULL AND operation IS NULL`;
        await this.updateAsRead(row, { ...changed, updatedAt: this.clock.now() }, isGivenUp);
        await this.usage.record(row.userId, used);
        await this.capacity.follow(row, { ...columnsOf(row), nodeId: row.formerNodeId });
      }),
    );
  }

  /**
   * Clears `otherNodeId` of a container after that node was given up, regardless of its lease.
   *
   * @returns false if the row was written since it was read
   */
  async forgetOther(row: ContainerRow): Promise<boolean> {
    const forget = async (): Promise<void> => {
      await this.updateAsRead(row, { otherNodeId: null, revision: row.revision + 1 });
      await this.capacity.follow(row, { ...columnsOf(row), otherNodeId: null });
    };
    return isAsRead(this.database.runInTx(forget));
  }

  /**
   * An early check, before any Docker call; the unique index decides at the commit.
   *
   * @throws DomainError `name_taken`
   */
  async assertNameFree(wanted: { userId: string; name: string; except: string }): Promise<void> {
    const taken = this.live().andWhere('c.userId = :userId AND c.name = :name AND c.id <> :except', wanted);
    if ((await taken.getCount()) > 0) throw new DomainError('name_taken');
  }

  /** Whether the holder of the lease was asked to cancel. */
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

  /**
   * Adds the reservation of a leased container to a node with enough room, and writes the node to the row.
   *
   * @param columnOf the column that the node is written to
   */
  private async place<Column extends Pick<ContainerRow, 'nodeId'> | Pick<ContainerRow, 'otherNodeId'>>(
    row: ContainerRow,
    bounds: CapacityBounds,
    columnOf: (node: string) => Column,
  ): Promise<ContainerRow & Column> {
    const changed = { ...columnOf(await this.capacity.place(row, bounds)), revision: row.revision + 1 };
    await this.updateAsRead(row, changed, sql`operation_id = ${row.operationId}`);
    return { ...row, ...changed };
  }

  /**
   * Inserts the row with a single statement of PostgreSQL.
   *
   * @returns null if nothing was written; the caller must then use a transaction, which finds the reason
   */
  private async insertByStatement(
    row: ContainerRow,
    { limit, event, bounds }: { limit: number; event: EventDraft; bounds: CapacityBounds },
  ): Promise<ContainerRow | null> {
    const claim = this.database.isSqlite ? null : this.capacity.claimSql(row, bounds);
    return claim && this.singleStatements.insert(row, { limit, claim, event });
  }

  /** Reserves what a new row needs on the node that it is on already. @throws NoSlotError if there is no room */
  private async claimAsPlaced(row: ContainerRow, bounds: CapacityBounds): Promise<void> {
    const node = bounds.nodes?.find(({ id }) => id === row.nodeId);
    if (bounds.nodes && !node) throw new NoSlotError('the node of the slot takes no containers');
    try {
      const before = { ...NOTHING_RESERVED, nodeId: row.nodeId, otherNodeId: null };
      await this.capacity.claim(before, row, { ...bounds, ...node });
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'no_capacity') throw error;
      throw new NoSlotError('there is no room', { cause: error });
    }
  }

  private async write(
    { row, patch, events, also }: Omit<ContainerChange, 'patch'> & { patch: Partial<ContainerRow> },
    { underLease }: { underLease: boolean },
  ): Promise<ContainerRow> {
    assertTransition(row.status, patch.status ?? row.status);
    const visible = events.length > 0 ? { updatedAt: this.clock.now() } : {};
    const role = roleAfterReplacement(row, patch);
    const start = startAfter(row, patch, this.clock.now());
    const reserved = reservedBy({ ...row, ...patch });
    // A new Docker container has new data: the data on the former node must not be given back any more.
    const former = patch.engineId != null && row.formerNodeId !== null ? { formerNodeId: null } : {};
    const rest = this.restOf(row, patch);
    const { meteredSince, used } = this.usage.settle(row, { ...row, ...patch });
    const changed: Partial<ContainerRow> = {
      ...patch,
      ...former,
      ...role,
      ...start,
      ...rest,
      ...visible,
      ...reserved,
      meteredSince,
      revision: row.revision + 1,
    };
    const isLeased = underLease ? sql`operation_id = ${row.operationId}` : sql`operation IS NULL`;
    const engineId = patch.engineId != null && patch.engineId !== row.engineId ? patch.engineId : null;
    const acts = systemActions(row, events);
    const write = async (): Promise<void> => {
      if (events.length > 0) await this.eventLog.append({ userId: row.userId, drafts: [...events] });
      for (const act of acts) await this.audit.recordSystem(act);
      await this.nameGuard(() => this.updateAsRead(row, changed, isLeased));
      if (engineId !== null) await this.insertEngineId(row.id, engineId);
      await this.usage.record(row.userId, used);
      const { nodeId = row.nodeId, otherNodeId = row.otherNodeId } = patch;
      await this.capacity.follow(row, { ...reserved, nodeId, otherNodeId });
      await also?.();
    };
    await (events.length > 0 || also ? this.database.runInTxLocking(row.userId, write) : this.database.runInTx(write));
    return { ...row, ...changed };
  }

  /**
   * Locks the snapshot: the files of a template are deleted without the lock of this user.
   *
   * @throws DomainError `snapshot_not_found`
   */
  private async assertKept(id: string): Promise<void> {
    const row = await lockedSnapshot(this.database, id);
    if (row === null || row.status === 'deleting') throw new DomainError('snapshot_not_found');
  }

  /** When the container became stopped or paused, if the change begins or ends such a time. */
  private restOf({ status }: ContainerRow, patch: ContainerPatch): Partial<ContainerRow> {
    if (patch.status === undefined || patch.status === status) return {};
    const now = this.clock.now();
    return {
      stoppedAt: patch.status === 'stopped' || patch.status === 'error' ? now : null,
      pausedAt: patch.status === 'paused' ? now : null,
    };
  }

  /** @throws DomainError `name_taken` */
  private async insertRow(row: ContainerRow): Promise<void> {
    await this.nameGuard(() => this.database.run(sql.insert(ContainerEntity, row)));
  }

  /** Clients see Docker ids without the node. */
  private async insertEngineId(containerId: string, qualified: string): Promise<void> {
    const engineId = plainId(qualified);
    await this.database.run(sql.insert(DockerIdEntity, { engineId, shortId: engineId.slice(0, 12), containerId }));
  }

  /** @returns false if the container is deleted, or the condition does not hold */
  private async update(id: string, set: SqlPatch<ContainerEntity>, condition: Sql): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE containers SET ${sql.set(ContainerEntity, set)}
      WHERE id = ${id} AND deleted_at IS NULL AND ${condition}`);
    return affected === 1;
  }

  /** @throws LeaseLostError if the row was written since it was read, or the condition does not hold */
  private async updateAsRead(row: ContainerRow, set: SqlPatch<ContainerEntity>, condition = sql`TRUE`): Promise<void> {
    if (!(await this.update(row.id, set, sql`revision = ${row.revision} AND ${condition}`))) throw leaseLost(row);
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

function leaseLost({ id }: ContainerRow): LeaseLostError {
  return new LeaseLostError(`container ${id} is no longer leased by this operation`);
}

/** @returns false if the row was written since it was read; the write is then rolled back */
async function isAsRead(write: Promise<void>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if (error instanceof LeaseLostError) return false;
    throw error;
  }
}

function columnsOf({ reservedMemoryMb, reservedCpuShares }: ContainerRow): ReservedColumns {
  return { reservedMemoryMb, reservedCpuShares };
}

function assertTransition(from: ContainerStatus, to: ContainerStatus): void {
  if (from !== to && !STATUS_TRANSITIONS[from].includes(to)) {
    throw new Error(`a container cannot go from ${from} to ${to}`);
  }
}
