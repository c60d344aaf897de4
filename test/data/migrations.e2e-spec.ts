import BetterSqlite3 from 'better-sqlite3';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { connect } from '../../src/database';
import { adoptMigrations, describeSchema } from '../../src/migrations/adopt';
import { EARLIER_MIGRATIONS } from '../../src/migrations/earlier-migrations';
import { openEmptyTestDatabase, TestDatabase } from '../support/databases/test-database';

const isPostgres = process.env['TEST_DATABASE'] === 'postgres';
const INITIAL = 'InitialSchema1764800000000';

let database: TestDatabase;

beforeEach(async () => {
  database = await openEmptyTestDatabase();
});

afterEach(() => database.drop());

describe('a database of version 0.1.1', () => {
  beforeEach(async () => {
    const kind = isPostgres ? 'postgres' : 'sqlite';
    await run(await readFile(`test/support/databases/version-0.1.1-${kind}.sql`, 'utf8'));
  });

  it('must have the schema that this version creates, and the same first rows, once it is carried over', async () => {
    const fresh = await openEmptyTestDatabase();
    await (await connect(dataSourceOptions(fresh.url))).destroy();
    const columns = (schema: string[]) => schema.filter((line) => /^containers\.\w+ /.test(line));
    const described = async (url: string) =>
      inDatabase(url, async (dataSource) => ({
        schema: await describeSchema(dataSource.createQueryRunner()),
        sums: await dataSource.query<unknown[]>('SELECT node, is_open FROM reserved_capacity'),
        lock: await dataSource.query<unknown[]>('SELECT id FROM placement'),
      }));
    await adopt();
    await (await connect(dataSourceOptions(database.url))).destroy();
    const earlier = await described(database.url);
    expect(await described(fresh.url)).toEqual(earlier);
    expect(columns(earlier.schema)).toHaveLength(70);
    await fresh.drop();
  });

  it('must be refused at a start, with the command that carries it over', async () => {
    const before = await contents();
    await expect(connect(dataSourceOptions(database.url))).rejects.toMatchObject({
      name: 'MigrationError',
      message: expect.stringContaining('`npm run migration:adopt`'),
    });
    expect(await contents()).toEqual(before);
  });

  it('must be checked by a dry run, which changes nothing', async () => {
    const before = await contents();
    expect(await adopt({ isDryRun: true })).toMatch(/can be carried over; nothing was changed/);
    expect(await contents()).toEqual(before);
  });

  it('must be carried over with its rows, once', async () => {
    const before = await contents();
    expect(await adopt()).toBe('the database is carried over');
    expect(await contents()).toEqual({ ...before, migrations: [INITIAL] });
    expect(await adopt()).toMatch(/already; nothing was changed/);
    const dataSource = await connect(dataSourceOptions(database.url));
    expect(await dataSource.showMigrations()).toBe(false);
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
    await dataSource.destroy();
  });

  it.each<[string, string, RegExp]>([
    [
      'not all migrations of 0.1.1 were run',
      `DELETE FROM migrations WHERE name IN ('SickNodes1764750001000', 'FormerNodes1764750002000')`,
      /lacks 2 migrations .* SickNodes1764750001000; start version 0\.1\.1 on it once/,
    ],
    [
      'a later version migrated it',
      `INSERT INTO migrations (timestamp, name) VALUES (1, 'Later1')`,
      /does not know: Later1/,
    ],
    ['an index is missing', 'DROP INDEX containers_live_name', /missing: CREATE UNIQUE INDEX "?containers_live_name/],
    [
      'an index lacks its condition',
      'DROP INDEX users_suspended; CREATE INDEX users_suspended ON users (suspended_at)',
      /unexpected: CREATE INDEX users_suspended/,
    ],
    [
      'a column is missing',
      'ALTER TABLE nodes DROP COLUMN faults',
      /missing: nodes\.faults integer NOT NULL DEFAULT 0$/i,
    ],
    ['there is another column', 'ALTER TABLE nodes ADD COLUMN zone text', /unexpected: nodes\.zone text$/i],
  ])('must not be carried over if %s', async (_reason, change, refusal) => {
    await run(change);
    const before = await contents();
    await expect(adopt()).rejects.toMatchObject({ name: 'MigrationError', message: expect.stringMatching(refusal) });
    expect(await contents()).toEqual(before);
  });

  it('must have the 29 migrations that are listed', async () => {
    expect((await contents()).migrations).toEqual(EARLIER_MIGRATIONS);
    expect(EARLIER_MIGRATIONS).toHaveLength(29);
  });
});

describe('an empty database', () => {
  it('must not be carried over', async () => {
    await expect(adopt()).rejects.toThrow('the database is empty; start Berth, which creates the schema');
  });
});

describe('a database that a newer version has used', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

  beforeEach(async () => {
    await (await connect(dataSourceOptions(database.url))).destroy();
  });

  it('is refused at a start, with the version that it needs', async () => {
    await run(
      `INSERT INTO migrations (timestamp, name) VALUES (4000000000000, 'Later4000000000000');
       UPDATE settings SET value = '99.1.0' WHERE key = 'schema_version'`,
    );
    await expect(connect(dataSourceOptions(database.url))).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringMatching(/Later4000000000000.* version 99\.1\.0 .*docs\/stability\.md/),
    });
    expect(await schemaVersion()).toBe('99.1.0');
  });

  it('is refused without a version if the newer one ended before it recorded its own', async () => {
    await run("INSERT INTO migrations (timestamp, name) VALUES (4000000000000, 'Later4000000000000')");
    const refused = await connect(dataSourceOptions(database.url)).catch((error: unknown) => String(error));
    expect(refused).toMatch(/start the newer version/);
    expect(refused).not.toContain(version);
  });

  it('is used if no migration lies between the two, and records the version that used it last', async () => {
    expect(await schemaVersion()).toBe(version);
    await run("UPDATE settings SET value = '99.1.0' WHERE key = 'schema_version'");
    await (await connect(dataSourceOptions(database.url))).destroy();
    expect(await schemaVersion()).toBe(version);
  });

  const schemaVersion = async (): Promise<string | undefined> =>
    inDatabase(database.url, async (dataSource) => {
      const sql = "SELECT value FROM settings WHERE key = 'schema_version'";
      return (await dataSource.query<{ value: string }[]>(sql))[0]?.value;
    });
});

function adopt({ isDryRun } = { isDryRun: false }): Promise<string> {
  return adoptMigrations(dataSourceOptions(database.url), { isDryRun });
}

async function inDatabase<T>(url: string, work: (dataSource: DataSource) => Promise<T>): Promise<T> {
  const dataSource = await new DataSource(dataSourceOptions(url)).initialize();
  try {
    return await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

async function contents() {
  return inDatabase(database.url, async (dataSource) => {
    const migrations = await dataSource.query<{ name: string }[]>('SELECT name FROM migrations ORDER BY id');
    const rows = [];
    for (const table of ['users', 'tokens', 'containers', 'container_docker_ids', 'events', 'reserved_capacity'])
      rows.push(await dataSource.query<Record<string, unknown>[]>(`SELECT * FROM ${table}`));
    expect(rows.map((found) => found.length)).toEqual([1, 1, 1, 1, 1, 1]);
    return { migrations: migrations.map(({ name }) => name), rows };
  });
}

/** Runs several statements. */
async function run(sql: string): Promise<void> {
  if (!isPostgres) {
    const file = new BetterSqlite3(database.url.slice('sqlite:'.length));
    file.exec(sql);
    file.close();
    return;
  }
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
