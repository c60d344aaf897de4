import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata';
import { DateUtils } from 'typeorm/util/DateUtils';

/** A value that becomes a parameter. Arrays are for PostgreSQL alone, such as `ANY(${ids}::varchar[])`. */
export type SqlValue =
  | string
  | number
  | boolean
  | Date
  | Uint8Array
  | null
  | readonly string[]
  | readonly (number | null)[];

/** Values of an entity's properties, or SQL that computes them. */
type Row<Entity> = { readonly [Name in keyof Entity]: Entity[Name] | Sql };

/** Values of some of an entity's properties. Undefined ones are as good as absent. */
export type SqlPatch<Entity> = { readonly [Name in keyof Entity]?: Entity[Name] | Sql | undefined };

/** A statement while it is put together, in the syntax of its database. */
class Statement {
  text = '';
  readonly values: unknown[] = [];
  readonly isSqlite: boolean;

  constructor(private readonly dataSource: DataSource) {
    this.isSqlite = dataSource.options.type === 'better-sqlite3';
  }

  /** Appends a placeholder for a value that the driver can bind. */
  bind(value: unknown): void {
    this.values.push(value);
    this.text += this.isSqlite ? '?' : `$${String(this.values.length)}`;
  }

  /** Appends a fragment, or a placeholder. @throws TypeError if the value can be neither */
  add(value: Sql | SqlValue): void {
    if (value instanceof Sql) value.write(this);
    else if (value instanceof Date) this.bind(this.isSqlite ? DateUtils.mixedDateToUtcDatetimeString(value) : value);
    else if (isBindable(value)) this.bind(value);
    else throw new TypeError(`SQL has no parameters of this type: ${typeof value}`);
  }

  /** Appends a property of an entity as TypeORM would write it. */
  addProperty(column: ColumnMetadata, value: unknown): void {
    if (value === undefined) throw new TypeError(`${column.propertyName} has no value`);
    if (value instanceof Sql) value.write(this);
    else this.bind(this.dataSource.driver.preparePersistentValue(value, column));
  }

  /** Appends items, separated by a comma. */
  addAll<T>(items: readonly T[], add: (item: T) => void): void {
    items.forEach((item, at) => {
      if (at > 0) this.text += ', ';
      add(item);
    });
  }

  metadataOf(entity: EntityTarget<ObjectLiteral>) {
    return this.dataSource.getMetadata(entity);
  }
}

/** A statement or a part of one, independent of the database that it is run on. Made by {@link sql}. */
export class Sql {
  constructor(readonly write: (statement: Statement) => void) {}

  /** The text and the parameters for the driver of this database. */
  on(dataSource: DataSource): { readonly text: string; readonly values: unknown[] } {
    const statement = new Statement(dataSource);
    this.write(statement);
    return statement;
  }
}

/**
 * A template of SQL, run by `Database.run()`. Values become parameters, and nested `sql` becomes a part of the text:
 *
 * ```ts
 * const isLive = sql`deleted_at IS NULL`;
 * await database.run(sql`UPDATE containers SET ${sql.set(ContainerEntity, patch)} WHERE id = ${id} AND ${isLive}`);
 * ```
 *
 * Dates and booleans are written as the entities' columns are. A value of another type, such as an object or undefined,
 * is refused with a TypeError when the statement is run.
 */
export function sql(texts: TemplateStringsArray, ...values: (Sql | SqlValue)[]): Sql {
  return new Sql((statement) => {
    statement.text += texts[0] ?? '';
    values.forEach((value, at) => {
      statement.add(value);
      statement.text += texts[at + 1] ?? '';
    });
  });
}

/** Text that is constant in the code. Never pass anything that a user sends: it is not escaped. */
sql.raw = (text: string): Sql => new Sql((statement) => void (statement.text += text));

/** A part of the text that differs between the databases, such as `FOR UPDATE`; nothing where none is given. */
sql.by = ({ postgres, sqlite }: { readonly postgres?: Sql; readonly sqlite?: Sql }): Sql =>
  new Sql((statement) => (statement.isSqlite ? sqlite : postgres)?.write(statement));

/** Parameters separated by commas, for `IN (…)` or `VALUES (…)`. @throws Error for an empty list, which SQL lacks */
sql.list = (values: readonly (Sql | SqlValue)[]): Sql => {
  if (values.length === 0) throw new Error('an empty list is not SQL');
  return new Sql((statement) => statement.addAll(values, (value) => statement.add(value)));
};

/** Parts with a text between them, such as `' AND '`. @throws Error for an empty list */
sql.join = (parts: readonly Sql[], separator: ' AND ' | ' OR ' | ' '): Sql => {
  if (parts.length === 0) throw new Error('an empty list is not SQL');
  return new Sql((statement) => {
    parts.forEach((part, at) => {
      if (at > 0) statement.text += separator;
      part.write(statement);
    });
  });
};

/** The assignments of an UPDATE, with the values that TypeORM would write. Undefined properties stay as they are. */
sql.set = <Entity extends ObjectLiteral>(entity: EntityTarget<Entity>, patch: SqlPatch<Entity>): Sql =>
  new Sql((statement) => {
    const metadata = statement.metadataOf(entity);
    const names = Object.keys(patch).filter((name) => patch[name] !== undefined);
    statement.addAll(names, (name) => {
      const column = metadata.findColumnWithPropertyName(name);
      if (!column) throw new Error(`${metadata.tableName} has no column for ${name}`);
      statement.text += `"${column.databaseName}" = `;
      statement.addProperty(column, patch[name]);
    });
  });

/** All columns of an entity's table, in the order of {@link sql.values}. */
sql.columns = (entity: EntityTarget<ObjectLiteral>): Sql =>
  new Sql((statement) => {
    statement.addAll(statement.metadataOf(entity).columns, ({ databaseName }) => {
      statement.text += `"${databaseName}"`;
    });
  });

/** The values of a row with all columns: the database's own defaults are not applied. */
sql.values = <Entity extends ObjectLiteral>(entity: EntityTarget<Entity>, row: Row<Entity>): Sql =>
  new Sql((statement) => {
    statement.addAll(statement.metadataOf(entity).columns, (column) => {
      statement.addProperty(column, row[column.propertyName]);
    });
  });

/** A whole INSERT of a row with all columns, to which `ON CONFLICT DO NOTHING` can be appended. */
sql.insert = <Entity extends ObjectLiteral>(entity: EntityTarget<Entity>, row: Row<Entity>): Sql =>
  new Sql((statement) => {
    statement.text += `INSERT INTO ${statement.metadataOf(entity).tableName} (`;
    sql.columns(entity).write(statement);
    statement.text += ') VALUES (';
    sql.values(entity, row).write(statement);
    statement.text += ')';
  });

function isBindable(value: unknown): boolean {
  return (
    value === null ||
    ['string', 'number', 'boolean'].includes(typeof value) ||
    Array.isArray(value) ||
    value instanceof Uint8Array
  );
}
