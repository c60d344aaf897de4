import type { EntityTarget, ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata';
import type { Database } from './database';

/** Adds a parameter to the statement, in the driver's own form. @returns its place */
export type Parameter = (value: unknown) => string;

/**
 * Writes rows of an entity for what nearly every request does: by statements whose texts never change, with the values
 * that TypeORM would write. Its builders make each text anew, which takes several times as long as SQLite itself, and
 * on SQLite they write numbers into it, so that no such statement is found prepared.
 */
export class RowWriter<Entity extends ObjectLiteral> {
  private insertion: string | undefined;
  private readonly updates = new Map<string, string>();

  constructor(
    private readonly database: Database,
    private readonly entity: EntityTarget<Entity>,
  ) {}

  /** What an insertion of a row begins with, up to the columns. */
  get insertInto(): string {
    const { tableName, columns } = this.metadata;
    this.insertion ??= `INSERT INTO ${tableName} (${columns.map(({ databaseName }) => databaseName).join(', ')})`;
    return this.insertion;
  }

  /** @returns where it is in the order of the columns */
  positionOf(name: keyof Entity & string): number {
    return this.metadata.columns.findIndex(({ propertyName }) => propertyName === name);
  }

  /** @param row whole @returns its values in the order of the columns */
  valuesOf(row: Entity): unknown[] {
    return this.metadata.columns.map((column) => this.valueOf(column, column.getEntityValue(row)));
  }

  /**
   * @param row whole: the database's own defaults are not asked for
   * @param where an SQL condition
   * @returns whether it holds; if not, nothing is inserted. @throws what the driver throws
   */
  async insert(row: Entity, where: (parameter: Parameter) => string = () => '1 = 1'): Promise<boolean> {
    const values = this.valuesOf(row);
    const places = values.map((_value, index) => this.place(index));
    const condition = where((value) => this.place(values.push(value) - 1));
    const sql = `${this.insertInto} SELECT ${places.join(', ')} WHERE ${condition} RETURNING 1`;
    return (await this.database.manager.query<unknown[]>(sql, values)).length === 1;
  }

  /**
   * @param set what is undefined is left as it is
   * @param where an SQL condition @returns how many rows were changed. @throws what the driver throws
   */
  async update(set: Partial<Entity>, where: (parameter: Parameter) => string): Promise<number> {
    const names = Object.keys(set).filter((name) => set[name] !== undefined);
    const columns = names.map((name) => this.columnOf(name));
    const values = columns.map((column, index) => this.valueOf(column, set[names[index] ?? '']));
    const condition = where((value) => this.place(values.push(value) - 1));
    return this.changed(`${this.updateOf(names, columns)} WHERE ${condition}`, values);
  }

  /** @param where an SQL condition @returns how many rows were deleted. @throws what the driver throws */
  async delete(where: (parameter: Parameter) => string): Promise<number> {
    const values: unknown[] = [];
    const condition = where((value) => this.place(values.push(value) - 1));
    return this.changed(`DELETE FROM ${this.metadata.tableName} WHERE ${condition}`, values);
  }

  private async changed(sql: string, values: unknown[]): Promise<number> {
    const changed = await this.database.manager.query<unknown[]>(`${sql} RETURNING 1`, values);
    // PostgreSQL's driver answers the rows and their number.
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
