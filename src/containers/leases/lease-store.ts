import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { Database, isAbsentSql, readTime, type Sql, sql, type SqlPatch } from '../../database';
import { ContainerEntity } from '../model/container.entity';
import { LeaseTerms, type Stamp, TERM_OVER } from './lease-term';

/** `operation`: an operation on a live container, or the purge of a deleted one; `role`: the installation of a role. */
type LeaseKind = 'operation' | 'role';

/** The location of each kind of lease in the container's row: as columns in SQL, and as properties of the entity. */
const COLUMNS = {
  operation: {
    taken: sql`operation IS NOT NULL`,
    leaseId: sql`operation_id`,
    holder: sql`operation_holder`,
    isAbsent: absence('operation_holder'),
    expiresAt: sql`operation_expires_at`,
    written: ({ leaseId, stamp }: Grant) => ({
      operationId: leaseId,
      operationHolder: stamp.holder,
      operationExpiresAt: stamp.expiresAt,
    }),
    expiring: (operationExpiresAt: Date) => ({ operationExpiresAt }),
  },
  role: {
    taken: sql`role_claim_id IS NOT NULL`,
    leaseId: sql`role_claim_id`,
    holder: sql`role_claim_holder`,
    isAbsent: absence('role_claim_holder'),
    expiresAt: sql`role_claim_expires_at`,
    written: ({ leaseId, stamp }: Grant) => ({
      roleClaimId: leaseId,
      roleClaimHolder: stamp.holder,
      roleClaimExpiresAt: stamp.expiresAt,
    }),
    expiring: (roleClaimExpiresAt: Date) => ({ roleClaimExpiresAt }),
  },
} as const;

/** A condition: the holder's process shows no presence. */
function absence(holder: string): Sql {
  return sql.by({ sqlite: sql`FALSE`, postgres: sql.raw(isAbsentSql(holder)) });
}

/** A condition: not leased, or the term is over. */
function isFree(kind: LeaseKind): Sql {
  const { taken, expiresAt } = COLUMNS[kind];
  return sql`(NOT (${taken}) OR ${expiresAt} <= ${TERM_OVER})`;
}

function leasesOf(kind: LeaseKind): Sql {
  const { leaseId, expiresAt, holder, isAbsent, taken } = COLUMNS[kind];
  return sql`SELECT id AS "containerId", CAST(${kind} AS VARCHAR) AS kind, ${leaseId} AS "leaseId", ${expiresAt} AS "expiresAt",
    ${holder} AS holder, ${isAbsent} AS "isAbsent" FROM containers WHERE ${taken}`;
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
  /** The ids of the leases that this process holds. */
  private readonly held = new Set<string>();

  constructor(
    private readonly database: Database,
    readonly terms: LeaseTerms,
  ) {}

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
   * @param more.where a further condition on the row
   * @returns whether the lease was acquired
   */
  async acquire(grant: Grant, more: { set: SqlPatch<ContainerEntity>; where: Sql }): Promise<boolean> {
    const set = { ...more.set, ...COLUMNS[grant.kind].written(grant) };
    return this.update(grant.containerId, set, sql`${isFree(grant.kind)} AND ${more.where}`);
  }

  /** {@link acquire} for an operation on a live container, if its revision is unchanged since it was read. */
  async acquireAsRead(
    grant: Grant,
    { operation, revision }: Pick<ContainerEntity, 'operation' | 'revision'>,
  ): Promise<boolean> {
    const set = { operation, operationCancelled: false, revision: revision + 1 };
    return this.acquire(grant, { set, where: sql`deleted_at IS NULL AND revision = ${revision}` });
  }

  /** @returns false if the lease is lost */
  async renew({ kind, containerId, leaseId }: Grant, { expiresAt }: Stamp): Promise<boolean> {
    const columns = COLUMNS[kind];
    return this.update(containerId, columns.expiring(expiresAt), sql`${columns.leaseId} = ${leaseId}`);
  }

  /** All current leases: usually none, never many. */
  async list(): Promise<HeldLease[]> {
    const { rows } = await this.database.run<Read>(sql`${leasesOf('operation')} UNION ALL ${leasesOf('role')}`);
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
    return this.endIf(lease, sql`TRUE`);
  }

  /** {@link end}, but only if the holder's process is still absent. */
  async endAbsent(lease: HeldLease): Promise<boolean> {
    return this.endIf(lease, COLUMNS[lease.kind].isAbsent);
  }

  /** To be called at startup. On SQLite this is the only process, so the holders of all leases are dead. */
  async endAllOfTheDead(): Promise<void> {
    if (!this.database.isSqlite) return;
    for (const { taken, expiresAt } of Object.values(COLUMNS)) {
      await this.database.run(sql`UPDATE containers SET ${expiresAt} = ${TERM_OVER} WHERE ${taken}`);
    }
  }

  private async endIf(lease: HeldLease, condition: Sql): Promise<boolean> {
    const { leaseId, expiresAt, expiring } = COLUMNS[lease.kind];
    const isAsRead = sql`${leaseId} = ${lease.leaseId} AND ${expiresAt} = ${lease.expiresAt}`;
    return this.update(lease.containerId, expiring(TERM_OVER), sql`${isAsRead} AND ${condition}`);
  }

  private async update(containerId: string, set: SqlPatch<ContainerEntity>, condition: Sql): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE containers SET ${sql.set(ContainerEntity, set)} WHERE id = ${containerId} AND ${condition}`);
    return affected === 1;
  }
}
