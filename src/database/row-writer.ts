import type { EntityTarget, ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata';
import type { Database } from './database';

/** Adds a value to the statement's parameters. @returns its placeholder in the driver's syntax */
export type Parameter = (value: unknown) => string;

/**
 * Writes rows of an entity for nearly every request, by statements with constant texts and the values that TypeORM
 * would write. TypeORM's builders make each text anew, which takes several times as long as SQLite itself. On SQLite
 * they also write numbers into the text, so that no prepared statement is found for it.
 */
export class RowWriter<Entity extends ObjectLiteral> {
  private insertion: string | undefined;
  private readonly updates = new Map<string, string>();

  constructor(
    private readonly database: Database,
    private readonly entity: EntityTarget<Entity>,
  ) {}

  /** The start of an INSERT statement, up to and including the columns. */
  get insertInto(): string {
    const { tableName, columns } = this.metadata;
    this.insertion ??= `INSERT INTO ${tableName} (${columns.map(({ databaseName }) => databaseName).join(', ')})`;
    return this.insertion;
  }

  /** @returns the index of the property in the order of the columns */
  positionOf(name: keyof Entity & string): number {
    return this.metadata.columns.findIndex(({ propertyName }) => propertyName === name);
  }

  /** @param row with all columns @returns its values in the order of the columns */
  valuesOf(row: Entity): unknown[] {
    return this.metadata.columns.map((column) => this.valueOf(column, column.getEntityValue(row)));
  }

  /**
   * Inserts a row if a condition holds.
   *
   * @param row with all columns: the database's own defaults are not applied
   * @param where builds the SQL condition
   * @returns false if the condition does not hold and nothing was inserted
   * @throws the driver's error
   */
  async insert(row: Entity, where: (parameter: Parameter) => string = () => '1 = 1'): Promise<boolean> {
    const values = this.valuesOf(row);
    const places = values.map((_value, index) => this.place(index));
    const condition = where((value) => this.place(values.push(value) - 1));
    const sql = `${this.insertInto} SELECT ${places.join(', ')} WHERE ${condition} RETURNING 1`;
    return (await this.database.manager.query<unknown[]>(sql, values)).length === 1;
  }

  /**
   * @param set properties that are undefined stay as they are
   * @param where builds the SQL condition
   * @returns the number of changed rows
   * @throws the driver's error
   */
  async update(set: Partial<Entity>, where: (parameter: Parameter) => string): Promise<number> {
    const names = Object.keys(set).filter((name) => set[name] !== undefined);
    const columns = names.map((name) => this.columnOf(name));
    const values = columns.map((column, index) => this.valueOf(column, set[names[index] ?? '']));
    const condition = where((value) => this.place(values.push(value) - 1));
    return this.changed(`${this.updateOf(names, columns)} WHERE ${condition}`, values);
  }

  /** @param where builds the SQL condition @returns the number of deleted rows @throws the driver's error */
  async delete(where: (parameter: Parameter) => string): Promise<number> {
    const values: unknown[] = [];
    const condition = where((value) => this.place(values.push(value) - 1));
    return this.changed(`DELETE FROM ${this.metadata.tableName} WHERE ${condition}`, values);
  }

  private async changed(sql: string, values: unknown[]): Promise<number> {
    const changed = await this.database.manager.query<unknown[]>(`${sql} RETURNING 1`, values);
    // TypeORM's PostgreSQL driver returns the rows and their count.
    return this.database.isSqlite ? changed.length : Number(changed[1]);
  }

  private updateOf(names: readonly string[], columns: readonly ColumnMetadata[]): string {
    const key = names.join();
    const known = this.updates.get(key);
    if (known !== undefined) return known;
    const assignments = columns.map(({ databaseName }, index) => `${databaseName} = ${this.place(index)}`);
    const made = `UPDATE ${this.metadata.tableName} SET ${assignments.join(', ')}`;
    this.updates.set(key, made);
    return made;
  }

  private columnOf(name: string): ColumnMetadata {
    const column = this.metadata.findColumnWithPropertyName(name);
    if (!column) throw new Error(`${this.metadata.tableName} has no column for ${name}`);
    return column;
  }

  private valueOf(column: ColumnMetadata, value: unknown): unknown {
    return this.driver.preparePersistentValue(value, column);
  }

  private place(index: number): string {
    return this.driver.createParameter('value', index);
  }

  private get metadata() {
    return this.database.manager.dataSource.getMetadata(this.entity);
  }

  private get driver() {
    return this.database.manager.dataSource.driver;
  }
}
