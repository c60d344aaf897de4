import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata';
import { ApplyValueTransformers } from 'typeorm/util/ApplyValueTransformers';
import { loadEnvFile } from '../config';

// Decorators run when an entity is imported, before any DataSource exists, so the column type must be known by then.
loadEnvFile();

const onPostgres = /^postgres(ql)?:/.test(process.env['DATABASE_URL'] ?? '');

/**
 * The type of every timestamp column, in entities and migrations. TypeORM's portable `Date` has no time zone on
 * PostgreSQL.
 */
export const TIMESTAMP = onPostgres ? 'timestamptz' : 'datetime';

/** Converts a value as the driver reads it to the value of an entity's property. */
type ReadColumn = (value: unknown) => unknown;

/** Reads a timestamp: text in UTC on SQLite, a Date from PostgreSQL's driver. @returns null for NULL */
export function readTime(value: unknown): Date | null {
  if (typeof value === 'string') return new Date(`${value.replace(' ', 'T')}Z`);
  return (value ?? null) as Date | null;
}

/** The conversion of a column in rows that were not read through TypeORM; null if the value needs none. */
function readerOf({ type, transformer }: Pick<ColumnMetadata, 'type' | 'transformer'>): ReadColumn | null {
  if (transformer) return (value) => ApplyValueTransformers.transformFrom(transformer, value) as unknown;
  if (type === 'timestamptz' || type === 'datetime') return readTime;
  if (type === 'simple-json') return (value) => JSON.parse(value as string) as unknown;
  if (type === 'boolean') return (value) => value === true || value === 1;
  return null;
}

/**
 * Makes entities of rows of one table that were not read through TypeORM, whose hydration takes longer than the query.
 *
 * @param keyOf where a row has the value of a column; `at` is the column's place among the table's
 */
export function entityReader<T>(
  Entity: new () => T,
  columns: readonly ColumnMetadata[],
  keyOf: (column: ColumnMetadata, at: number) => string | number,
): (row: object) => T {
  const members = columns.map((column, at) => {
    return { name: column.propertyName, read: readerOf(column), from: keyOf(column, at) };
  });
  return (row) => {
    // An object with all members from the start: adding them by name turns it into a dictionary, five times as slow.
    const entity = new Entity();
    const [written, given] = [entity, row] as unknown as [Record<string, unknown>, Record<string | number, unknown>];
    for (const { name, read, from } of members) written[name] = read ? read(given[from]) : given[from];
    return entity;
  };
}
