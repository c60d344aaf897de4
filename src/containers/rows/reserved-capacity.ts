import { Injectable } from '@nestjs/common';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { Database, type Sql, sql } from '../../database';
import { DomainError } from '../../errors';
import { type ContainerRow, isUp } from '../model/container.entity';

/** The row of a single machine; in a cluster each node has a row. */
const THIS_NODE = 'local';

/**
 * The capacity that the containers of one machine or node reserve together: the sum of the reserved columns in
 * `containers`, changed in the transaction that changes those.
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

  /**
   * Whether containers may be placed or started on the node: a copy of `availability = 'active'` in `nodes`. Kept in
   * this row because every placement locks it: after a drain commits, no process can place a container here, even one
   * with a stale node list.
   */
  @Column({ name: 'is_open', type: 'boolean', default: true })
  isOpen: boolean;
}

/** Memory in MiB and CPU in millicores. */
interface Reservation {
  readonly memoryMb: number;
  readonly cpuShares: number;
}

/** The reserved columns of a container. */
export type ReservedColumns = Pick<ContainerRow, 'reservedMemoryMb' | 'reservedCpuShares'>;

/** The reserved columns of a container, and its nodes. */
type PlacedReserve = ReservedColumns & Pick<ContainerRow, 'nodeId' | 'otherNodeId'>;

type Reserving = ReservedColumns & Pick<ContainerRow, 'status' | 'operation' | 'deletedAt' | 'memoryMb' | 'cpuShares'>;

export const NOTHING_RESERVED: ReservedColumns = { reservedMemoryMb: 0, reservedCpuShares: 0 };

/**
 * The capacity that a row reserves: its limits if it runs or is being created, its memory alone while it is paused.
 * During an operation the row keeps at least what it reserved before, because Docker may still run what the row no
 * longer, or not yet, shows.
 */
export function reservedBy(row: Reserving): ReservedColumns {
  const mayRun = row.deletedAt === null && (isUp(row.status) || row.status === 'creating');
  const cpuShares = row.status === 'paused' ? 0 : row.cpuShares;
  const needed = mayRun ? { reservedMemoryMb: row.memoryMb, reservedCpuShares: cpuShares } : NOTHING_RESERVED;
  return row.operation === null || row.deletedAt !== null ? needed : atLeast(row, needed);
}

/** The greater of the reserved and the needed amounts, for each resource. */
export function atLeast(had: ReservedColumns, needed: ReservedColumns): ReservedColumns {
  return {
    reservedMemoryMb: Math.max(had.reservedMemoryMb, needed.reservedMemoryMb),
    reservedCpuShares: Math.max(had.reservedCpuShares, needed.reservedCpuShares),
  };
}

/** The capacity reserved on a node, and whether the node accepts new containers. */
type NodeSum = Reservation & Pick<ReservedCapacityEntity, 'isOpen'>;

/** A resource that is short. */
export interface Shortage {
  readonly resource: 'memory_mb' | 'cpu_shares' | 'free_memory_mb' | 'free_disk_mb' | 'networks' | 'nodes';
  readonly needed: number;
  readonly available: number;
}

/** Upper bounds of the reserved sum; null: unlimited. */
export interface CapacityBounds {
  readonly memoryMb: number | null;
  readonly cpuShares: number | null;
  /** Shortages that do not depend on the reserved sum. */
  readonly short: readonly Shortage[];
  /** In a cluster, the nodes that the container may be placed on; absent on a single machine. */
  readonly nodes?: readonly NodeBounds[];
  /** The one among them that is taken while it has room. */
  readonly preferred?: string | null;
  /** The container already runs on the node, so the node may be drained. */
  readonly mayBeClosed?: boolean;
}

/** A claim as part of a larger SQL statement. */
export interface Claim {
  /** The CTEs that the claim needs, each followed by a comma. */
  readonly before: Sql;
  /** The text after `UPDATE`; more conditions can be appended to it. */
  readonly update: Sql;
  /** The claimed node, for `RETURNING`; null on a single machine. */
  readonly node: Sql;
}

/** A node that a container may be placed on, and its bounds. */
export interface NodeBounds {
  readonly id: string;
  readonly memoryMb: number | null;
  readonly cpuShares: number | null;
}

/** No node accepts the container. */
export const NO_NODE: Shortage = { resource: 'nodes', needed: 1, available: 0 };

/** Seconds: about as long as it takes until some container is stopped. */
const RETRY_AFTER = 30;

export function noCapacity(short: readonly Shortage[]): DomainError {
  return new DomainError('no_capacity', { fields: { short }, retryAfter: RETRY_AFTER });
}

/**
 * Keeps the sums of what containers reserve. A sum's row is locked from its change to the commit, so that the sum is
 * exact whichever process reserves. Therefore a transaction locks it last, for no longer than the commit takes; only
 * a placement still writes its own container's row afterwards.
 */
@Injectable()
export class ReservedCapacity {
  constructor(private readonly database: Database) {}

  /**
   * Adds a change of a container's reservation to the sums. Call it in the transaction that changes the row, after
   * everything else.
   */
  async follow(
    before: PlacedReserve,
    after: ReservedColumns & Partial<Pick<ContainerRow, 'nodeId' | 'otherNodeId'>>,
  ): Promise<void> {
    const { nodeId = before.nodeId, otherNodeId = before.otherNodeId } = after;
    const here = placesOf(before);
    const there = placesOf({ nodeId, otherNodeId });
    const changes = [...new Set([...here, ...there])]
      .map((node) => ({
        node,
        was: here.includes(node) ? before : NOTHING_RESERVED,
        is: there.includes(node) ? after : NOTHING_RESERVED,
      }))
      .filter(({ was, is }) => !isNone(difference(was, is)));
    // Two transactions that change two sums each could deadlock; this lock serializes them.
    if (changes.length > 1) await this.update(SERIALIZED);
    for (const { node, was, is } of changes) await this.add(was, is, { node });
  }

  /**
   * Like {@link follow}, if the added amount is within the bounds.
   *
   * @throws DomainError `no_capacity`; the transaction must be rolled back
   */
  async claim(before: PlacedReserve, after: ReservedColumns, bounds: CapacityBounds): Promise<void> {
    if (bounds.short.length > 0) throw noCapacity(bounds.short);
    const added = difference(before, after);
    const { nodeId: node, otherNodeId } = before;
    if (otherNodeId !== null) {
      await this.update(SERIALIZED);
      await this.add(before, after, { node: otherNodeId });
    }
    while (!(await this.add(before, after, { node, bounds }))) {
      const { memoryMb, cpuShares, isOpen } = await this.sum(node);
      const short = [
        ...(isOpen || bounds.mayBeClosed ? [] : [NO_NODE]),
        ...shortage('memory_mb', { needed: added.memoryMb, bound: bounds.memoryMb, reserved: memoryMb }),
        ...shortage('cpu_shares', { needed: added.cpuShares, bound: bounds.cpuShares, reserved: cpuShares }),
      ];
      // Nothing is short if capacity was released since, or the node became active again: try again.
      if (short.length > 0) throw noCapacity(short);
    }
  }

  /**
   * Claims what a new row reserves, as part of a larger PostgreSQL statement. If it updates nothing, call
   * {@link claim}, which reports what is short, or in a cluster {@link place}, which also finds a node.
   *
   * @returns null if nothing needs to be reserved, or a shortage does not depend on the sum
   */
  claimSql(row: ReservedColumns, bounds: CapacityBounds): Claim | null {
    const needed = difference(NOTHING_RESERVED, row);
    if (bounds.short.length > 0 || isNone(needed)) return null;
    if (bounds.nodes) return claimOfOne(needed, bounds.nodes);
    return { before: sql``, update: additionSql(needed, { node: null, bounds }), node: sql`NULL::varchar` };
  }

  /**
   * Chooses the preferred or the least full node, and claims the reservation there. Placements are serialized so that
   * each sees earlier reservations. Starts and stops are not: if one takes the room first, the next node is tried.
   *
   * @returns the node's id
   * @throws DomainError `no_capacity`; the transaction must be rolled back
   */
  async place(
    reserve: ReservedColumns,
    { nodes = [], preferred = null }: Pick<CapacityBounds, 'nodes' | 'preferred'>,
  ): Promise<string> {
    await this.update(SERIALIZED);
    const needed = difference(NOTHING_RESERVED, reserve);
    const first = nodes.filter(({ id }) => id === preferred);
    for (;;) {
      for (const among of [first, nodes].filter((each) => each.length > 0)) {
        const { rows } = await this.database.run<{ node: string }>(placementSql(needed, among));
        if (rows[0]) return rows[0].node;
      }
      const short = shortOfAll(nodes, { needed, sums: await this.sums() });
      // Null if a concurrent start took the room and it was freed again, or a node became active again.
      if (short !== null) throw noCapacity(short);
    }
  }

  /** The sums of all nodes, by node id. */
  async sums(): Promise<ReadonlyMap<string, NodeSum>> {
    const rows = await this.database.manager.find(ReservedCapacityEntity);
    return new Map(rows.map(({ node, ...sum }) => [node, sum]));
  }

  /** @param node null: the single machine */
  async sum(node: string | null = null): Promise<NodeSum> {
    return this.database.manager.findOneByOrFail(ReservedCapacityEntity, { node: node ?? THIS_NODE });
  }

  /**
   * Copies whether a node is active from `nodes` to its sum. Call it last in the transaction that changes the
   * availability. It waits for placements on that node that are in progress.
   */
  async followAvailability(node: string): Promise<void> {
    await this.update(sql`reserved_capacity SET is_open = (${IS_ACTIVE}) WHERE node = ${node}`);
  }

  /**
   * Corrects rows and sums that were changed by other means: by a process of a version that does not reserve, or by
   * an operator's SQL. If nothing is wrong, which one statement tells, nothing is locked or written.
   *
   * @returns whether anything was corrected
   */
  async recount(): Promise<boolean> {
    if ((await this.database.run(FIRST_WRONG)).affected === 0) return false;
    return this.database.runInTx(async () => {
      const corrected = [
        await this.update(sql`containers SET reserved_memory_mb = memory_mb, reserved_cpu_shares = ${NEEDED_CPU},
          revision = revision + 1 WHERE ${RESERVES_OTHER}`),
        await this.update(sql`containers SET reserved_memory_mb = 0, reserved_cpu_shares = 0, revision = revision + 1
          WHERE ${RESERVES_FOR_NOTHING}`),
      ];
      // Locks the sums before the rows are added up: a later change of a row adds to the result.
      await this.update(SERIALIZED);
      await this.update(sql`reserved_capacity SET memory_mb = memory_mb`);
      const sums = await this.database.run(sql`WITH ${COUNTED} UPDATE reserved_capacity
        SET memory_mb = counted.memory_mb, cpu_shares = counted.cpu_shares
        FROM counted WHERE reserved_capacity.node = counted.node AND ${SUM_DIFFERS}`);
      corrected.push(
        sums.affected,
        await this.update(sql`reserved_capacity SET is_open = (${IS_ACTIVE}) WHERE ${MISTAKES_NODE}`),
      );
      return corrected.some((rows) => rows > 0);
    });
  }

  /** @returns false if the amount is not within the bounds */
  private async add(
    before: ReservedColumns,
    after: ReservedColumns,
    where: { readonly node: string | null; readonly bounds?: CapacityBounds },
  ): Promise<boolean> {
    const added = difference(before, after);
    return isNone(added) || (await this.update(additionSql(added, where))) === 1;
  }

  /** @param rest the text after `UPDATE` @returns the number of changed rows */
  private async update(rest: Sql): Promise<number> {
    return (await this.database.run(sql`UPDATE ${rest}`)).affected;
  }
}

/** An update that locks the only row of `placement`, which serializes placements and changes of several sums. */
const SERIALIZED = sql`placement SET id = id`;

/** What a running or paused container reserves: the same as {@link reservedBy}. */
const NEEDED_CPU = sql`CASE WHEN status = 'paused' THEN 0 ELSE cpu_shares END`;

/** A container runs and reserves something other than its limits. */
const RESERVES_OTHER = sql`status IN ('running', 'paused') AND deleted_at IS NULL AND operation IS NULL
  AND (reserved_memory_mb <> memory_mb OR reserved_cpu_shares <> ${NEEDED_CPU})`;

/** A container reserves something although it does not run. */
const RESERVES_FOR_NOTHING = sql`reserved_memory_mb > 0 AND operation IS NULL
  AND (status NOT IN ('running', 'paused') OR deleted_at IS NOT NULL)`;

/** Whether the node of a sum is active. */
const IS_ACTIVE = sql`SELECT n.availability = 'active' FROM nodes n WHERE n.id = reserved_capacity.node`;

/** A sum says of its node that it is active although it is not, or the reverse. */
const MISTAKES_NODE = sql`node IN (SELECT id FROM nodes) AND is_open <> (${IS_ACTIVE})`;

/** CTEs with the sums as they should be. Reads the containers once: ten thousand rows take some milliseconds. */
const COUNTED = sql`placed AS (
    SELECT node_id, other_node_id, SUM(reserved_memory_mb) AS memory_mb, SUM(reserved_cpu_shares) AS cpu_shares,
      MAX(CASE WHEN (${RESERVES_OTHER}) OR (${RESERVES_FOR_NOTHING}) THEN 1 ELSE 0 END) AS has_wrong_rows
    FROM containers WHERE reserved_memory_mb > 0 OR (status = 'running' AND deleted_at IS NULL)
      OR (status = 'paused' AND deleted_at IS NULL)
    GROUP BY node_id, other_node_id
  ), by_node AS (
    SELECT COALESCE(node_id, ${THIS_NODE}) AS node, memory_mb, cpu_shares FROM placed
    UNION ALL SELECT other_node_id, memory_mb, cpu_shares FROM placed WHERE other_node_id IS NOT NULL
  ), counted AS (
    SELECT r.node AS node, COALESCE(SUM(b.memory_mb), 0) AS memory_mb, COALESCE(SUM(b.cpu_shares), 0) AS cpu_shares
    FROM reserved_capacity r LEFT JOIN by_node b ON b.node = r.node GROUP BY r.node
  )`;

/** A sum is not the one in {@link COUNTED}. */
const SUM_DIFFERS = sql`(reserved_capacity.memory_mb <> counted.memory_mb
  OR reserved_capacity.cpu_shares <> counted.cpu_shares)`;

/** Finds the first mistake in rows or sums. A single statement sees both as of the same moment. */
const FIRST_WRONG = sql`WITH ${COUNTED} SELECT 1 FROM placed WHERE has_wrong_rows = 1
  UNION ALL SELECT 1 FROM reserved_capacity INNER JOIN counted ON counted.node = reserved_capacity.node
    WHERE ${SUM_DIFFERS}
  UNION ALL SELECT 1 FROM reserved_capacity WHERE ${MISTAKES_NODE} LIMIT 1`;

/** The nodes that a row's reservation counts on; null is the single machine. */
function placesOf({ nodeId, otherNodeId }: Pick<ContainerRow, 'nodeId' | 'otherNodeId'>): readonly (string | null)[] {
  return otherNodeId === null ? [nodeId] : [nodeId, otherNodeId];
}

function isNone({ memoryMb, cpuShares }: Reservation): boolean {
  return memoryMb === 0 && cpuShares === 0;
}

/** The text of an addition to a sum, without its condition. */
function additionTo({ memoryMb, cpuShares }: Reservation): Sql {
  return sql`reserved_capacity SET memory_mb = memory_mb + ${memoryMb}, cpu_shares = cpu_shares + ${cpuShares}`;
}

/** The text after `UPDATE` that adds to a sum. */
function additionSql(
  added: Reservation,
  { node, bounds }: { readonly node: string | null; readonly bounds?: CapacityBounds },
): Sql {
  const within = (column: Sql, more: number, bound: number | null | undefined): Sql =>
    // An amount that does not grow is never short, even if more is reserved already than the bound allows.
    bound == null || more <= 0 ? sql`` : sql`AND ${fits(column, more, sql`CAST(${bound} AS BIGINT)`)}`;
  return sql`${additionTo(added)} WHERE node = ${node ?? THIS_NODE}
    ${(bounds?.mayBeClosed ?? bounds === undefined) ? sql`` : sql`AND is_open`}
    ${within(sql`memory_mb`, added.memoryMb, bounds?.memoryMb)}
    ${within(sql`cpu_shares`, added.cpuShares, bounds?.cpuShares)}`;
}

/** More than any node has. */
const UNBOUNDED = Number.MAX_SAFE_INTEGER;

/** A CTE with the bounds of each candidate node. */
function boundsCte(nodes: readonly NodeBounds[]): Sql {
  const bounds = nodes.map(({ id, memoryMb, cpuShares }) => {
    const [memory, cpu] = [memoryMb ?? UNBOUNDED, cpuShares ?? UNBOUNDED];
    return sql`(CAST(${id} AS VARCHAR), CAST(${memory} AS BIGINT), CAST(${cpu} AS BIGINT))`;
  });
  return sql`b(node, memory_mb, cpu_shares) AS (VALUES ${sql.list(bounds)})`;
}

/** An amount of 0 always fits, even if more is reserved already than the bound allows. */
function fits(column: Sql, more: number, bound: Sql): Sql {
  return more === 0 ? sql`TRUE` : sql`${column} + ${more} <= ${bound}`;
}

/**
 * Selects from {@link boundsCte} the least full node, measured by its scarcest resource, among those that are open
 * and have room.
 */
function leastFullSql({ memoryMb, cpuShares }: Reservation): Sql {
  const memory = sql`(r.memory_mb * 1.0 / (b.memory_mb + 1))`;
  const cpu = sql`(r.cpu_shares * 1.0 / (b.cpu_shares + 1))`;
  return sql`SELECT r.node FROM reserved_capacity r INNER JOIN b ON b.node = r.node WHERE r.is_open
    AND ${fits(sql`r.memory_mb`, memoryMb, sql`b.memory_mb`)}
    AND ${fits(sql`r.cpu_shares`, cpuShares, sql`b.cpu_shares`)}
    ORDER BY CASE WHEN ${memory} > ${cpu} THEN ${memory} ELSE ${cpu} END, r.node LIMIT 1`;
}

/**
 * Claims on the least full node among those whose sums are not locked at the moment, so concurrent placements choose
 * different nodes and none waits. Which node is the least full is as of the statement's beginning; whether it is open
 * and has room is checked again once its sum is locked.
 */
function claimOfOne(needed: Reservation, nodes: readonly NodeBounds[]): Claim {
  return {
    before: sql`${boundsCte(nodes)}, free AS (${leastFullSql(needed)} FOR NO KEY UPDATE OF r SKIP LOCKED),`,
    update: sql`${additionTo(needed)} WHERE node = (SELECT node FROM free)`,
    node: sql`node`,
  };
}

/** Adds to the sum of the least full node, if the amount still fits there. */
function placementSql(needed: Reservation, nodes: readonly NodeBounds[]): Sql {
  const boundOf = (column: Sql): Sql => sql`(SELECT ${column} FROM b WHERE b.node = reserved_capacity.node)`;
  return sql`WITH ${boundsCte(nodes)} UPDATE ${additionTo(needed)}
    WHERE node = (${leastFullSql(needed)}) AND is_open
    AND ${fits(sql`memory_mb`, needed.memoryMb, boundOf(sql`b.memory_mb`))}
    AND ${fits(sql`cpu_shares`, needed.cpuShares, boundOf(sql`b.cpu_shares`))}
    RETURNING node`;
}

/** The sum of a node that no process has recorded yet: nothing can be placed there. */
const NOT_THERE: NodeSum = { memoryMb: 0, cpuShares: 0, isOpen: false };

/** The shortages of the node with the most room. @returns null if the reservation fits on a node */
function shortOfAll(
  nodes: readonly NodeBounds[],
  { needed, sums }: { needed: Reservation; sums: ReadonlyMap<string, NodeSum> },
): readonly Shortage[] | null {
  const shortages = nodes.flatMap((node) => {
    const { memoryMb, cpuShares, isOpen } = sums.get(node.id) ?? NOT_THERE;
    if (!isOpen) return [];
    const short = [
      ...shortage('memory_mb', { needed: needed.memoryMb, bound: node.memoryMb, reserved: memoryMb }),
      ...shortage('cpu_shares', { needed: needed.cpuShares, bound: node.cpuShares, reserved: cpuShares }),
    ];
    return [short];
  });
  const [least] = shortages.sort((a, b) => a.length - b.length || availableOf(b) - availableOf(a));
  if (least === undefined) return [NO_NODE];
  return least.length === 0 ? null : least;
}

function availableOf(short: readonly Shortage[]): number {
  return short[0]?.available ?? 0;
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
