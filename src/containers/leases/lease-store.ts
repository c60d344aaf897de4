import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { UpdateQueryBuilder } from 'typeorm';
import type { QueryDeepPartialEntity } from 'typeorm/query-builder/QueryPartialEntity';
import { Database, isAbsentSql, readTime, RowWriter } from '../../database';
import { ContainerEntity } from '../model/container.entity';
import { LeaseTerms, type Stamp, TERM_OVER } from './lease-term';

/** `operation`: an operation on a live container, or the purge of a deleted one; `role`: the installation of a role. */
type LeaseKind = 'operation' | 'role';

/** The location of each kind of lease in the container's row: as columns in SQL, and as properties of the entity. */
const COLUMNS = {
  operation: {
    taken: 'operation IS NOT NULL',
    leaseId: 'operation_id',
    holder: 'operation_holder',
    expiresAt: 'operation_expires_at',
    written: ({ leaseId, stamp }: Grant) => ({
      operationId: leaseId,
      operationHolder: stamp.holder,
      operationExpiresAt: stamp.expiresAt,
    }),
    expiring: (operationExpiresAt: Date) => ({ operationExpiresAt }),
  },
  role: {
    taken: 'role_claim_id IS NOT NULL',
    leaseId: 'role_claim_id',
    holder: 'role_claim_holder',
    expiresAt: 'role_claim_expires_at',
    written: ({ leaseId, stamp }: Grant) => ({
      roleClaimId: leaseId,
      roleClaimHolder: stamp.holder,
      roleClaimExpiresAt: stamp.expiresAt,
    }),
    expiring: (roleClaimExpiresAt: Date) => ({ roleClaimExpiresAt }),
  },
} as const;

/** @param over the placeholder of `TERM_OVER` @returns an SQL condition: not leased, or the term is over */
function isFree(kind: LeaseKind, over: string): string {
  const { taken, expiresAt } = COLUMNS[kind];
  return `(NOT (${taken}) OR ${expiresAt} <= ${over})`;
}

/** A lease as its holder acquires or inserts it. */
export interface Grant {
  readonly kind: LeaseKind;
  readonly containerId: string;
  /** Unique per lease. Every write of the holder is conditional on this id. */
  readonly leaseId: string;
  readonly stamp: Stamp;
}

/** A lease as any process reads it from the database. */
export interface HeldLease {
  readonly containerId: string;
  readonly kind: LeaseKind;
  readonly leaseId: string;
  readonly expiresAt: Date;
  /** Whether the holder's process shows no presence. Always false on SQLite, which allows only one process. */
  readonly isAbsent: boolean;
  /**
   * Whether the row names this process as the holder, but the process does not hold the lease: the answer to the
   * acquisition was lost, or the write that should have ended the lease.
   */
  readonly isUnheld: boolean;
}

/** A row as the database drivers return it. */
type Read = Pick<HeldLease, 'containerId' | 'kind' | 'leaseId'> & {
  readonly holder: string | null;
  readonly expiresAt: unknown;
  readonly isAbsent: boolean | number;
};

/** Writes the leases of operations, purges and roles, and reads those of all processes. Each write is conditional. */
@Injectable()
export class LeaseStore {
  private readonly query: string;
  /** The ids of the leases that this process holds. */
  private readonly held = new Set<string>();
  private readonly rows: RowWriter<ContainerEntity>;

  constructor(
    private readonly database: Database,
    readonly terms: LeaseTerms,
  ) {
    this.rows = new RowWriter(database, ContainerEntity);
    const select = (kind: LeaseKind): string => {
      const { leaseId, expiresAt, holder, taken } = COLUMNS[kind];
      return [
        `SELECT id AS "containerId", '${kind}' AS kind, ${leaseId} AS "leaseId", ${expiresAt} AS "expiresAt",`,
        `${holder} AS holder, ${this.isAbsent(holder)} AS "isAbsent" FROM containers WHERE ${taken}`,
      ].join(' ');
    };
    this.query = `${select('operation')} UNION ALL ${select('role')}`;
  }

  /** Creates a lease that is about to be acquired, or inserted with its row. */
  newGrant(kind: LeaseKind, containerId: string): Grant {
    return { kind, containerId, leaseId: randomUUID(), stamp: this.terms.stamp() };
  }

  /** To be called once the lease is acquired. The lease counts as held until {@link noteEnded}. */
  noteHeld({ leaseId }: Grant): void {
    this.held.add(leaseId);
  }

  /** To be called when this process no longer acts on the lease, even if the row still has the lease. */
  noteEnded({ leaseId }: Grant): void {
    this.held.delete(leaseId);
  }

  /**
   * Leases a container that is not leased, or whose lease's term is over, by one conditional write: only one of several
   * processes succeeds.
   *
   * @param more.set further columns to write
   * @param more.where a further SQL condition on the row
   * @returns whether the lease was acquired
   */
  async acquire(
    grant: Grant,
    more: {
      readonly set: QueryDeepPartialEntity<ContainerEntity>;
      readonly where: string;
      readonly parameters?: Readonly<Record<string, unknown>>;
    },
  ): Promise<boolean> {
    const over = this.database.timestamp(TERM_OVER);
    const result = await this.update(grant.containerId)
      .set({ ...more.set, ...COLUMNS[grant.kind].written(grant) })
      .andWhere(isFree(grant.kind, ':over'), { over })
      .andWhere(more.where, more.parameters)
      .execute();
    return result.affected === 1;
  }

  /** {@link acquire} for an operation on a live container, if its revision is unchanged since it was read. */
  async acquireAsRead(
    grant: Grant,
    { operation, revision }: Pick<ContainerEntity, 'operation' | 'revision'>,
  ): Promise<boolean> {
    const set = { ...COLUMNS.operation.written(grant), operation, operationCancelled: false, revision: revision + 1 };
    const changed = await this.rows.update(set, (parameter) =>
      [
        `id = ${parameter(grant.containerId)} AND deleted_at IS NULL AND revision = ${parameter(revision)}`,
        isFree('operation', parameter(this.database.timestamp(TERM_OVER))),
      ].join(' AND '),
    );
    return changed === 1;
  }

  /** @returns false if the lease is lost */
  async renew({ kind, containerId, leaseId }: Grant, { expiresAt }: Stamp): Promise<boolean> {
    const columns = COLUMNS[kind];
    const result = await this.update(containerId)
      .set(columns.expiring(expiresAt))
      .andWhere(`${columns.leaseId} = :leaseId`, { leaseId })
      .execute();
    return result.affected === 1;
  }

  /** All current leases: usually none, never many. */
  async list(): Promise<HeldLease[]> {
    const rows = await this.database.manager.query<Read[]>(this.query);
    return rows.map(({ containerId, kind, leaseId, holder, expiresAt, isAbsent }) => ({
      containerId,
      kind,
      leaseId,
      expiresAt: readTime(expiresAt) ?? TERM_OVER,
      isAbsent: Boolean(isAbsent),
      isUnheld: holder === this.terms.holder && !this.held.has(leaseId),
    }));
  }

  /** Ends a lease's term, unless it was renewed since it was read. @returns whether it was ended */
  async end(lease: HeldLease): Promise<boolean> {
    return this.endIf(lease, null);
  }

  /** {@link end}, but only if the holder's process is still absent. */
  async endAbsent(lease: HeldLease): Promise<boolean> {
    return this.endIf(lease, this.isAbsent(COLUMNS[lease.kind].holder));
  }

  /** To be called at startup. On SQLite this is the only process, so the holders of all leases are dead. */
  async endAllOfTheDead(): Promise<void> {
    if (!this.database.isSqlite) return;
    for (const { taken, expiring } of Object.values(COLUMNS)) {
      const update = this.database.manager.createQueryBuilder().update(ContainerEntity);
      await update.set(expiring(TERM_OVER)).where(taken).execute();
    }
  }

  private async endIf(lease: HeldLease, condition: string | null): Promise<boolean> {
    const { leaseId, expiresAt, expiring } = COLUMNS[lease.kind];
    const update = this.update(lease.containerId)
      .set(expiring(TERM_OVER))
      .andWhere(`${leaseId} = :leaseId`, { leaseId: lease.leaseId })
      .andWhere(`${expiresAt} = :read`, { read: this.database.timestamp(lease.expiresAt) });
    if (condition !== null) update.andWhere(condition);
    return (await update.execute()).affected === 1;
  }

  private update(containerId: string): UpdateQueryBuilder<ContainerEntity> {
    const update = this.database.manager.createQueryBuilder().update(ContainerEntity);
    return update.where('id = :containerId', { containerId });
  }

  private isAbsent(holder: string): string {
    return this.database.isSqlite ? 'FALSE' : isAbsentSql(holder);
  }
}
