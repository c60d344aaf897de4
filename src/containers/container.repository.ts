import { Injectable } from '@nestjs/common';
import { SelectQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import { AuditLog } from '../audit';
import { Database, isUniqueViolation } from '../database';
import { DomainError } from '../errors';
import { EventDraft, EventLog } from '../events';
import { TERM_OVER } from './claim-term';
import { ContainerLookup } from './container-lookup';
import { type ContainerReference, parseContainerReference } from './container-reference';
import { ContainerStatus, Operation, STATUS_TRANSITIONS } from './container-state';
import { ContainerEntity, type ContainerRow } from './container.entity';
import { DockerIdEntity } from './docker-id.entity';
import type { LabelSelector } from './labels';
import { whereLabels } from './where-labels';
import { readSweptRows, type SweptRow } from './swept-rows';
import { systemActs } from './system-acts';
import type { ContainerCreatedView } from './dto/container-answers';
import { IdempotencyKeys, type OnceOnly } from './idempotency/idempotency-keys';
import { roleFollows, roleTriedAgain } from './roles/role-follows';

/** What a write may change. Claims have methods of their own. */
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
  >
>;

/** A change of one container and the events that tell of it: committed together or not at all. */
export interface ContainerChange {
  readonly row: ContainerRow;
  readonly patch: ContainerPatch;
  readonly events: readonly EventDraft[];
}

/** The claim was taken over, so this operation may write no more. */
export class ClaimLostError extends Error {
  override readonly name = 'ClaimLostError';
}

/** SQLite and PostgreSQL take many more parameters than this. */
const IDS_IN_QUERY = 500;

/** Of a row that no operation holds. */
export const FREE = {
  operation: null,
  operationId: null,
  operationHolder: null,
  operationExpiresAt: null,
  operationCancelled: false,
} as const;

/** The sole writer of live containers. Each write is conditional: on the claim, or without one on the revision that was read. */
@Injectable()
export class ContainerRepository {
  private readonly lookup: ContainerLookup;

  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly idempotencyKeys: IdempotencyKeys,
    private readonly audit: AuditLog,
  ) {
    this.lookup = new ContainerLookup(database);
  }

  /** @returns null if there is none, or it is deleted */
  async find(reference: ContainerReference): Promise<ContainerRow | null> {
    if (reference.kind === 'agent') return null;
    return this.lookup.find(reference);
  }

  /**
   * What a client's text names, wholly: a beginning is completed, first among the containers of `userId`, where one is given;
   * whoever else has one that begins alike is not in the way.
   *
   * @param scope.deleted also among those that are deleted and not yet purged
   * @returns null where it names nothing
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

  /** One page of a user's containers (everybody's if none is named), newest first, from behind `after`. */
  async list(filter: {
    userId?: string;
    status?: ContainerStatus;
    name?: string;
    labels?: readonly LabelSelector[];
    after?: { createdAt: Date; id: string };
    limit: number;
  }): Promise<ContainerRow[]> {
    const query = this.live();
    if (filter.userId !== undefined) query.andWhere('c.userId = :userId', { userId: filter.userId });
    if (filter.status !== undefined) query.andWhere('c.status = :status', { status: filter.status });
    if (filter.name !== undefined) query.andWhere('c.name = :name', { name: filter.name });
    whereLabels(query, filter.labels);
    if (filter.after) {
      query.andWhere('(c.createdAt < :at OR (c.createdAt = :at AND c.id < :afterId))', {
        at: this.database.timestamp(filter.after.createdAt),
        afterId: filter.after.id,
      });
    }
    return query.orderBy('c.createdAt', 'DESC').addOrderBy('c.id', 'DESC').limit(filter.limit).getMany();
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

  /**
   * Inserts a container that its creation holds already.
   *
   * @returns null; or what was answered under the key of `once` before, and then nothing is inserted
   * @throws DomainError `container_limit_reached`, `name_taken`, `idempotency_key_reused`
   */
  async insert(
    row: ContainerRow,
    options: { limit: number; tier: string; event: EventDraft; once: OnceOnly | null },
  ): Promise<ContainerCreatedView | null> {
    const { once } = options;
    return this.database.runInTxLocking(row.userId, async () => {
      if (once) {
        // Before the count and the name: the first request may have taken the last place, and has taken the name.
        await this.eventLog.lock(row.userId);
        const answer = await this.idempotencyKeys.answerOf(row.userId, once);
        if (answer) return answer;
      }
      // Appending locks the user's row, so the count below cannot change before the commit.
      await this.eventLog.append({ userId: row.userId, drafts: [options.event] });
      const current = await this.countLive(row.userId);
      if (current >= options.limit) {
        throw new DomainError('container_limit_reached', {
          fields: { current, limit: options.limit, tier: options.tier },
        });
      }
      // The row stays as it is: TypeORM would write the database's own text of columns with a default back into it.
      const insert = this.database.manager.createQueryBuilder().insert().into(ContainerEntity).values(row);
      await this.nameGuard(() => insert.updateEntity(false).execute());
      if (once) await this.idempotencyKeys.keep(row, once);
      return null;
    });
  }

  /** Takes the container for `operation` if the row is still as it was read and nobody holds it. */
  async claim(
    row: ContainerRow,
    claim: { operation: Operation; operationId: string; holder: string; expiresAt: Date },
  ): Promise<boolean> {
    const { operation, operationId, holder, expiresAt } = claim;
    const taken = { operation, operationId, operationHolder: holder, operationExpiresAt: expiresAt };
    const result = await this.update(row.id)
      .set({ ...taken, operationCancelled: false, revision: row.revision + 1 })
      .andWhere('revision = :read', { read: row.revision })
      .andWhere('(operation IS NULL OR operation_expires_at <= :over)', { over: this.database.timestamp(TERM_OVER) })
      .execute();
    return result.affected === 1;
  }

  /** @returns false if the claim is lost */
  async renew(claim: { id: string; operationId: string; expiresAt: Date }): Promise<boolean> {
    const result = await this.held(claim).set({ operationExpiresAt: claim.expiresAt }).execute();
    return result.affected === 1;
  }

  /**
   * Releases the claim without an outcome, together with a change that was seen; the next holder must handle `as` first.
   *
   * @throws ClaimLostError
   */
  async abandon(change: ContainerChange, as: Operation): Promise<ContainerRow> {
    const released = { operation: as, operationExpiresAt: TERM_OVER };
    try {
      return await this.write({ ...change, patch: { ...change.patch, ...released } }, { underClaim: true });
    } catch (error) {
      if (!(error instanceof ClaimLostError)) throw error;
      // Or an earlier write of this operation was committed whose answer was lost, and the row is not as it was read.
      const { id, operationId } = change.row;
      const update = this.held({ id, operationId: operationId ?? '' });
      const { affected } = await update.set({ ...released, revision: () => 'revision + 1' }).execute();
      if (affected !== 1) throw error;
      return { ...change.row, ...released };
    }
  }

  /** Asks the holder of a running creation to give up. @returns whether one is running */
  async requestCancel(id: string): Promise<boolean> {
    const result = await this.update(id)
      .set({ operationCancelled: true })
      .andWhere('operation = :operation', { operation: 'create' })
      .execute();
    return result.affected === 1;
  }

  /**
   * Notes a use, unless one after `noted` is known. Neither a change nor an event: whoever reads, holds or writes the row
   * meanwhile need not know.
   */
  async touch(id: string, { now, noted }: { now: Date; noted: Date }): Promise<void> {
    await this.update(id)
      .set({ lastUsedAt: now })
      .andWhere('last_used_at <= :noted', { noted: this.database.timestamp(noted) })
      .execute();
  }

  /** Tells of an operation that goes on, which changes nothing. @throws ClaimLostError: then nothing is told */
  async tell(row: ContainerRow, events: readonly EventDraft[]): Promise<void> {
    await this.database.runInTxLocking(row.userId, async () => {
      await this.eventLog.append({ userId: row.userId, drafts: events });
      const held = this.live().andWhere('c.id = :id AND c.operationId = :operationId', row);
      if ((await held.getCount()) === 0) throw new ClaimLostError(`container ${row.id} is held by another operation`);
    });
  }

  /** Ends the term of every claim: the process that held them is dead. */
  async expireAllClaims(): Promise<void> {
    await this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .set({ operationExpiresAt: TERM_OVER })
      .where('operation IS NOT NULL')
      .execute();
  }

  /** An early no, before Docker is asked for anything; the index decides at the commit. @throws DomainError `name_taken` */
  async assertNameFree(wanted: { userId: string; name: string; except: string }): Promise<void> {
    const taken = this.live().andWhere('c.userId = :userId AND c.name = :name AND c.id <> :except', wanted);
    if ((await taken.getCount()) > 0) throw new DomainError('name_taken');
  }

  /** Whether the holder was asked to give up. */
  async isCancelled(id: string): Promise<boolean> {
    return (await this.live().andWhere('c.id = :id AND c.operationCancelled = true', { id }).getCount()) > 0;
  }

  /** Writes an operation's outcome and ends its claim. @throws ClaimLostError, DomainError `name_taken` */
  async settle(change: ContainerChange): Promise<ContainerRow> {
    const patch = { ...change.patch, ...roleTriedAgain(change.row, change.patch), ...FREE };
    return this.write({ ...change, patch }, { underClaim: true });
  }

  /** Writes what an operation has found out on its way; the claim stays. @throws ClaimLostError */
  async record(change: ContainerChange): Promise<ContainerRow> {
    return this.write(change, { underClaim: true });
  }

  /** Lets the row follow what was seen in Docker, unless it changed or was claimed since it was read. */
  async follow(change: ContainerChange): Promise<ContainerRow | null> {
    try {
      return await this.write(change, { underClaim: false });
    } catch (error) {
      if (error instanceof ClaimLostError) return null;
      throw error;
    }
  }

  private async write(
    { row, patch, events }: { row: ContainerRow; patch: Partial<ContainerRow>; events: readonly EventDraft[] },
    { underClaim }: { underClaim: boolean },
  ): Promise<ContainerRow> {
    assertTransition(row.status, patch.status ?? row.status);
    const visible = events.length > 0 ? { updatedAt: new Date() } : {};
    const role = roleFollows(row, patch);
    const changed: Partial<ContainerRow> = { ...patch, ...role, ...visible, revision: row.revision + 1 };
    const write = async (): Promise<void> => {
      if (events.length > 0) await this.eventLog.append({ userId: row.userId, drafts: [...events] });
      for (const act of systemActs(row, events)) await this.audit.recordSystem(act);
      const update = this.update(row.id).set(changed).andWhere('revision = :read', { read: row.revision });
      if (underClaim) update.andWhere('operation_id = :operationId', { operationId: row.operationId });
      else update.andWhere('operation IS NULL');
      const result = await this.nameGuard(() => update.execute());
      if (result.affected !== 1) throw new ClaimLostError(`container ${row.id} is no longer held by this operation`);
      if (patch.dockerId != null && patch.dockerId !== row.dockerId) await this.addDockerId(row.id, patch.dockerId);
    };
    await (events.length > 0 ? this.database.runInTxLocking(row.userId, write) : this.database.runInTx(write));
    return { ...row, ...changed };
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

  private held(claim: { id: string; operationId: string }): UpdateQueryBuilder<ContainerEntity> {
    return this.update(claim.id).andWhere('operation_id = :operationId', { operationId: claim.operationId });
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
