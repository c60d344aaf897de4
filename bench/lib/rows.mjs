/**
 * Puts containers into the database by themselves, as copies of one that Berth made: more than it could make in a day.
 */
import { randomUUID } from 'node:crypto';

const BATCH = 1000;

async function connect(databaseUrl) {
  if (databaseUrl.startsWith('sqlite:')) {
    const { default: Database } = await import('better-sqlite3');
    const database = new Database(databaseUrl.slice('sqlite:'.length), { timeout: 10_000 });
    return {
      query: async (sql, values = []) => database.prepare(sql.replaceAll(/\$\d+/g, '?')).all(...values),
      insertAll: async (table, columns, rows) => {
        const places = columns.map(() => '?').join(', ');
        const insert = database.prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places})`);
        database.transaction(() => rows.forEach((row) => insert.run(columns.map((column) => row[column]))))();
      },
      // Berth never has SQLite gather statistics, and so decides by its indexes alone.
      analyze: async () => {},
      end: async () => database.close(),
    };
  }
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  return {
    query: async (sql, values = []) => (await client.query(sql, values)).rows,
    insertAll: async (table, columns, rows) => {
      const places = rows.map((_row, at) => `(${columns.map((_column, i) => `$${at * columns.length + i + 1}`)})`);
      const values = rows.flatMap((row) => columns.map((column) => row[column]));
      await client.query(`INSERT INTO ${table} (${columns.join(', ')}) VALUES ${places.join(', ')}`, values);
    },
    analyze: () => client.query('ANALYZE'),
    end: () => client.end(),
  };
}

/**
 * @param {{ databaseUrl: string, id: string, count: number, change?: (index: number) => object }} options copies of the
 *   row `id`, each with an id of its own and of somebody else, and with what `change` says
 */
export async function copyContainer({ databaseUrl, id, count, change = () => ({}) }) {
  const database = await connect(databaseUrl);
  try {
    const [template] = await database.query('SELECT * FROM containers WHERE id = $1', [id]);
    const columns = Object.keys(template);
    for (let made = 0; made < count; made += BATCH) {
      const rows = Array.from({ length: Math.min(BATCH, count - made) }, (_each, at) => {
        const own = randomUUID();
        const fresh = { id: own, user_id: randomUUID(), docker_id: null, volume_name: `berth-${own}` };
        return { ...template, ...fresh, ...change(made + at) };
      });
      await database.insertAll('containers', columns, rows);
    }
    // What PostgreSQL's autovacuum would have done by the time that so many had been made.
    await database.analyze();
  } finally {
    await database.end();
  }
}
