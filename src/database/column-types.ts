import { loadEnvFile } from '../config';

// Decorators run when an entity is imported, before any DataSource exists, so the column type must be known by then.
loadEnvFile();

const onPostgres = /^postgres(ql)?:/.test(process.env['DATABASE_URL'] ?? '');

/**
 * The type of every timestamp column, in entities and migrations. TypeORM's portable `Date` has no time zone on PostgreSQL.
 */
export const TIMESTAMP = onPostgres ? 'timestamptz' : 'datetime';
