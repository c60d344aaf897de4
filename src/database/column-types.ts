import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata';
import { loadEnvFile } from '../config';

// Decorators run when an entity is imported, before any DataSource exists, so the column type must be known by then.
loadEnvFile();

const onPostgres = /^postgres(ql)?:/.test(process.env['DATABASE_URL'] ?? '');

/**
 * The type of every timestamp column, in entities and migrations. TypeORM's portable `Date` has no time zone on
 * PostgreSQL.
 */
export const TIMESTAMP = onPostgres ? 'timestamptz' : 'datetime';

/** Makes of what a driver reads what an entity holds. */
type ReadColumn = (value: unknown) => unknown;

/** @returns the time that SQLite keeps as text in UTC, or PostgreSQL's driver gives as it is */
export function readTime(value: unknown): Date | null {
  if (typeof value === 'string') return new Date(`${value.replace(' ', 'T')}Z`);
  return (value ?? null) as Date | null;
}

/** The reading of a column of these entities in rows that do not come through TypeORM; null: as it is. */
export function readerOf({ type }: Pick<ColumnMetadata, 'type'>): ReadColumn | null {
  if (type === 'timestamptz' || type === 'datetime') return readTime;
  if (type === 'simple-json') return (value) => JSON.parse(value as string) as unknown;
  if (type === 'boolean') return (value) => value === true || value === 1;
  return null;
}
