import { QueryFailedError } from 'typeorm';

/** PostgreSQL's and SQLite's words for "a unique index refused this row". */
const CODES: readonly unknown[] = ['23505', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY'];

/** Whether a unique index refused the write. */
export function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof QueryFailedError)) return false;
  const { code } = error.driverError as { code?: unknown };
  return CODES.includes(code);
}
