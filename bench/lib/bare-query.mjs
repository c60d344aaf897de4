/**
 * One raw indexed query that joins token and container, prepared once: what an authenticated read must at least ask.
 */
const SQL =
  'SELECT c.id FROM tokens t JOIN containers c ON c.user_id = t.user_id ' +
  'WHERE t.hash = $1 AND t.revoked_at IS NULL AND c.id = $2 AND c.deleted_at IS NULL';

/** @returns {Promise<(hash: string, id: string) => Promise<boolean>>} */
export async function connect(databaseUrl) {
  if (databaseUrl.startsWith('sqlite:')) {
    const { default: Database } = await import('better-sqlite3');
    const statement = new Database(databaseUrl.slice('sqlite:'.length)).prepare(SQL.replaceAll(/\$\d/g, '?'));
    return (hash, id) => Promise.resolve(statement.get(hash, id) !== undefined);
  }
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({ connectionString: databaseUrl });
  return async (hash, id) => (await pool.query({ name: 'find', text: SQL, values: [hash, id] })).rows.length === 1;
}
