import { Injectable } from '@nestjs/common';
import { Database, isAbsentSql, readTime } from '../../database';
import { ContainerEntity } from '../container.entity';
import { TERM_OVER } from './lease-term';

/** A lease as stored in its row. */
export interface HeldLease {
  readonly containerId: string;
  readonly kind: 'operation' | 'role';
  readonly leaseId: string;
  readonly expiresAt: Date;
  /** Whether its holder's process shows no presence. Never on SQLite, which has only one process. */
  readonly isAbsent: boolean;
}

/** As returned by the drivers. */
type Read = Omit<HeldLease, 'expiresAt' | 'isAbsent'> & {
  readonly expiresAt: unknown;
  readonly isAbsent: boolean | number;
};

/** Reads and ends leases of all holders, on live and deleted containers. */
@Injectable()
export class HeldLeases {
  private readonly query: string;

  constructor(private readonly database: Database) {
    this.query = [
      `SELECT id AS "containerId", 'operation' AS kind, operation_id AS "leaseId",`,
      `operation_expires_at AS "expiresAt", ${this.isAbsent('operation_holder')} AS "isAbsent"`,
      'FROM containers WHERE operation IS NOT NULL UNION ALL',
      "SELECT id, 'role', role_claim_id, role_claim_expires_at,",
      `${this.isAbsent('role_claim_holder')} FROM containers WHERE role_claim_id IS NOT NULL`,
    ].join(' ');
  }

  /** All current leases: usually none, never many. */
  async list(): Promise<HeldLease[]> {
    const rows = await this.database.manager.query<Read[]>(this.query);
    return rows.map((row) => ({
      ...row,
      expiresAt: readTime(row.expiresAt) ?? TERM_OVER,
      isAbsent: Boolean(row.isAbsent),
    }));
  }

  /** Ends a lease's term, unless it was renewed since it was read. @returns whether it was ended */
  async end(lease: HeldLease): Promise<boolean> {
    return this.endIf(lease, null);
  }

  /** The same for a lease whose process is absent, if it still is. */
  async endAbsent(lease: HeldLease): Promise<boolean> {
    return this.endIf(lease, this.isAbsent(lease.kind === 'role' ? 'role_claim_holder' : 'operation_holder'));
  }

  private async endIf(lease: HeldLease, condition: string | null): Promise<boolean> {
    const [id, expiresAt, over] =
      lease.kind === 'role'
        ? ['role_claim_id', 'role_claim_expires_at', { roleClaimExpiresAt: TERM_OVER }]
        : ['operation_id', 'operation_expires_at', { operationExpiresAt: TERM_OVER }];
    const update = this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .set(over)
      .where(`id = :containerId AND ${id} = :leaseId`, lease)
      .andWhere(`${expiresAt} = :read`, { read: this.database.timestamp(lease.expiresAt) });
    if (condition !== null) update.andWhere(condition);
    return (await update.execute()).affected === 1;
  }

  private isAbsent(holder: string): string {
    return this.database.isSqlite ? 'FALSE' : isAbsentSql(holder);
  }
}
