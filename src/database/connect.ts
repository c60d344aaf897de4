import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DataSource, DataSourceOptions } from 'typeorm';
import { ConfigError } from '../config';
import { isConnectionTimeout } from '../errors';
import { unbounded } from './postgres-sessions';
import { SettingEntity } from './setting.entity';

/** Key of the advisory lock: an arbitrary number, the same in every process ("berth" on a telephone's keys). */
export const MIGRATION_LOCK = 23_784;

/** How long a start goes on trying to connect. */
const START_PATIENCE_MS = 30_000;

/** The setting with the version of Berth that used the database last: it knows all of the database's migrations. */
const SCHEMA_VERSION = 'schema_version';

/**
 * Connects and brings the schema up to date. Several processes may do so at once on PostgreSQL: one migrates, the
 * others wait for it. On SQLite a second process waits for the file.
 *
 * @throws ConfigError if a newer version has migrated the database; the driver's error
 */
export async function connect(options: DataSourceOptions): Promise<DataSource> {
  if (options.type === 'postgres') await migrateAlone(unbounded(options));
  const dataSource = await initialize(options);
  try {
    if (options.type !== 'postgres') await migrate(dataSource);
    return dataSource;
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
}

/**
 * Connects, again if the connection takes too long: on a busy machine PostgreSQL may need longer for its first
 * connections than a request may wait for one.
 *
 * @throws the driver's error
 */
async function initialize(options: DataSourceOptions): Promise<DataSource> {
  const startedAt = performance.now();
  for (;;) {
    try {
      return await new DataSource(options).initialize();
    } catch (error) {
      if (!isConnectionTimeout(error) || performance.now() - startedAt > START_PATIENCE_MS) throw error;
    }
  }
}

/** Migrates under an advisory lock, on a connection pool of its own. */
async function migrateAlone(options: DataSourceOptions): Promise<void> {
  const dataSource = await initialize(options);
  const holder = dataSource.createQueryRunner();
  try {
    // PostgreSQL releases the lock with the connection, so also when this process dies.
    await holder.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    try {
      await migrate(dataSource);
    } finally {
      await holder.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
    }
  } finally {
    await holder.release();
    await dataSource.destroy();
  }
}

async function migrate(dataSource: DataSource): Promise<void> {
  const version = ownVersion();
  await refuseNewerDatabase(dataSource, version);
  await dataSource.runMigrations();
  const settings = dataSource.getRepository(SettingEntity);
  if ((await settings.findOneBy({ key: SCHEMA_VERSION }))?.value === version) return;
  await settings.upsert({ key: SCHEMA_VERSION, value: version }, ['key']);
}

/** @throws ConfigError if the database has migrations that are newer than this version's */
async function refuseNewerDatabase(dataSource: DataSource, version: string): Promise<void> {
  const queryRunner = dataSource.createQueryRunner();
  try {
    if (!(await queryRunner.hasTable('migrations'))) return;
    const newest = Math.max(...dataSource.migrations.map(({ name = '' }) => Number(name.slice(-13))));
    const sql = `SELECT name FROM migrations WHERE timestamp > ${String(newest)} ORDER BY timestamp`;
    const unknown = (await queryRunner.query(sql)) as { name: string }[];
    if (unknown.length === 0) return;
    const needed = (await dataSource.getRepository(SettingEntity).findOneBy({ key: SCHEMA_VERSION }))?.value;
    // A process that dies between its migrations and the record of its version leaves the previous version's.
    const start = needed === undefined || needed === version ? 'the newer version' : `version ${needed} or a later one`;
    throw new ConfigError(
      `a newer version of Berth has migrated the database (${unknown.map(({ name }) => name).join(', ')}); ` +
        `start ${start}, or restore the backup from before the upgrade (docs/stability.md)`,
    );
  } finally {
    await queryRunner.release();
  }
}

/** The version in package.json, which lies above the sources and the build. */
function ownVersion(): string {
  let folder = __dirname;
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version;
}
