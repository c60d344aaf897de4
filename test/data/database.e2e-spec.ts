import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { connect, Database, type Lookup, ProcessPresence, SettingEntity, sql } from '../../src/database';
import { openEmptyTestDatabase, openTestDatabase, TestDatabase } from '../support/databases/test-database';

describe('the schema', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await openEmptyTestDatabase();
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

  it('must refuse a name that differs from another only by case', async () => {
    const dataSource = await connect(dataSourceOptions(database.url));
    const insert = (id: string, name: string) =>
      dataSource.query(
        `INSERT INTO users (id, username, tier, created_at) VALUES ('${id}', '${name}', 'free', '2026-01-01')`,
      );
    await insert('a', 'grace');
    await expect(insert('b', 'GRACE')).rejects.toThrow(/unique/i);
    await dataSource.destroy();
  });

  it('must be taken down again by its migrations', async () => {
    const dataSource = await connect(dataSourceOptions(database.url));
    for (let left = dataSource.migrations.length; left > 0; left -= 1) await dataSource.undoLastMigration();
    await expect(dataSource.query('SELECT 1 FROM containers')).rejects.toThrow();
    await dataSource.destroy();
  });
});

describe('the presence of processes', () => {
  it('tells the dead from those that live', async () => {
    const test = await openTestDatabase();
    const isPostgres = process.env['TEST_DATABASE'] === 'postgres';
    const connecting = Array.from({ length: isPostgres ? 3 : 1 }, () => connect(dataSourceOptions(test.url)));
    const sources = await Promise.all(connecting);
    const [own, ended, other] = await Promise.all(sources.map((source) => ProcessPresence.establish(source)));
    await ended?.onApplicationShutdown();
    const dead = [randomUUID(), ended?.holder ?? randomUUID()];
    const living = [own?.holder ?? '', other?.holder ?? ''];
    const found = await own?.deadAmong([...living, ...dead], new AbortController().signal);
    expect([...(found ?? [])].sort()).toEqual([...dead].sort());
    for (const presence of [own, other]) await presence?.onApplicationShutdown();
    await Promise.all(sources.map((source) => source.destroy()));
    await test.drop();
  });
});

describe('a statement of tagged SQL', () => {
  let test: TestDatabase;
  let dataSource: DataSource;
  let database: Database;

  beforeAll(async () => {
    test = await openTestDatabase();
    dataSource = await connect(dataSourceOptions(test.url));
    database = new Database(dataSource);
  });

  afterAll(async () => {
    database.onApplicationShutdown();
    await dataSource.destroy();
    await test.drop();
  });

  it('keeps hostile values, and says on both databases what it has returned and changed', async () => {
    const hostile = ["'; DELETE FROM settings; --", '$1 ? :key', '\\', '\u{1f600}', ''];
    for (const value of hostile) {
      const insert = sql`${sql.insert(SettingEntity, { key: value, value })} ON CONFLICT DO NOTHING`;
      expect(await database.run(insert)).toEqual({ rows: [], affected: 1 });
      expect(await database.run(insert)).toEqual({ rows: [], affected: 0 });
    }
    const all = sql`SELECT key FROM settings WHERE key IN (${sql.list(hostile)}) AND value = key`;
    expect((await database.run<{ key: string }>(all)).rows.map(({ key }) => key).sort()).toEqual([...hostile].sort());
    const update = sql`UPDATE settings SET value = ${'new'} WHERE key IN (${sql.list(hostile)})`;
    expect(await database.run(update)).toEqual({ rows: [], affected: hostile.length });
    const returned = { rows: [{ value: 'newer' }], affected: 1 };
    expect(await database.run(sql`UPDATE settings SET value = ${'newer'} WHERE key = '' RETURNING value`)).toEqual(
      returned,
    );
    expect(await database.run(sql`DELETE FROM settings WHERE key = '' RETURNING value`)).toEqual(returned);
    expect(await database.run(sql`DELETE FROM settings WHERE key IN (${sql.list(hostile)})`)).toMatchObject({
      affected: hostile.length - 1,
    });
  });

  it('is rolled back with its transaction, and leaves no connection taken', async () => {
    const insert = sql.insert(SettingEntity, { key: 'rolled back', value: '1' });
    const broken = database.runInTx(async () => {
      await database.run(insert);
      await database.run(sql`SELECT no_such_column FROM settings`);
    });
    await expect(broken).rejects.toThrow(/no_such_column/);
    for (let each = 0; each < 30; each += 1) await database.run(sql`SELECT 1`);
    expect(await database.run(sql`SELECT 1 FROM settings WHERE key = 'rolled back'`)).toMatchObject({ affected: 0 });
  });
});

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

  it('must see what was committed just before, also through another connection', async () => {
    const other = await connect(dataSourceOptions(test.url));
    const settings = [database.manager, other.manager, database.manager];
    for (const [nth, manager] of settings.entries()) {
      await manager.upsert(SettingEntity, { key: 'a', value: String(nth) }, ['key']);
      expect((await valueOf('a'))?.[0]).toBe(String(nth));
      expect((await valueOf('a'))?.[0]).toBe(String(nth));
      expect(await valueOf(`new-${String(nth)}`)).toBeNull();
      await manager.insert(SettingEntity, { key: `new-${String(nth)}`, value: 'new' });
      expect((await valueOf(`new-${String(nth)}`))?.[0]).toBe('new');
      await manager.delete(SettingEntity, { key: `new-${String(nth)}` });
      expect(await valueOf(`new-${String(nth)}`)).toBeNull();
    }
    await other.destroy();
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
