import { createHash, randomUUID } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';

/** A database of the kind of this test run (`TEST_DATABASE`). */
export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

const isPostgres = (): boolean => process.env['TEST_DATABASE'] === 'postgres';

/** Creates a database with the schema of this version and no rows, for one test file. */
export async function openTestDatabase(): Promise<TestDatabase> {
  const database = isPostgres() ? await copyPostgres() : await openSqlite();
  if (!isPostgres()) await copySqlite(database);
  return database;
}

/** Creates a database without a schema, for tests of the migrations. */
export async function openEmptyTestDatabase(): Promise<TestDatabase> {
  return isPostgres() ? openPostgres() : openSqlite();
}

/** Removed with all else that a run makes; a run of jest alone leaves it to the next one. */
const TEMPLATE_FOLDER = '.berth/test';

/** Names the template: another schema has another one. */
async function schemaKey(): Promise<string> {
  const migrations = (await readdir('src/migrations')).sort().map((file) => join('src/migrations', file));
  const hash = createHash('sha256');
  for (const file of [...migrations, 'src/database/column-types.ts', 'ormconfig.ts']) hash.update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}

async function migrate({ url }: TestDatabase): Promise<void> {
  // Loaded on demand: most test files find the template, and some load nothing of `src`.
  const { dataSourceOptions } = await import('../../../ormconfig.js');
  const { connect } = await import('../../../src/database/index.js');
  await (await connect(dataSourceOptions(url))).destroy();
}

const pathOf = ({ url }: TestDatabase): string => url.slice('sqlite:'.length);

/** In memory, if there is room: SQLite waits for the disk when a server starts and when it ends. */
async function temporaryFolder(): Promise<string> {
  const { bavail, bsize } = await statfs('/dev/shm').catch(() => ({ bavail: 0, bsize: 0 }));
  return bavail * bsize > 2 ** 30 ? '/dev/shm' : tmpdir();
}

async function openSqlite(): Promise<TestDatabase> {
  const folder = await mkdtemp(join(await temporaryFolder(), 'berth-test-'));
  return { url: `sqlite:${join(folder, 'berth.sqlite')}`, drop: () => rm(folder, { recursive: true, force: true }) };
}

async function copySqlite(database: TestDatabase): Promise<void> {
  const template = join(TEMPLATE_FOLDER, `schema-${await schemaKey()}.sqlite`);
  try {
    await copyFile(template, pathOf(database));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    await migrate(database);
    await mkdir(TEMPLATE_FOLDER, { recursive: true, mode: 0o700 });
    // Several workers may do this at once: the template is whole whenever it is there.
    const own = `${template}.${randomUUID()}`;
    await copyFile(pathOf(database), own);
    await rename(own, template);
  }
}

async function openPostgres(template?: string): Promise<TestDatabase> {
  const server = process.env['TEST_POSTGRES_URL'];
  if (server === undefined) throw new Error('TEST_POSTGRES_URL is not set; `npm test` sets it');
  const name = `berth_test_${randomUUID().replaceAll('-', '')}`;
  await onServer(`CREATE DATABASE ${name} ${template === undefined ? '' : `TEMPLATE ${template}`}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** PostgreSQL's error code `invalid_catalog_name`: there is no such database. */
const NO_DATABASE = '3D000';
/** An arbitrary key of an advisory lock. */
const TEMPLATE_LOCK = 23_785;

async function copyPostgres(): Promise<TestDatabase> {
  const template = `berth_schema_${await schemaKey()}`;
  try {
    return await openPostgres(template);
  } catch (error) {
    if (codeOf(error) !== NO_DATABASE) throw error;
    await makePostgresTemplate(template);
    return openPostgres(template);
  }
}

/** One of several workers migrates, the others wait for it. The template is whole whenever it is there. */
async function makePostgresTemplate(template: string): Promise<void> {
  await inSession(async (client) => {
    await client.query('SELECT pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [template]);
    if (rowCount !== 0) return;
    const database = await openPostgres();
    await migrate(database);
    const name = new URL(database.url).pathname.slice(1);
    // PostgreSQL copies no database that has connections, and waits 5 s at most for those that are being closed.
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await client.query(`ALTER DATABASE ${name} RENAME TO ${template}`);
  });
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;

async function onServer(statement: string): Promise<void> {
  await inSession((client) => client.query(statement));
}

async function inSession(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: process.env['TEST_POSTGRES_URL'] });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

export function testRedisUrl(): string {
  const url = process.env['TEST_REDIS_URL'];
  if (url === undefined) throw new Error('TEST_REDIS_URL is not set; `npm test` sets it');
  return url;
}
