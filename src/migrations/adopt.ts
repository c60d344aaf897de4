import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';
import { MIGRATION_LOCK, unbounded } from '../database';
import { createSchema, InitialSchema1764800000000 } from './1764800000000-initial-schema';
import { appliedMigrations, EARLIER_MIGRATIONS, MigrationError } from './earlier-migrations';

const INITIAL = InitialSchema1764800000000.name;

/**
 * Carries a database of version 0.1.1 over: replaces the rows of its migrations by that of the initial schema, in one
 * transaction. Nothing else changes.
 *
 * @returns what was done, in a sentence
 * @throws MigrationError if the database is not one of 0.1.1, or its schema differs from that version's
 */
export async function adoptMigrations(
  options: DataSourceOptions,
  { isDryRun }: { isDryRun: boolean },
): Promise<string> {
  const dataSource = await new DataSource(unbounded(options)).initialize();
  const queryRunner = dataSource.createQueryRunner();
  try {
    await queryRunner.startTransaction();
    if (options.type === 'postgres') await queryRunner.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    const isDone = await isAdopted(queryRunner);
    if (!isDone) {
      await expectInitialSchema(queryRunner);
      await queryRunner.query('DELETE FROM migrations');
      await queryRunner.query(`INSERT INTO migrations (timestamp, name) VALUES (${INITIAL.slice(-13)}, '${INITIAL}')`);
    }
    await (isDryRun ? queryRunner.rollbackTransaction() : queryRunner.commitTransaction());
    if (isDone) return 'the database is carried over already; nothing was changed';
    return isDryRun ? 'the database can be carried over; nothing was changed' : 'the database is carried over';
  } finally {
    if (queryRunner.isTransactionActive) await queryRunner.rollbackTransaction();
    await queryRunner.release();
    await dataSource.destroy();
  }
}

/** Whether the database has the initial schema's row. @throws MigrationError if it has not all rows of 0.1.1 */
async function isAdopted(queryRunner: QueryRunner): Promise<boolean> {
  if (!(await queryRunner.hasTable('migrations'))) {
    throw new MigrationError('the database is empty; start Berth, which creates the schema');
  }
  const applied = await appliedMigrations(queryRunner);
  if (applied.includes(INITIAL)) return true;
  const unknown = applied.filter((name) => !EARLIER_MIGRATIONS.includes(name));
  if (unknown.length > 0) {
    throw new MigrationError(`the database has migrations that version 0.1.1 does not know: ${unknown.join(', ')}`);
  }
  const missing = EARLIER_MIGRATIONS.filter((name) => !applied.includes(name));
  if (missing.length > 0) {
    throw new MigrationError(
      `the database lacks ${String(missing.length)} migrations of version 0.1.1, the first is ${String(missing[0])}; ` +
        'start version 0.1.1 on it once, then run this command again',
    );
  }
  return false;
}

/** @throws MigrationError with each difference, if the tables are not those that {@link createSchema} creates */
async function expectInitialSchema(queryRunner: QueryRunner): Promise<void> {
  const actual = await describeSchema(queryRunner);
  const expected = await describeInitialSchema(queryRunner);
  const differences = [
    ...expected.filter((line) => !actual.includes(line)).map((line) => `missing: ${line}`),
    ...actual.filter((line) => !expected.includes(line)).map((line) => `unexpected: ${line}`),
  ];
  if (differences.length === 0) return;
  throw new MigrationError(
    `the schema is not that of version 0.1.1; change it by hand, then run this command again\n${differences.join('\n')}`,
  );
}

/** Describes the initial schema as this database writes it. Creates it as temporary tables, or in memory. */
async function describeInitialSchema(queryRunner: QueryRunner): Promise<string[]> {
  if (queryRunner.dataSource.options.type === 'postgres') {
    await queryRunner.query('SAVEPOINT before_initial_schema');
    await queryRunner.query('SET LOCAL search_path TO pg_temp');
    await createSchema(queryRunner);
    const lines = await describeSchema(queryRunner);
    await queryRunner.query('ROLLBACK TO SAVEPOINT before_initial_schema');
    return lines;
  }
  const dataSource = await new DataSource({ type: 'better-sqlite3', database: ':memory:' }).initialize();
  try {
    const other = dataSource.createQueryRunner();
    await createSchema(other);
    return await describeSchema(other);
  } finally {
    await dataSource.destroy();
  }
}

/**
 * Describes all tables except that of the migrations: one line per column (type, nullability, default), constraint and
 * index, sorted. The order of the columns is left out: it depends on the history of a database and has no effect.
 */
export async function describeSchema(queryRunner: QueryRunner): Promise<string[]> {
  const isPostgres = queryRunner.dataSource.options.type === 'postgres';
  const rows = (await queryRunner.query(isPostgres ? POSTGRES_SCHEMA : SQLITE_SCHEMA)) as { line: string }[];
  return rows.map(({ line }) => line).sort();
}

/** PostgreSQL's definition of an index names the schema of its table, which differs for temporary tables. */
const POSTGRES_SCHEMA = `
  WITH tables AS (
    SELECT oid, relname FROM pg_class
    WHERE relkind IN ('r', 'p') AND relname <> 'migrations'
      AND relnamespace = CASE current_setting('search_path') WHEN 'pg_temp' THEN pg_my_temp_schema()
                         ELSE current_schema()::regnamespace END)
  SELECT concat_ws(' ', relname || '.' || attname, format_type(atttypid, atttypmod),
    CASE WHEN attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(adbin, adrelid)) AS line
  FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  UNION ALL SELECT concat_ws(' ', relname, conname, pg_get_constraintdef(c.oid))
  FROM tables JOIN pg_constraint c ON conrelid = tables.oid WHERE contype <> 'n'
  UNION ALL SELECT regexp_replace(pg_get_indexdef(indexrelid), ' ON [^ ]+ USING ', ' ON ' || relname || ' USING ')
  FROM tables JOIN pg_index ON indrelid = tables.oid`;

const SQLITE_SCHEMA = `
  WITH tables AS (
    SELECT name, sql FROM sqlite_master
    WHERE type = 'table' AND name <> 'migrations' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\')
  SELECT t.name || '.' || c.name || ' ' || c.type || CASE WHEN c."notnull" THEN ' NOT NULL' ELSE '' END ||
    COALESCE(' DEFAULT ' || c.dflt_value, '') || CASE c.pk WHEN 0 THEN '' ELSE ' PRIMARY KEY ' || c.pk END AS line
  FROM tables t JOIN pragma_table_info(t.name) c
  UNION ALL SELECT t.name || ' UNIQUE ' || i.name || ' ' || (SELECT group_concat(name) FROM pragma_index_info(i.name))
  FROM tables t JOIN pragma_index_list(t.name) i WHERE i.origin = 'u'
  UNION ALL SELECT t.name || ' FOREIGN KEY ' || f."from" || ' ' || f."table" || ' ' || COALESCE(f."to", '')
  FROM tables t JOIN pragma_foreign_key_list(t.name) f
  UNION ALL SELECT t.name || ' CHECK ' || t.sql FROM tables t WHERE t.sql LIKE '%CHECK (%'
  UNION ALL SELECT trim(m.sql) FROM sqlite_master m WHERE m.type IN ('index', 'trigger', 'view') AND m.sql IS NOT NULL`;
