import { Injectable } from '@nestjs/common';
import { Column, Entity, type InsertQueryBuilder, PrimaryColumn } from 'typeorm';
import { Database } from '../../database';
import { DomainError } from '../../errors';
import type { ContainerEntity, ContainerRow } from '../container.entity';

/** The only machine there is; a row of the table is one machine. */
const THIS_NODE = 'local';

/**
 * What the containers of a machine reserve together: the sum of the columns of the same name in `containers`, changed
 * in the transaction that changes those.
 */
@Entity('reserved_capacity')
export class ReservedCapacityEntity {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  node: string;

  @Column({ name: 'memory_mb', type: 'integer' })
  memoryMb: number;

  /** Millicores. */
  @Column({ name: 'cpu_shares', type: 'integer' })
  cpuShares: number;
}

/** Memory in MiB and CPU in millicores. */
export interface Reservation {
  readonly memoryMb: number;
  readonly cpuShares: number;
}

/** A row's columns of what it reserves. */
export type ReservedColumns = Pick<ContainerRow, 'reservedMemoryMb' | 'reservedCpuShares'>;

type Reserving = ReservedColumns & Pick<ContainerRow, 'status' | 'operation' | 'deletedAt' | 'memoryMb' | 'cpuShares'>;

export const NOTHING_RESERVED: ReservedColumns = { reservedMemoryMb: 0, reservedCpuShares: 0 };

/**
 * What a row reserves once it is as given: the limits of what runs or is being created. During an operation it keeps
 * what it had, as Docker may still run what the row no longer, or not yet, shows.
 */
export function reservedBy(row: Reserving): ReservedColumns {
  const mayRun = row.deletedAt === null && (row.status === 'running' || row.status === 'creating');
  const needed = mayRun ? { reservedMemoryMb: row.memoryMb, reservedCpuShares: row.cpuShares } : NOTHING_RESERVED;
  return row.operation === null || row.deletedAt !== null ? needed : atLeast(row, needed);
}

/** What it reserved, or what it needs if that is more. */
export function atLeast(had: ReservedColumns, needed: ReservedColumns): ReservedColumns {
  return {
    reservedMemoryMb: Math.max(had.reservedMemoryMb, needed.reservedMemoryMb),
    reservedCpuShares: Math.max(had.reservedCpuShares, needed.reservedCpuShares),
  };
}

/** Something of which too little is left. */
export interface Shortage {
  readonly resource: 'memory_mb' | 'cpu_shares' | 'free_memory_mb' | 'free_disk_mb' | 'networks';
  readonly needed: number;
  readonly available: number;
}

/** What may be reserved together. null: any amount. */
export interface CapacityBounds {
  readonly memoryMb: number | null;
  readonly cpuShares: number | null;
  /** What is short whatever is reserved. */
  readonly short: readonly Shortage[];
}

/** Seconds: about as long as it takes for somebody's container to be stopped. */
const RETRY_AFTER = 30;

export function noCapacity(short: readonly Shortage[]): DomainError {
  return new DomainError('no_capacity', { fields: { short }, retryAfter: RETRY_AFTER });
}

/**
 * Keeps the sum of what containers reserve. Its row is locked from a change to the commit, so that the sum is exact
 * whichever process reserves; therefore it is the last that a transaction locks, and for no longer than the commit
 * takes.
 */
@Injectable()
export class ReservedCapacity {
  constructor(private readonly database: Database) {}

  /** To be called in the transaction that changes the row, after everything else. */
  async follow(before: ReservedColumns, after: ReservedColumns): Promise<void> {
    await this.add(before, after, null);
  }

  /**
   * The same, if what it adds is there.
   *
   * @throws DomainError `no_capacity`; the transaction must be rolled back
   */
  async claim(before: ReservedColumns, after: ReservedColumns, bounds: CapacityBounds): Promise<void> {
    if (bounds.short.length > 0) throw noCapacity(bounds.short);
    const added = difference(before, after);
    while (!(await this.add(before, after, bounds))) {
      const { memoryMb, cpuShares } = await this.sum();
      const short = [
        ...shortage('memory_mb', { needed: added.memoryMb, bound: bounds.memoryMb, reserved: memoryMb }),
        ...shortage('cpu_shares', { needed: added.cpuShares, bound: bounds.cpuShares, reserved: cpuShares }),
      ];
      // None if somebody has released some since.
      if (short.length > 0) throw noCapacity(short);
    }
  }

  /**
   * Inserts a row and claims what it reserves; on PostgreSQL in one round trip. Of who waits for the sum nobody holds
   * a lock that the insertion needs: names are unique per user, whose row is locked.
   *
   * @throws what the insertion throws, DomainError `no_capacity`; the transaction must be rolled back
   */
  async insertClaiming(
    insert: InsertQueryBuilder<ContainerEntity>,
    { row, bounds }: { row: ReservedColumns; bounds: CapacityBounds },
  ): Promise<void> {
    const sum = additionSql(difference(NOTHING_RESERVED, row), bounds);
    if (this.database.isSqlite || bounds.short.length > 0 || sum === null) {
      await insert.execute();
      return this.claim(NOTHING_RESERVED, row, bounds);
    }
    const [sql, parameters] = insert.getQueryAndParameters();
    const together = `WITH inserted AS (${sql}), claimed AS (UPDATE ${sum} RETURNING 1) SELECT FROM claimed`;
    const claimed = await this.database.manager.query<readonly unknown[]>(together, parameters);
    if (claimed.length === 0) await this.claim(NOTHING_RESERVED, row, bounds);
  }

  async sum(): Promise<Reservation> {
    const { memoryMb, cpuShares } = await this.database.manager.findOneByOrFail(ReservedCapacityEntity, {
      node: THIS_NODE,
    });
    return { memoryMb, cpuShares };
  }

  /**
   * Corrects rows and sum where somebody else has changed rows: a process of a version that does not reserve, or an
   * operator by SQL.
   *
   * @returns whether anything was wrong
   */
  async recount(): Promise<boolean> {
    return this.database.runInTx(async () => {
      const corrected = [
        await this.update(`containers SET reserved_memory_mb = memory_mb, reserved_cpu_shares = cpu_shares,
          revision = revision + 1 WHERE status = 'running' AND deleted_at IS NULL AND operation IS NULL
          AND (reserved_memory_mb <> memory_mb OR reserved_cpu_shares <> cpu_shares)`),
        await this.update(`containers SET reserved_memory_mb = 0, reserved_cpu_shares = 0, revision = revision + 1
          WHERE reserved_memory_mb > 0 AND operation IS NULL AND (status <> 'running' OR deleted_at IS NOT NULL)`),
      ];
      // Locks the sum before the rows are added up: whoever changes one of them later adds to the result.
      await this.update(`reserved_capacity SET memory_mb = memory_mb WHERE node = '${THIS_NODE}'`);
      const sums = `SELECT COALESCE(SUM(reserved_memory_mb), 0) AS memory_mb,
        COALESCE(SUM(reserved_cpu_shares), 0) AS cpu_shares FROM containers WHERE reserved_memory_mb > 0`;
      corrected.push(
        await this.update(`reserved_capacity SET memory_mb = counted.memory_mb, cpu_shares = counted.cpu_shares
          FROM (${sums}) AS counted WHERE node = '${THIS_NODE}' AND (reserved_capacity.memory_mb <> counted.memory_mb
          OR reserved_capacity.cpu_shares <> counted.cpu_shares)`),
      );
      return corrected.some((rows) => rows > 0);
    });
  }

  /** @returns whether it was within the bounds */
  private async add(before: ReservedColumns, after: ReservedColumns, bounds: CapacityBounds | null): Promise<boolean> {
    const sql = additionSql(difference(before, after), bounds);
    return sql === null || (await this.update(sql)) === 1;
  }

  /** @param sql without parameters @returns the number of changed rows */
  private async update(sql: string): Promise<number> {
    type Rows = readonly unknown[];
    const answer = await this.database.manager.query<Rows | readonly [Rows, number]>(`UPDATE ${sql} RETURNING 1`);
    // Of an update, TypeORM returns SQLite's rows, and PostgreSQL's together with their count.
    return this.database.isSqlite ? answer.length : (answer as readonly [Rows, number])[1];
  }
}

/**
 * What follows `UPDATE` to add to the sum. Whole numbers and constants only, so there is nothing to escape.
 *
 * @returns null if there is nothing to add
 */
function additionSql({ memoryMb, cpuShares }: Reservation, bounds: CapacityBounds | null): string | null {
  if (memoryMb === 0 && cpuShares === 0) return null;
  const within = (column: string, more: number, bound: number | null | undefined): string =>
    // What does not grow is never short, even where more is reserved already than the bound allows.
    bound == null || more <= 0 ? '' : ` AND ${column} + ${String(more)} <= ${String(bound)}`;
  return (
    `reserved_capacity SET memory_mb = memory_mb + ${String(memoryMb)},
      cpu_shares = cpu_shares + ${String(cpuShares)} WHERE node = '${THIS_NODE}'` +
    within('memory_mb', memoryMb, bounds?.memoryMb) +
    within('cpu_shares', cpuShares, bounds?.cpuShares)
  );
}

function difference(before: ReservedColumns, after: ReservedColumns): Reservation {
  return {
    memoryMb: after.reservedMemoryMb - before.reservedMemoryMb,
    cpuShares: after.reservedCpuShares - before.reservedCpuShares,
  };
}

function shortage(
  resource: Shortage['resource'],
  { needed, bound, reserved }: { needed: number; bound: number | null; reserved: number },
): readonly Shortage[] {
  if (bound === null || needed <= 0 || reserved + needed <= bound) return [];
  return [{ resource, needed, available: Math.max(0, bound - reserved) }];
}
