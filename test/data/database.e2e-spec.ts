import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { type Scope, TokenEntity } from '../../src/auth';
import { connect, Database, type Lookup, SettingEntity } from '../../src/database';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

describe('the schema', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await openTestDatabase();
  });

  afterEach(() => database.drop());

  it('must be made by one of several processes that start at once on an empty database', async () => {
    const processes = process.env['TEST_DATABASE'] === 'postgres' ? 4 : 1;
    const connecting = Array.from({ length: processes }, () => connect(dataSourceOptions(database.url)));
    const connected = await Promise.all(connecting);
    for (const dataSource of connected) {
      expect(await dataSource.query('SELECT COUNT(*) AS count FROM containers')).toEqual([
        { count: expect.anything() },
      ]);
      await dataSource.destroy();
    }
  });

  it('must be exactly what the entities describe', async () => {
    const dataSource = await connect(dataSourceOptions(database.url));
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
    await dataSource.destroy();
  });

  it('must be taken down again by its migrations', async () => {
    const dataSource = await connect(dataSourceOptions(database.url));
    for (let left = dataSource.migrations.length; left > 0; left -= 1) await dataSource.undoLastMigration();
    await expect(dataSource.query('SELECT 1 FROM containers')).rejects.toThrow();
    await dataSource.destroy();
  });
});

describe('tokens of a version without the scope exec', () => {
  it('must gain it where they read and write, and not where they are weaker or of an administrator', async () => {
    const test = await openTestDatabase();
    const dataSource = await connect(dataSourceOptions(test.url));
    await undoDownTo(dataSource, 'ExecScope1764300065000');
    const scopes: Scope[][] = [
      ['read', 'write'],
      ['write', 'read'],
      ['read'],
      ['write'],
      ['read', 'write', 'admin'],
      ['agent'],
    ];
    const then = "'2026-01-01 00:00:00.000'";
    for (const [at, held] of scopes.entries()) {
      const values = [`'${String(at)}'`, "'u'", "'n'", `'h${String(at)}'`, "'berth_'", `'${JSON.stringify(held)}'`];
      await dataSource.query(
        `INSERT INTO tokens (id, user_id, name, hash, prefix, scopes, created_at) VALUES (${values.join(', ')}, ${then})`,
      );
    }
    await dataSource.runMigrations();
    const tokens = await dataSource.manager.find(TokenEntity, { order: { id: 'ASC' } });
    expect(tokens.map((token) => token.scopes)).toEqual([
      ['read', 'write', 'exec'],
      ['read', 'write', 'exec'],
      ...scopes.slice(2),
    ]);
    await dataSource.destroy();
    await test.drop();
  });
});

describe('names of a version in which they differed by case', () => {
  it('must become one user each: a user before a guest, the older first, the others under another name', async () => {
    const test = await openTestDatabase();
    const dataSource = await connect(dataSourceOptions(test.url));
    await undoDownTo(dataSource, 'NamesInAnyCase1764740000000');
    const users = [
      ['a', 'ADA', 'guest', '2026-01-01'],
      ['b', 'ada', 'free', '2026-01-03'],
      ['c', 'Ada', 'pro', '2026-01-02'],
      ['d', 'grace', 'guest', '2026-01-01'],
      ['e', 'IRIS', 'guest', '2026-01-02'],
      ['f', 'iris', 'guest', '2026-01-01'],
      ['g', 'X'.repeat(64), 'free', '2026-01-02'],
      ['h', 'x'.repeat(64), 'free', '2026-01-01'],
    ] as const;
    for (const [id, username, tier, created] of users) {
      const values = [id, username, tier, `${created} 00:00:00.000`].map((value) => `'${value}'`).join(', ');
      await dataSource.query(`INSERT INTO users (id, username, tier, created_at) VALUES (${values})`);
    }
    await dataSource.runMigrations();
    const names = await dataSource.query<{ username: string }[]>('SELECT username FROM users ORDER BY id');
    expect(names.map(({ username }) => username)).toEqual([
      'ADA~a',
      'ada~b',
      'Ada',
      'grace',
      'IRIS~e',
      'iris',
      `${'X'.repeat(27)}~g`,
      'x'.repeat(64),
    ]);
    const again = dataSource.query(
      `INSERT INTO users (id, username, tier, created_at) VALUES ('i', 'GRACE', 'free', '2026-01-01')`,
    );
    await expect(again).rejects.toThrow(/unique/i);
    await dataSource.destroy();
    await test.drop();
  });
});

/** Undoes migrations until this one is undone. */
async function undoDownTo(dataSource: DataSource, migration: string): Promise<void> {
  const applied = async (): Promise<string[]> =>
    (await dataSource.query<{ name: string }[]>('SELECT name FROM migrations')).map(({ name }) => name);
  while ((await applied()).includes(migration)) await dataSource.undoLastMigration();
}

describe('a lookup by key', () => {
  let test: TestDatabase;
  let dataSource: DataSource;
  let database: Database;
  let valueOf: Lookup;

  beforeAll(async () => {
    test = await openTestDatabase();
    dataSource = await connect(dataSourceOptions(test.url));
    database = new Database(dataSource);
    valueOf = database.lookup({ columns: ['s.value', 's.key'], from: 'settings s', key: 's.key' });
    await write('a', 'first');
    await write('b', 'second');
  });

  afterAll(async () => {
    database.onApplicationShutdown();
    await dataSource.destroy();
    await test.drop();
  });

  const write = (key: string, value: string) => database.manager.upsert(SettingEntity, { key, value }, ['key']);

  it('must give the values in the order of the columns, or null', async () => {
    expect((await valueOf('a'))?.slice(0, 2)).toEqual(['first', 'a']);
    expect(await valueOf('nobody')).toBeNull();
  });

  it('must give each of many that ask at once their own', async () => {
    const keys = Array.from({ length: 500 }, (_each, at) => ['a', 'b', `nobody-${String(at)}`][at % 3] ?? '');
    const found = await Promise.all(keys.map(valueOf));
    expect(found.map((values) => values?.[1] ?? null)).toEqual(keys.map((key) => (key.length === 1 ? key : null)));
  });

  it('must see what was committed just before, and remember nothing', async () => {
    for (const value of ['third', 'fourth']) {
      await write('a', value);
      expect((await valueOf('a'))?.[0]).toBe(value);
    }
  });

  it('must see its own transaction from inside, and nobody else’s from outside', async () => {
    await write('a', 'committed');
    let seen: () => void = () => undefined;
    const untilSeen = new Promise<void>((resolve) => (seen = resolve));
    let change: Promise<void> | undefined;
    await new Promise<void>((written, failed) => {
      change = database.runInTx(async () => {
        await write('a', 'uncommitted');
        expect((await valueOf('a'))?.[0]).toBe('uncommitted');
        written();
        await untilSeen;
      });
      change.catch(failed);
    });
    expect((await valueOf('a'))?.[0]).toBe('committed');
    seen();
    await change;
    expect((await valueOf('a'))?.[0]).toBe('uncommitted');
  });
});
