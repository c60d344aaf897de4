/**
 * Puts containers into the database by themselves, as copies of one that Berth made: more than it could make in a day.
 */
import { randomUUID } from 'node:crypto';

const BATCH = 1000;
/** Fewer than the tier of a benchmark's users allows. */
const OF_ONE_USER = 10;

async function connect(databaseUrl) {
  if (databaseUrl.startsWith('sqlite:')) {
    const { default: Database } = await import('better-sqlite3');
    const database = new Database(databaseUrl.slice('sqlite:'.length), { timeout: 10_000 });
    return {
      ownerOf: async (id) => database.prepare('SELECT user_id FROM containers WHERE id = ?').get(id).user_id,
      copyAll: async (table, id, changes) => {
        const template = database.prepare(`SELECT * FROM ${table} WHERE id = ?`).get(id);
        const columns = Object.keys(template);
        const places = columns.map(() => '?').join(', ');
        const insert = database.prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places})`);
        const add = (change) => insert.run(columns.map((column) => ({ ...template, ...change })[column]));
        database.transaction(() => changes.forEach(add))();
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
    ownerOf: async (id) => (await client.query('SELECT user_id FROM containers WHERE id = $1', [id])).rows[0].user_id,
    copyAll: (table, id, changes) =>
      client.query(
        `INSERT INTO ${table} SELECT made.* FROM ${table} template, unnest($2::jsonb[]) AS change,
         LATERAL jsonb_populate_record(template, change) AS made WHERE template.id = $1`,
        [id, changes.map((change) => JSON.stringify(change))],
      ),
    analyze: () => client.query('ANALYZE'),
    end: () => client.end(),
  };
}

/**
 * @param {{ databaseUrl: string, id: string, count: number, change?: (index: number) => object }} options copies of the
 *   row `id`, each with an id of its own, ten of each of as many users as that takes, and with what `change` says
 */
export async function copyContainer({ databaseUrl, id, count, change = () => ({}) }) {
  const database = await connect(databaseUrl);
  try {
    const owner = await database.ownerOf(id);
    for (let made = 0; made < count; made += BATCH) {
      const length = Math.min(BATCH, count - made);
      const users = Array.from({ length: Math.ceil(length / OF_ONE_USER) }, () => randomUUID());
      const named = users.map((user) => ({ id: user, username: `bench-${user}` }));
      await database.copyAll('users', owner, named);
      const changes = Array.from({ length }, (_each, at) => {
        const own = randomUUID();
        const user = users[Math.floor(at / OF_ONE_USER)];
        const fresh = { id: own, user_id: user, name: `copy-${at}`, docker_id: null, volume_name: `berth-${own}` };
        return { ...fresh, ...change(made + at) };
      });
      await database.copyAll('containers', id, changes);
    }
    // What PostgreSQL's autovacuum would have done by the time that so many had been made.
    await database.analyze();
  } finally {
    await database.end();
  }
}
