import { type Database, type Lookup, readerOf } from '../database';
import type { ContainerReference } from './container-reference';
import { ContainerEntity, type ContainerRow } from './container.entity';
import { DockerIdEntity } from './docker-id.entity';

type Kind = Exclude<ContainerReference['kind'], 'agent'>;

/**
 * Finds a live container by any of its ids with one indexed query. Most requests make it, so its text is written once and
 * the row is read without TypeORM's entities: building the query and hydrating one take longer than the database does.
 */
export class ContainerLookup {
  private readonly lookups: Readonly<Record<Kind, Lookup>>;
  private readonly toRow: (values: readonly unknown[]) => ContainerRow;

  constructor(database: Database) {
    const { columns, tableName } = database.manager.dataSource.getMetadata(ContainerEntity);
    const dockerIds = database.manager.dataSource.getMetadata(DockerIdEntity).tableName;
    const live = { columns: columns.map(({ databaseName }) => `c.${databaseName}`), where: 'c.deleted_at IS NULL' };
    const byDockerId = (column: string): Lookup =>
      database.lookup({
        ...live,
        from: `${tableName} c INNER JOIN ${dockerIds} d ON d.container_id = c.id`,
        key: `d.${column}`,
        orderBy: 'c.created_at DESC',
      });
    this.lookups = {
      database_id: database.lookup({ ...live, from: `${tableName} c`, key: 'c.id' }),
      docker_id: byDockerId('docker_id'),
      docker_short_id: byDockerId('short_id'),
    };
    const properties = columns.map((column) => ({ name: column.propertyName, read: readerOf(column) }));
    this.toRow = (values) => {
      // An object whose members are there from the start: one that grows by name becomes a dictionary, five times as slow.
      const row = new ContainerEntity();
      const members = row as unknown as Record<string, unknown>;
      properties.forEach(({ name, read }, at) => (members[name] = read ? read(values[at]) : values[at]));
      return row;
    };
  }

  /** @returns null if there is none, or it is deleted */
  async find({ kind, id }: { readonly kind: Kind; readonly id: string }): Promise<ContainerRow | null> {
    const values = await this.lookups[kind](id);
    return values && this.toRow(values);
  }
}
