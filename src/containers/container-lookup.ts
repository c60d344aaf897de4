import type { EntityMetadata } from 'typeorm';
import { Database } from '../database';
import type { ContainerReference } from './container-reference';
import { ContainerEntity, type ContainerRow } from './container.entity';
import { DockerIdEntity } from './docker-id.entity';

type Kind = Exclude<ContainerReference['kind'], 'agent'>;

interface Prepared {
  readonly columns: EntityMetadata['columns'];
  readonly sql: Readonly<Record<Kind, string>>;
}

/**
 * Finds a live container by any of its ids with one indexed query. Most requests make it, so its text is written once and
 * the row is read without TypeORM's entities: building the query and hydrating one take longer than the database does.
 */
export class ContainerLookup {
  private ready: Prepared | undefined;

  constructor(private readonly database: Database) {}

  /** @returns null if there is none, or it is deleted */
  async find({ kind, id }: { readonly kind: Kind; readonly id: string }): Promise<ContainerRow | null> {
    const { sql, columns } = this.prepared();
    const [found] = await this.database.manager.query<Record<string, unknown>[]>(sql[kind], [id]);
    if (!found) return null;
    const { driver } = this.database.manager.dataSource;
    const row = columns.map((column): [string, unknown] => {
      return [column.propertyName, driver.prepareHydratedValue(found[column.databaseName], column)];
    });
    return Object.fromEntries(row) as unknown as ContainerRow;
  }

  private prepared(): Prepared {
    if (this.ready) return this.ready;
    const { dataSource } = this.database.manager;
    const { columns, tableName } = dataSource.getMetadata(ContainerEntity);
    const dockerIds = dataSource.getMetadata(DockerIdEntity).tableName;
    const select = columns.map(({ databaseName }) => `c.${databaseName}`).join(', ');
    const parameter = dataSource.driver.createParameter('id', 0);
    const from = `SELECT ${select} FROM ${tableName} c`;
    const byDockerId = (column: string): string =>
      `${from} INNER JOIN ${dockerIds} d ON d.container_id = c.id ` +
      `WHERE d.${column} = ${parameter} AND c.deleted_at IS NULL ORDER BY c.created_at DESC LIMIT 1`;
    this.ready = {
      columns,
      sql: {
        database_id: `${from} WHERE c.id = ${parameter} AND c.deleted_at IS NULL`,
        docker_id: byDockerId('docker_id'),
        docker_short_id: byDockerId('short_id'),
      },
    };
    return this.ready;
  }
}
