import { setImmediate as nextTurn } from 'node:timers/promises';
import { IsNull, Not, type SelectQueryBuilder } from 'typeorm';
import { Database, entityReader, likePattern, type Lookup, type PageRange, readTime, sql } from '../../database';
import { DomainError } from '../../errors';
import { TemplateEntity } from '../../images';
import { CONTAINER_NAME } from '../dto/requests';
import { type ContainerReference, parseContainerReference } from '../model/container-id';
import { ContainerEntity, type ContainerRow, ContainerStatus, DockerIdEntity } from '../model/container.entity';
import { type LabelSelector, whereLabels } from '../model/labels';
import { NodeEntity } from '../model/node.entity';
import { SnapshotEntity } from '../model/snapshot.entity';
import { WarmSlotEntity } from '../model/warm-slot.entity';

type Kind = Exclude<ContainerReference['kind'], 'agent'>;

/**
 * Finds a live container by any of its ids with one indexed query. Most requests need this query, so its text is
 * built once and the row is read without TypeORM's entities: building the query and hydrating an entity take longer
 * than the database does.
 */
class ContainerLookup {
  private readonly lookups: Readonly<Record<Kind, Lookup>>;
  private readonly toRow: (values: readonly unknown[]) => ContainerRow;

  constructor(database: Database) {
    const { columns, tableName } = database.manager.dataSource.getMetadata(ContainerEntity);
    const engineIds = database.manager.dataSource.getMetadata(DockerIdEntity).tableName;
    const live = { columns: columns.map(({ databaseName }) => `c.${databaseName}`), where: 'c.deleted_at IS NULL' };
    const byEngineId = (column: string): Lookup =>
      database.lookup({
        ...live,
        from: `${tableName} c INNER JOIN ${engineIds} d ON d.container_id = c.id`,
        key: `d.${column}`,
        orderBy: 'c.created_at DESC',
      });
    this.lookups = {
      database_id: database.lookup({ ...live, from: `${tableName} c`, key: 'c.id' }),
      engine_id: byEngineId('docker_id'),
      engine_short_id: byEngineId('short_id'),
    };
    this.toRow = entityReader(ContainerEntity, columns, (_column, at) => at);
  }

  /** @returns null if the container does not exist or is deleted */
  async find({ kind, id }: { readonly kind: Kind; readonly id: string }): Promise<ContainerRow | null> {
    const values = await this.lookups[kind](id);
    return values && this.toRow(values);
  }
}

/** The columns that a sweep compares with Docker. */
export type SweptRow = Pick<
  ContainerRow,
  | 'id'
  | 'status'
  | 'engineId'
  | 'nodeId'
  | 'otherNodeId'
  | 'formerNodeId'
  | 'volumeName'
  | 'runStartedAt'
  | 'operation'
  | 'operationExpiresAt'
>;

/** Rows per query: a few milliseconds of work. */
const PAGE = 1000;

/**
 * Reads every live row, one page at a time, so that requests are served in between. A row that is live throughout the
 * read is included.
 */
async function* readSweptRows(database: Database): AsyncGenerator<SweptRow[]> {
  for (let after = ''; ;) {
    await nextTurn();
    const page = await database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select(['c.id AS id', 'c.status AS status', 'c.operation AS operation'])
      .addSelect('c.docker_id', 'engineId')
      .addSelect('c.node_id', 'nodeId')
      .addSelect('c.other_node_id', 'otherNodeId')
      .addSelect('c.former_node_id', 'formerNodeId')
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
  }
}

/** The filter and the range of a page of containers. */
export interface ContainerFilter extends PageRange {
  /** All users if absent. */
  readonly userId?: string;
  /** Only these containers. */
  readonly ids?: readonly string[];
  readonly name?: string;
  readonly labels?: readonly LabelSelector[];
  /** A part of a name: see {@link FOUND}; or the beginning of the id. */
  readonly search?: string;
  /** The name or id of a node. */
  readonly node?: string;
}

/** The names that a search looks through: the container's, its image's, its user's and its node's. */
const FOUND = [
  "LOWER(c.name) LIKE :search ESCAPE '!'",
  "LOWER(c.image) LIKE :search ESCAPE '!'",
  "c.userId IN (SELECT u.id FROM users u WHERE LOWER(u.username) LIKE :search ESCAPE '!')",
  "c.nodeId IN (SELECT n.id FROM nodes n WHERE LOWER(n.name) LIKE :search ESCAPE '!')",
  "c.id LIKE :idSearch ESCAPE '!'",
].join(' OR ');

/** Reads one page of the query's containers, newest first. */
export function readContainerPage(
  query: SelectQueryBuilder<ContainerEntity>,
  { userId, ids, name, labels, search, node, ...page }: ContainerFilter,
  database: Database,
): Promise<ContainerRow[]> {
  if (userId !== undefined) query.andWhere('c.userId = :userId', { userId });
  if (ids !== undefined) query.andWhere('c.id IN (:...ids)', { ids });
  if (name !== undefined) query.andWhere('c.name = :name', { name });
  if (search !== undefined) {
    query.andWhere(`(${FOUND})`, {
      search: likePattern(search, 'anywhere'),
      idSearch: likePattern(search, 'at the start'),
    });
  }
  if (node !== undefined) {
    query.andWhere('c.nodeId IN (SELECT n.id FROM nodes n WHERE n.name = :node OR n.id = :node)', { node });
  }
  whereLabels(query, labels);
  return database.newestFirst(query, 'createdAt', page);
}

/** The images of templates, of warm slots, and of containers that are live, or deleted and not yet purged. */
export interface NeededImages {
  /**
   * Image references of containers whose image version is not known yet, because they have not been created in Docker;
   * and of templates.
   */
  readonly references: ReadonlySet<string>;
  /** Docker's ids of the image versions that the other containers were created from. */
  readonly ids: ReadonlySet<string>;
}

/** Far below the parameter limits of SQLite and PostgreSQL. */
const IDS_IN_QUERY = 500;

/** Reads the rows of containers. */
export class ContainerQueries {
  private readonly lookup: ContainerLookup;

  constructor(protected readonly database: Database) {
    this.lookup = new ContainerLookup(database);
  }

  /** @returns null if the container does not exist or is deleted */
  async find(reference: ContainerReference): Promise<ContainerRow | null> {
    if (reference.kind === 'agent') return null;
    return this.lookup.find(reference);
  }

  /**
   * Resolves the id that a client sent to a complete reference. A prefix is completed, first among the containers of
   * `userId`, if given; other users' containers with the same prefix do not make it ambiguous.
   *
   * @param scope.deleted also search containers that are deleted and not yet purged
   * @returns null if the text identifies nothing
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

  /** @returns the id of the user's live container with this name; null if there is none */
  async idOfName({ userId, name }: { userId: string; name: string }): Promise<string | null> {
    if (!CONTAINER_NAME.test(name)) return null;
    const named = await this.live()
      .select(['c.id'])
      .andWhere('c.userId = :userId AND c.name = :name', { userId, name })
      .getOne();
    return named?.id ?? null;
  }

  async findById(id: string): Promise<ContainerRow | null> {
    return this.lookup.find({ kind: 'database_id', id });
  }

  /** One page of a user's containers (of all users if none is given), newest first, after `after`. */
  list(filter: ContainerFilter & { readonly status?: ContainerStatus }): Promise<ContainerRow[]> {
    const query = this.live();
    if (filter.status !== undefined) query.andWhere('c.status = :status', { status: filter.status });
    return readContainerPage(query, filter, this.database);
  }

  /** The names of all nodes by their ids; empty if none of the rows is on a node. */
  async nodeNames(rows: readonly ContainerRow[]): Promise<ReadonlyMap<string, string>> {
    if (rows.every(({ nodeId }) => nodeId === null)) return new Map();
    const nodes = await this.database.manager.find(NodeEntity, { select: { id: true, name: true } });
    return new Map(nodes.map(({ id, name }) => [id, name]));
  }

  /** Whether a creation, a start or an update holds a container, in any process. */
  async isUserWaiting(): Promise<boolean> {
    const waiting = this.live().andWhere("c.operation IN ('create', 'start', 'update')");
    return waiting.getExists();
  }

  /** How many containers count towards the tier's limit. Every list asks: TypeORM's count costs four times as much. */
  async countLive(userId: string): Promise<number> {
    const { rows } = await this.database.run<{ live: number | string }>(sql`
      SELECT COUNT(*) AS live FROM containers WHERE deleted_at IS NULL AND user_id = ${userId}`);
    return Number(rows[0]?.live);
  }

  /** Reads every live row, one page at a time, for the comparison with Docker. */
  sweptRows(): AsyncGenerator<SweptRow[]> {
    return readSweptRows(this.database);
  }

  /** The ids of the files that are being copied for templates, by which their workers in Docker are labelled. */
  async copyIds(): Promise<string[]> {
    const where = { copiedFromId: Not(IsNull()), status: 'making' as const };
    const copies = await this.database.manager.find(SnapshotEntity, { select: { id: true }, where });
    return copies.map(({ id }) => id);
  }

  /**
   * The ids of all warm slots. To be read before {@link sweptRows}, so that a slot that is taken meanwhile is in one of
   * the two.
   */
  async slotIds(): Promise<string[]> {
    const slots = await this.database.manager.find(WarmSlotEntity, { select: { id: true } });
    return slots.map(({ id }) => id);
  }

  /** @returns those ids whose containers are live, or deleted and not yet purged */
  idsWithData(ids: readonly string[]): Promise<ReadonlySet<string>> {
    return this.idsWhere('c.purgedAt IS NULL', ids);
  }

  /** @returns those ids whose containers have a row, deleted or not */
  idsWithRow(ids: readonly string[]): Promise<ReadonlySet<string>> {
    return this.idsWhere('c.id IS NOT NULL', ids);
  }

  /** @returns those ids whose containers were purged */
  idsPurged(ids: readonly string[]): Promise<ReadonlySet<string>> {
    return this.idsWhere('c.purgedAt IS NOT NULL', ids);
  }

  /** @param node only what containers on this node need; null: the single machine; absent: on all nodes */
  async neededImages(node: string | null = null): Promise<NeededImages> {
    const query = this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .select('c.image', 'reference')
      .addSelect('c.image_id', 'id')
      .distinct()
      .where('c.purgedAt IS NULL');
    if (node !== null) query.andWhere(':node IN (c.node_id, c.other_node_id, c.former_node_id)', { node });
    const rows = await query.getRawMany<{ reference: string; id: string | null }>();
    const slots = await this.database.manager.find(WarmSlotEntity, { select: { id: true, imageId: true } });
    const templates = await this.database.manager.find(TemplateEntity, { where: { filesId: IsNull() } });
    const unseen = rows.flatMap(({ reference, id }) => (id === null ? reference : []));
    return {
      references: new Set([...unseen, ...templates.map(({ image }) => image)]),
      ids: new Set([...rows.flatMap(({ id }) => id ?? []), ...slots.map(({ imageId }) => imageId)]),
    };
  }

  /** The containers that operations hold, with their nodes. */
  async held(): Promise<Pick<ContainerRow, 'id' | 'nodeId' | 'otherNodeId'>[]> {
    return this.live().select(['c.id', 'c.nodeId', 'c.otherNodeId']).andWhere('c.operation IS NOT NULL').getMany();
  }

  private async idsWhere(condition: string, ids: readonly string[]): Promise<ReadonlySet<string>> {
    const known = new Set<string>();
    for (let from = 0; from < ids.length; from += IDS_IN_QUERY) {
      const rows = await this.database.manager
        .createQueryBuilder(ContainerEntity, 'c')
        .withDeleted()
        .select('c.id', 'id')
        .where(`c.id IN (:...ids) AND ${condition}`, { ids: ids.slice(from, from + IDS_IN_QUERY) })
        .getRawMany<{ id: string }>();
      for (const { id } of rows) known.add(id);
    }
    return known;
  }

  protected live(): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager.createQueryBuilder(ContainerEntity, 'c').where('c.deletedAt IS NULL');
  }
}
