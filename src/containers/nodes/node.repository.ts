import { Injectable } from '@nestjs/common';
import { In, IsNull, Not, Raw } from 'typeorm';
import { TokenService } from '../../auth';
import { Database, ProcessPresence, type Sql, sql, TaskLead } from '../../database';
import type { EngineNode } from '../../engine';
import { type EventDraft, EventLog } from '../../events';
import { WarmSlotEntity } from '../model/warm-slot.entity';
import { Clock } from '../../scheduling';
import { ReservedCapacity, ReservedCapacityEntity } from '../rows/reserved-capacity';
import { ContainerEntity, type ContainerRow } from '../model/container.entity';
import { NodeEntity, type NodeRow, silentBefore } from '../model/node.entity';
import { SnapshotEntity } from '../model/snapshot.entity';
import { IS_IDLE, unusedSince } from '../capacity/idle-sandboxes';
import { WELL } from '../capacity/sick-nodes';

type NodeEvent = Extract<EventDraft['type'], `node_${string}`>;

/** The minimum interval between two writes of `reachable_at`. */
const NOTED_EVERY_MS = 3_000;

/** Evaluated at the query, not from rows read before: a node that is back accepts containers again. */
const GIVEN_UP = Raw((column) => `${column} IN (SELECT n.id FROM nodes n WHERE n.forgotten_at IS NOT NULL)`);

/** By node id. */
type ContainersByNode = ReadonlyMap<string, ContainerCounts>;

interface ContainerCounts {
  /** Running or not. */
  readonly live: number;
  /** Those that run unused: see {@link IdleSandboxes}. */
  readonly idle: number;
}

/** The rows of nodes, and queries of the containers on them. Changes are emitted to administrators. */
@Injectable()
export class NodeRepository {
  /** The version of each node that this process last recorded. */
  private readonly versions = new Map<string, number>();
  /** Of the moves of containers from drained nodes. */
  readonly emptying: TaskLead;

  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly capacity: ReservedCapacity,
    private readonly tokens: TokenService,
    private readonly clock: Clock,
    presence: ProcessPresence,
  ) {
    this.emptying = new TaskLead(database, presence, 'node_emptier');
  }

  /** All nodes, by name. */
  all(): Promise<NodeRow[]> {
    return this.database.manager.find(NodeEntity, { order: { name: 'ASC', id: 'ASC' } });
  }

  /** @param name the node's name or id; if nodes share a name, the one that was not given up */
  async find(name: string): Promise<NodeRow | null> {
    // PostgreSQL refuses a text with this character.
    if (name.includes('\0')) return null;
    const rows = await this.database.manager.find(NodeEntity, { where: [{ id: name }, { name }] });
    return rows.find(({ forgottenAt }) => forgottenAt === null) ?? rows[0] ?? null;
  }

  /**
   * Treats the recorded versions as the last that this process was told, before it asks Swarm for the first time:
   * Swarm's first answer is newer, whatever other processes write meanwhile.
   */
  remember(rows: readonly NodeRow[]): void {
    for (const { id, version } of rows) this.versions.set(id, version);
  }

  /**
   * Records what this process knows of the nodes, if it changed. Swarm's data is not written if another process
   * recorded a newer version.
   */
  async note(nodes: readonly EngineNode[]): Promise<void> {
    const rows = new Map((await this.all()).map((row) => [row.id, row]));
    const now = this.clock.now();
    for (const node of nodes) {
      let row = rows.get(node.id) ?? null;
      // Another process wrote the row first, possibly with older data: compare again.
      while (!(await this.noteOne(row, node, now))) {
        row = await this.database.manager.findOneBy(NodeEntity, { id: node.id });
      }
      this.versions.set(node.id, node.version);
    }
  }

  /**
   * Records that a node became silent or answers again, and emits the event, unless the row says so already or the
   * node has answered since.
   */
  async noteSilence(row: NodeRow, { isSilent }: { readonly isSilent: boolean }): Promise<void> {
    const now = this.clock.now();
    const type = isSilent ? 'node_unreachable' : 'node_reachable';
    const isNews = isSilent
      ? sql`silent_since IS NULL AND reachable_at < ${silentBefore(now)}`
      : sql`silent_since IS NOT NULL`;
    await this.change(row, { set: { silentSince: isSilent ? now : null }, where: isNews, type });
  }

  /** Gives a node up: from then on no process waits for it. */
  async forget(row: NodeRow): Promise<void> {
    const forgottenAt = this.clock.now();
    const set = { forgottenAt, silentSince: null };
    await this.change(row, { set, where: sql`forgotten_at IS NULL`, type: 'node_forgotten' });
    // Should the node come back, the rows say what to remove there: its volumes are known by nothing else.
    await this.database.manager.update(WarmSlotEntity, { nodeId: row.id }, { state: 'releasing' });
  }

  /**
   * Readmits a node that answers after it was given up; it counts as a new one.
   *
   * @returns false if another process did so
   */
  async readmit(row: NodeRow): Promise<boolean> {
    const set = { forgottenAt: null, ...WELL };
    return this.change(row, { set, where: sql`forgotten_at IS NOT NULL`, type: 'node_readmitted' });
  }

  /** The nodes that an administrator asked to empty. */
  async emptied(): Promise<(NodeRow & { readonly emptiedSince: Date })[]> {
    const rows = await this.database.manager.find(NodeEntity, {
      where: { emptiedSince: Not(IsNull()), forgottenAt: IsNull() },
    });
    return rows.map(({ emptiedSince, ...row }) => ({ ...row, emptiedSince: emptiedSince ?? new Date(0) }));
  }

  /** @param since when it was asked for; null: the containers stay */
  async setEmptied(id: string, since: Date | null): Promise<void> {
    await this.database.manager.update(NodeEntity, { id }, { emptiedSince: since });
    if (since !== null) return;
    const stays = { nodeId: id, notMovedBecause: Not(IsNull()) };
    await this.database.manager.update(ContainerEntity, stays, { notMovedBecause: null });
  }

  /** Ids of the live containers on a node that no operation leases. */
  async idleOn(id: string): Promise<string[]> {
    const rows = await this.database.manager.find(ContainerEntity, {
      select: { id: true },
      where: { nodeId: id, operation: IsNull() },
      order: { id: 'ASC' },
    });
    return rows.map((row) => row.id);
  }

  /**
   * Records why a container could not be moved. The container and its operation do not change, so its lease and
   * revision stay.
   */
  async noteNotMoved(containerId: string, code: string): Promise<void> {
    await this.database.manager.update(ContainerEntity, { id: containerId }, { notMovedBecause: code });
  }

  /** Why containers on a node could not be moved so far; at most `limit`. */
  async notMoved(id: string, limit: number): Promise<Pick<ContainerRow, 'id' | 'notMovedBecause'>[]> {
    return this.database.manager.find(ContainerEntity, {
      select: { id: true, notMovedBecause: true },
      where: { nodeId: id, notMovedBecause: Not(IsNull()) },
      order: { id: 'ASC' },
      take: limit,
    });
  }

  /** The number of deleted containers with data on a node. */
  async countKept(id: string): Promise<number> {
    return this.database.manager.count(ContainerEntity, {
      where: { nodeId: id, deletedAt: Not(IsNull()), purgedAt: IsNull() },
      withDeleted: true,
    });
  }

  /** The number of snapshots with files on a node. */
  async countSnapshots(id: string): Promise<number> {
    return this.database.manager.count(SnapshotEntity, { where: { nodeId: id, status: In(['making', 'ready']) } });
  }

  async countContainers(): Promise<ContainersByNode> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select('c.node_id', 'node')
      .addSelect('COUNT(*)', 'live')
      .addSelect(`COUNT(CASE WHEN ${IS_IDLE} THEN 1 END)`, 'idle')
      .setParameter('unusedSince', this.database.timestamp(unusedSince(this.clock.now())))
      .where('c.deletedAt IS NULL AND c.nodeId IS NOT NULL')
      .groupBy('c.node_id')
      .getRawMany<{ node: string; live: string | number; idle: string | number }>();
    return new Map(rows.map(({ node, live, idle }) => [node, { live: Number(live), idle: Number(idle) }]));
  }

  /**
   * Live rows on these nodes whose users have not been told yet; at most a page.
   *
   * @param isUnreachable what they are to be told
   */
  async untold(nodes: readonly string[], isUnreachable: boolean, page: number): Promise<ContainerRow[]> {
    if (nodes.length === 0) return [];
    const query = this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where('c.deletedAt IS NULL AND c.nodeId IN (:...nodes)', { nodes });
    // A container in `error` cannot be used on a node that answers either.
    if (isUnreachable) query.andWhere("c.status <> 'error'");
    return query
      .andWhere(isUnreachable ? 'c.unreachableSince IS NULL' : 'c.unreachableSince IS NOT NULL')
      .orderBy('c.id')
      .limit(page)
      .getMany();
  }

  /** Rows on nodes that were given up, including deleted ones; at most a page. */
  async onGivenUp(page: number): Promise<ContainerRow[]> {
    return this.database.manager.find(ContainerEntity, {
      where: { nodeId: GIVEN_UP },
      withDeleted: true,
      order: { id: 'ASC' },
      take: page,
    });
  }

  /** Rows whose other node was given up, including deleted ones; at most a page. */
  async partlyOnGivenUp(page: number): Promise<ContainerRow[]> {
    return this.database.manager.find(ContainerEntity, {
      where: { otherNodeId: GIVEN_UP },
      withDeleted: true,
      order: { id: 'ASC' },
      take: page,
    });
  }

  /** Rows that were given up with a node which is back, and that have not been created again; at most a page. */
  async backWith(page: number): Promise<ContainerRow[]> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .where('c.former_node_id IN (SELECT n.id FROM nodes n WHERE n.forgotten_at IS NULL)')
      .andWhere('(c.node_id IS NULL OR c.node_id <> c.former_node_id)')
      .andWhere('c.docker_id IS NULL AND c.operation IS NULL AND c.purged_at IS NULL')
      .orderBy('c.id')
      .limit(page)
      .getMany();
  }

  /**
   * @param row as read; null: there was none
   * @returns false if another process wrote the row since, or it was just inserted; the caller must read it again
   */
  private async noteOne(row: NodeRow | null, { isReachable, ...facts }: EngineNode, now: Date): Promise<boolean> {
    if (row === null) {
      await this.insert(facts, isReachable ? now : null);
      return false;
    }
    if (!isNews(row, facts) && !(isReachable && isDue(row.reachableAt, now))) return true;
    return this.write(row, facts, isReachable ? now : row.reachableAt);
  }

  private async write(row: NodeRow, facts: Facts, reachableAt: Date | null): Promise<boolean> {
    // A Swarm that was restored from a backup continues at its old version: then a lower version is the newer one.
    const isBehind = facts.version < row.version && facts.version >= (this.versions.get(row.id) ?? Infinity);
    if (!isBehind) return this.writeAll(row, facts, reachableAt);
    await this.database.manager.update(NodeEntity, { id: row.id }, { problem: facts.problem, reachableAt });
    return true;
  }

  private async writeAll(row: NodeRow, { id, ...facts }: Facts, reachableAt: Date | null): Promise<boolean> {
    const after = { ...facts, reachableAt, labels: { ...facts.labels } };
    const isAsRead = sql`version = ${row.version}`;
    if (facts.availability === row.availability) return this.update(id, after, isAsRead);
    const type = facts.availability === 'active' ? 'node_activated' : 'node_drained';
    const where = sql`${isAsRead} AND availability = ${row.availability}`;
    return this.change({ ...row, ...after }, { set: after, where, type });
  }

  /**
   * Makes a change and emits its event, unless another process has.
   *
   * @param row as it is after the change
   * @param change.where a condition of the change
   * @returns whether the change was made
   */
  private async change(
    { id, name, pool, availability }: NodeRow,
    { set, where, type }: { set: Partial<NodeEntity>; where: Sql; type: NodeEvent },
  ): Promise<boolean> {
    return this.database.runInTx(async () => {
      if (!(await this.update(id, set, where))) return false;
      // In the order of their ids, because each user's row is locked.
      for (const userId of await this.tokens.administrators()) {
        await this.eventLog.append({ userId, drafts: [{ type, data: { id, name, pool, availability } }] });
      }
      await this.capacity.followAvailability(id);
      return true;
    });
  }

  private async update(id: string, set: Partial<NodeEntity>, condition: Sql): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE nodes SET ${sql.set(NodeEntity, set)} WHERE id = ${id} AND ${condition}`);
    return affected === 1;
  }

  private async insert(facts: Facts, reachableAt: Date | null): Promise<void> {
    const dates = { reachableAt, silentSince: null, emptiedSince: null, forgottenAt: null };
    const node = { ...facts, labels: { ...facts.labels }, ...dates, ...WELL };
    // Two processes may insert the same node at once.
    const sum = { node: facts.id, memoryMb: 0, cpuShares: 0, isOpen: false };
    await this.database.runInTx(async () => {
      await this.database.run(sql`${sql.insert(NodeEntity, node)} ON CONFLICT DO NOTHING`);
      await this.database.run(sql`${sql.insert(ReservedCapacityEntity, sum)} ON CONFLICT DO NOTHING`);
      await this.capacity.followAvailability(facts.id);
    });
  }
}

function isDue(notedAt: Date | null, now: Date): boolean {
  return notedAt === null || now.getTime() - notedAt.getTime() >= NOTED_EVERY_MS;
}

type Facts = Omit<EngineNode, 'isReachable'>;

function isNews(row: NodeRow, facts: Facts): boolean {
  const plain: readonly (keyof Facts & keyof NodeRow)[] = [
    'name',
    'address',
    'pool',
    'state',
    'availability',
    'isManager',
    'version',
    'memoryMb',
    'cpuShares',
    'problem',
  ];
  return (
    plain.some((field) => row[field] !== facts[field]) || JSON.stringify(row.labels) !== JSON.stringify(facts.labels)
  );
}
