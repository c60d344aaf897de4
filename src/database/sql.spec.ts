import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import { type Sql, sql, type SqlPatch } from './sql';

@Entity('things')
class Thing {
  @PrimaryColumn({ type: 'varchar' })
  id: string;

  @Column({ name: 'is_open', type: 'boolean' })
  isOpen: boolean;

  @Column({ name: 'seen_at', type: 'datetime', nullable: true })
  seenAt: Date | null;

  @Column({ type: 'simple-json' })
  labels: Record<string, string>;
}

const NOON = new Date('2030-01-02T12:00:00.500Z');

/** What an injection would be made of. */
const HOSTILE = [`'; DROP TABLE things; --`, '"id"', '$1 ? :id @id', '\\', '${sql}', 'é\u202e\u{1f600}', ''];

describe('tagged SQL', () => {
  const postgres = { options: { type: 'postgres' } } as DataSource;
  let sqlite: DataSource;

  beforeAll(async () => {
    sqlite = new DataSource({ type: 'better-sqlite3', database: ':memory:', entities: [Thing], synchronize: true });
    await sqlite.initialize();
  });

  afterAll(() => sqlite.destroy());

  const rowsOf = async (statement: Sql): Promise<unknown> => {
    const { text, values } = statement.on(sqlite);
    return sqlite.query(text, values);
  };

  it('numbers parameters on PostgreSQL, and lists them in order on SQLite, through nested fragments', () => {
    const isOpen = sql`(a = ${1} OR b = ${'two'})`;
    const statement = sql`SELECT ${null} WHERE ${isOpen} AND c IN (${sql.list([true, 3])}) AND ${isOpen}`;
    const values = [null, 1, 'two', true, 3, 1, 'two'];
    expect(statement.on(postgres)).toMatchObject({
      text: 'SELECT $1 WHERE (a = $2 OR b = $3) AND c IN ($4, $5) AND (a = $6 OR b = $7)',
      values,
    });
    expect(statement.on(sqlite)).toMatchObject({
      text: 'SELECT ? WHERE (a = ? OR b = ?) AND c IN (?, ?) AND (a = ? OR b = ?)',
      values,
    });
  });

  it('renders a statement again and again without a change', () => {
    const statement = sql`SELECT ${1} ${sql.join([sql`a = ${2}`, sql`b`], ' OR ')}`;
    expect(statement.on(postgres).text).toBe('SELECT $1 a = $2 OR b');
    expect(statement.on(postgres)).toEqual(statement.on(postgres));
  });

  it('writes what differs between the databases only where it belongs', () => {
    const statement = sql`SELECT 1${sql.by({ postgres: sql` FOR UPDATE`, sqlite: sql` -- ${1}` })}`;
    expect(statement.on(postgres)).toMatchObject({ text: 'SELECT 1 FOR UPDATE', values: [] });
    expect(statement.on(sqlite)).toMatchObject({ text: 'SELECT 1 -- ?', values: [1] });
    expect(sql`SELECT 1${sql.by({ postgres: sql` FOR UPDATE` })}`.on(sqlite).text).toBe('SELECT 1');
  });

  it('binds dates as each driver takes them', () => {
    expect(sql`${NOON}`.on(postgres).values).toEqual([NOON]);
    expect(sql`${NOON}`.on(sqlite).values).toEqual(['2030-01-02 12:00:00.500']);
  });

  it('never makes a value a part of the text', async () => {
    for (const value of HOSTILE) {
      expect(sql`SELECT ${value}`.on(postgres)).toMatchObject({ text: 'SELECT $1', values: [value] });
      expect(await rowsOf(sql`SELECT ${value} AS value`)).toEqual([{ value }]);
      const listed = sql`SELECT value FROM (SELECT ${value} AS value) WHERE value IN (${sql.list(HOSTILE)})`;
      expect(await rowsOf(listed)).toEqual([{ value }]);
    }
  });

  it.each<[what: string, value: unknown]>([
    ['an object like a fragment', { write: () => undefined }],
    ['an object with a text', { text: '1; DROP TABLE things', toString: (): string => '1' }],
    ['undefined', undefined],
    ['a function', () => '1'],
    ['a symbol', Symbol('1')],
  ])('refuses %s as a value', (_what, value) => {
    expect(() => sql`SELECT ${value as string}`.on(postgres)).toThrow(TypeError);
    expect(() => sql.list([value as string]).on(postgres)).toThrow(TypeError);
  });

  it('refuses an empty list, which no database takes', () => {
    expect(() => sql.list([])).toThrow('empty');
    expect(() => sql.join([], ' AND ')).toThrow('empty');
  });

  it('writes rows as TypeORM reads them', async () => {
    for (const value of HOSTILE) {
      const row: Thing = { id: value, isOpen: true, seenAt: NOON, labels: { [value]: value } };
      await rowsOf(sql.insert(Thing, row));
      expect(await sqlite.manager.findOneBy(Thing, { id: value })).toEqual(row);
      const set: SqlPatch<Thing> = { isOpen: false, seenAt: null, labels: { other: value } };
      await rowsOf(sql`UPDATE things SET ${sql.set(Thing, set)} WHERE id = ${value}`);
      expect(await sqlite.manager.findOneBy(Thing, { id: value })).toEqual(Object.assign(row, set));
    }
    expect(await sqlite.manager.count(Thing)).toBe(HOSTILE.length);
  });

  it('inserts what a fragment computes, and ignores a row that is there', async () => {
    const row = { id: sql`${'com'} || ${'puted'}`, isOpen: sql`TRUE`, seenAt: null, labels: {} };
    const columns = sql.columns(Thing);
    await rowsOf(sql`INSERT INTO things (${columns}) SELECT ${sql.values(Thing, row)} WHERE ${1} = 1`);
    await rowsOf(sql`${sql.insert(Thing, { ...row, isOpen: false })} ON CONFLICT DO NOTHING`);
    expect(await sqlite.manager.findOneBy(Thing, { id: 'computed' })).toMatchObject({ isOpen: true });
  });

  it('leaves undefined properties as they are, and refuses unknown ones and rows with holes', () => {
    expect(sql.set(Thing, { isOpen: undefined, id: 'a' }).on(sqlite)).toMatchObject({
      text: '"id" = ?',
      values: ['a'],
    });
    const unknown = { 'id" = 1 --': 1 } as SqlPatch<Thing>;
    expect(() => sql.set(Thing, unknown).on(sqlite)).toThrow('things has no column for id" = 1 --');
    expect(() => sql.insert(Thing, { id: 'a' } as Thing).on(sqlite)).toThrow('isOpen has no value');
  });
});
