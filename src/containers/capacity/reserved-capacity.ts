import { Injectable } from '@nestjs/common';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { Database } from '../../database';
import { DomainError } from '../../errors';
import type { ContainerRow } from '../container.entity';

/** The only machine, where there is one; a row of the table is one machine. */
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

  /**
   * Whether anything new may be placed or started there: whether its row in `nodes` says that it is active. Here, as
   * whoever places something locks this row: from the commit of a drain on, nobody does, whatever he has heard.
   */
  @Column({ name: 'is_open', type: 'boolean', default: true })
  isOpen: boolean;
}

/** Memory in MiB and CPU in millicores. */
export interface Reservation {
  readonly memoryMb: number;
  readonly cpuShares: number;
}

/** A row's columns of what it reserves. */
export type ReservedColumns = Pick<ContainerRow, 'reservedMemoryMb' | 'reservedCpuShares'>;

/** What a row reserves, and where. */
type PlacedReserve = ReservedColumns & Pick<ContainerRow, 'nodeId' | 'otherNodeId'>;

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

/** What is reserved on a machine, and whether that takes anything new. */
type NodeSum = Reservation & Pick<ReservedCapacityEntity, 'isOpen'>;

/** Something of which too little is left. */
export interface Shortage {
  readonly resource: 'memory_mb' | 'cpu_shares' | 'free_memory_mb' | 'free_disk_mb' | 'networks' | 'nodes';
  readonly needed: number;
  readonly available: number;
}

/** What may be reserved together. null: any amount. */
export interface CapacityBounds {
  readonly memoryMb: number | null;
  readonly cpuShares: number | null;
  /** What is short whatever is reserved. */
  readonly short: readonly Shortage[];
  /** Of several machines, those that it may go to; absent: there is one. */
  readonly nodes?: readonly NodeBounds[];
  /** It runs there already, where nothing new is to be placed or started any more, if need be. */
  readonly mayBeClosed?: boolean;
}

/** A claim as a part of a statement. */
export interface Claim {
  /** CTEs that it needs. */
  readonly before: readonly string[];
  /** What follows `UPDATE`; its condition can be continued. */
  readonly update: string;
  /** The machine that was claimed, of several, in terms of what is updated. */
  readonly node: string;
}

/** A machine that something may be placed on. */
export interface NodeBounds {
  readonly id: string;
  readonly memoryMb: number | null;
  readonly cpuShares: number | null;
}

/** No machine takes it. */
export const NO_NODE: Shortage = { resource: 'nodes', needed: 1, available: 0 };

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
    // Two that lock each other's sums would wait for each other.
    if (changes.length > 1) await this.update('placement SET id = id');
    for (const { node, was, is } of changes) await this.add(was, is, { node });
  }

  /**
   * As {@link follow}, if what it adds is there.
   *
   * @throws DomainError `no_capacity`; the transaction must be rolled back
   */
  async claim(before: PlacedReserve, after: ReservedColumns, bounds: CapacityBounds): Promise<void> {
    if (bounds.short.length > 0) throw noCapacity(bounds.short);
    const added = difference(before, after);
    const { nodeId: node, otherNodeId } = before;
    if (otherNodeId !== null) {
      await this.update('placement SET id = id');
      await this.add(before, after, { node: otherNodeId });
    }
    while (!(await this.add(before, after, { node, bounds }))) {
      const { memoryMb, cpuShares, isOpen } = await this.sum(node);
      const short = [
        ...(isOpen || bounds.mayBeClosed ? [] : [NO_NODE]),
        ...shortage('memory_mb', { needed: added.memoryMb, bound: bounds.memoryMb, reserved: memoryMb }),
        ...shortage('cpu_shares', { needed: added.cpuShares, bound: bounds.cpuShares, reserved: cpuShares }),
      ];
      // None if somebody has released some since, or the machine is active again.
      if (short.length > 0) throw noCapacity(short);
    }
  }

  /**
   * Claims what a new row reserves, as a part of a statement of PostgreSQL that does more. Where it updates nothing,
   * `claim` says what is short; of several machines `place` finds one, or says it.
   *
   * @returns null where it is short whatever is reserved
   */
  claimSql(row: ReservedColumns, bounds: CapacityBounds): Claim | null {
    const needed = difference(NOTHING_RESERVED, row);
    if (bounds.short.length > 0 || isNone(needed)) return null;
    if (bounds.nodes) return claimOfOne(needed, bounds.nodes);
    const update = additionSql(needed, { node: null, bounds });
    return update === null ? null : { before: [], update, node: 'NULL::varchar' };
  }

  /**
   * Chooses the machine that has the most room, and claims it there; the next one where somebody was faster. Who places
   * waits for who has placed, so that each sees what the other took; a start or a stop does not.
   *
   * @returns the node
   * @throws DomainError `no_capacity`; the transaction must be rolled back
   */
  async place(reserve: ReservedColumns, nodes: readonly NodeBounds[]): Promise<string> {
    await this.update('placement SET id = id');
    const needed = difference(NOTHING_RESERVED, reserve);
    for (;;) {
      const [chosen] = await this.rowsOf<{ node: string }>(placementSql(needed, nodes));
      if (chosen) return chosen.node;
      const short = shortOfAll(nodes, { needed, sums: await this.sums() });
      // None if a start took what there was, and somebody has released some since, or a machine is active again.
      if (short !== null) throw noCapacity(short);
    }
  }

  /** What is reserved on each machine, as `place` finds it. */
  async sums(): Promise<ReadonlyMap<string, NodeSum>> {
    const rows = await this.database.manager.find(ReservedCapacityEntity);
    return new Map(rows.map(({ node, ...sum }) => [node, sum]));
  }

  /** @param node null: the only machine */
  async sum(node: string | null = null): Promise<NodeSum> {
    return this.database.manager.findOneByOrFail(ReservedCapacityEntity, { node: node ?? THIS_NODE });
  }

  /**
   * Makes the sum of a machine say whether it is active as its row does: to be called in the transaction that changes
   * that, as the last. What is being placed there meanwhile is waited for.
   */
  async followAvailability(node: string): Promise<void> {
    assertPlain(node);
    await this.update(`reserved_capacity SET is_open = (${IS_ACTIVE}) WHERE node = '${node}'`);
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
      await this.update('placement SET id = id');
      await this.update('reserved_capacity SET memory_mb = memory_mb');
      const sums = `SELECT r.node AS node, COALESCE(SUM(c.reserved_memory_mb), 0) AS memory_mb,
        COALESCE(SUM(c.reserved_cpu_shares), 0) AS cpu_shares FROM reserved_capacity r LEFT JOIN (${RESERVING}) c
        ON c.node = r.node GROUP BY r.node`;
      corrected.push(
        await this.update(`reserved_capacity SET memory_mb = counted.memory_mb, cpu_shares = counted.cpu_shares
          FROM (${sums}) AS counted WHERE reserved_capacity.node = counted.node
          AND (reserved_capacity.memory_mb <> counted.memory_mb
          OR reserved_capacity.cpu_shares <> counted.cpu_shares)`),
        await this.update(`reserved_capacity SET is_open = (${IS_ACTIVE})
          WHERE node IN (SELECT id FROM nodes) AND is_open <> (${IS_ACTIVE})`),
      );
      return corrected.some((rows) => rows > 0);
    });
  }

  /** @returns whether it was within the bounds */
  private async add(
    before: ReservedColumns,
    after: ReservedColumns,
    where: { readonly node: string | null; readonly bounds?: CapacityBounds },
  ): Promise<boolean> {
    const sql = additionSql(difference(before, after), where);
    return sql === null || (await this.update(sql)) === 1;
  }

  /** @param sql without parameters @returns the number of changed rows */
  private async update(sql: string): Promise<number> {
    return (await this.rowsOf(`UPDATE ${sql} RETURNING 1`)).length;
  }

  /** @param sql an update that returns something, without parameters */
  private async rowsOf<T>(sql: string): Promise<readonly T[]> {
    type Rows = readonly T[];
    const answer = await this.database.manager.query<Rows | readonly [Rows, number]>(sql);
    // Of an update, TypeORM returns SQLite's rows, and PostgreSQL's together with their count.
    return this.database.isSqlite ? (answer as Rows) : (answer as readonly [Rows, number])[0];
  }
}

/** Of the machine whose sum it is. */
const IS_ACTIVE = "SELECT n.availability = 'active' FROM nodes n WHERE n.id = reserved_capacity.node";

/** What containers reserve, each on every machine that it counts on. */
const RESERVING = ["COALESCE(node_id, '" + THIS_NODE + "')", 'other_node_id']
  .map(
    (node) => `SELECT ${node} AS node, reserved_memory_mb, reserved_cpu_shares FROM containers
    WHERE reserved_memory_mb > 0 AND ${node} IS NOT NULL`,
  )
  .join(' UNION ALL ');

/** The machines that a row counts on. */
function placesOf({ nodeId, otherNodeId }: Pick<ContainerRow, 'nodeId' | 'otherNodeId'>): readonly (string | null)[] {
  return otherNodeId === null ? [nodeId] : [nodeId, otherNodeId];
}

function isNone({ memoryMb, cpuShares }: Reservation): boolean {
  return memoryMb === 0 && cpuShares === 0;
}

/** What ids of nodes are made of. */
const PLAIN = /^[a-z0-9_-]{1,64}$/i;

function assertPlain(id: string): void {
  if (!PLAIN.test(id)) throw new Error('the id of a node is not one');
}

/** Adds to sums, up to the condition. */
function additionTo({ memoryMb, cpuShares }: Reservation): string {
  return `reserved_capacity SET memory_mb = memory_mb + ${String(memoryMb)}, cpu_shares = cpu_shares + ${String(cpuShares)}`;
}

/**
 * What follows `UPDATE` to add to the sum. Whole numbers and plain words only, so there is nothing to escape.
 *
 * @returns null if there is nothing to add
 */
function additionSql(
  added: Reservation,
  { node, bounds }: { readonly node: string | null; readonly bounds?: CapacityBounds },
): string | null {
  if (node !== null) assertPlain(node);
  if (isNone(added)) return null;
  const within = (column: string, more: number, bound: number | null | undefined): string =>
    // What does not grow is never short, even where more is reserved already than the bound allows.
    bound == null || more <= 0 ? '' : ` AND ${column} + ${String(more)} <= ${String(bound)}`;
  return (
    `${additionTo(added)} WHERE node = '${node ?? THIS_NODE}'` +
    ((bounds?.mayBeClosed ?? bounds === undefined) ? '' : ' AND is_open') +
    within('memory_mb', added.memoryMb, bounds?.memoryMb) +
    within('cpu_shares', added.cpuShares, bounds?.cpuShares)
  );
}

/** More than any machine has. */
const UNBOUNDED = Number.MAX_SAFE_INTEGER;

/** What every machine that something may be placed on may give, as a table. */
function boundsCte(nodes: readonly NodeBounds[]): string {
  const bounds = nodes.map((node) => {
    assertPlain(node.id);
    return `('${node.id}', ${String(node.memoryMb ?? UNBOUNDED)}, ${String(node.cpuShares ?? UNBOUNDED)})`;
  });
  return `b(node, memory_mb, cpu_shares) AS (VALUES ${bounds.join(', ')})`;
}

/** What needs nothing is never short, even where more is reserved already than the bound allows. */
function fits(column: string, more: number, bound: string): string {
  return more === 0 ? '1 = 1' : `${column} + ${String(more)} <= ${bound}`;
}

/** Of {@link boundsCte}, the machine that is the least full, by what is scarcer there, where it is open and it fits. */
function leastFullSql({ memoryMb, cpuShares }: Reservation): string {
  const share = (column: string): string => `(r.${column} * 1.0 / (b.${column} + 1))`;
  return `SELECT r.node FROM reserved_capacity r INNER JOIN b ON b.node = r.node WHERE r.is_open
    AND ${fits('r.memory_mb', memoryMb, 'b.memory_mb')} AND ${fits('r.cpu_shares', cpuShares, 'b.cpu_shares')}
    ORDER BY CASE WHEN ${share('memory_mb')} > ${share('cpu_shares')} THEN ${share('memory_mb')}
      ELSE ${share('cpu_shares')} END, r.node LIMIT 1`;
}

/**
 * Claims on the machine that is the least full of those whose sums nobody has at the moment: who places something at
 * the same time goes elsewhere, and none waits. Which is the least full is as of the statement's beginning; that it is
 * open and that it fits is looked at again once the sum is locked.
 */
function claimOfOne(needed: Reservation, nodes: readonly NodeBounds[]): Claim {
  return {
    before: [boundsCte(nodes), `free AS (${leastFullSql(needed)} FOR NO KEY UPDATE OF r SKIP LOCKED)`],
    update: `${additionTo(needed)} WHERE node = (SELECT node FROM free)`,
    node: 'node',
  };
}

/**
 * Adds to the sum of the least full machine, if it still fits there. Whole numbers and plain words only, so there is
 * nothing to escape.
 */
function placementSql(needed: Reservation, nodes: readonly NodeBounds[]): string {
  const { memoryMb, cpuShares } = needed;
  const boundOf = (column: string): string => `(SELECT b.${column} FROM b WHERE b.node = reserved_capacity.node)`;
  return `WITH ${boundsCte(nodes)} UPDATE ${additionTo(needed)}
    WHERE node = (${leastFullSql(needed)})
    AND is_open AND ${fits('memory_mb', memoryMb, boundOf('memory_mb'))} AND ${fits('cpu_shares', cpuShares, boundOf('cpu_shares'))}
    RETURNING node`;
}

/** Of a machine that no process has noted yet: nothing can be counted there. */
const NOT_THERE: NodeSum = { memoryMb: 0, cpuShares: 0, isOpen: false };

/** Where it fits on no machine: what the one with the most room lacks. @returns null if it fits on one */
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
