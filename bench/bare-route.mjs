/**
 * The limit of an authenticated read: a bare Fastify server that hashes the token, makes one raw indexed query that joins token
 * and container, and answers the same bytes. Run as a process of its own: DATABASE_URL, ANSWER (the body).
 */
import { createHash } from 'node:crypto';
import Fastify from 'fastify';

const { DATABASE_URL: databaseUrl, ANSWER: answer } = process.env;

const SQL =
  'SELECT c.id FROM tokens t JOIN containers c ON c.user_id = t.user_id ' +
  'WHERE t.hash = $1 AND t.revoked_at IS NULL AND c.id = $2 AND c.deleted_at IS NULL';

/** @returns {Promise<(hash: string, id: string) => Promise<boolean>>} */
async function connect() {
  if (databaseUrl.startsWith('sqlite:')) {
    const { default: Database } = await import('better-sqlite3');
    const statement = new Database(databaseUrl.slice('sqlite:'.length)).prepare(SQL.replaceAll(/\$\d/g, '?'));
    return (hash, id) => Promise.resolve(statement.get(hash, id) !== undefined);
  }
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({ connectionString: databaseUrl });
  return async (hash, id) => (await pool.query({ name: 'find', text: SQL, values: [hash, id] })).rows.length === 1;
}

const find = await connect();
const app = Fastify();
app.get('/api/containers/:id', async (request, reply) => {
  const token = (request.headers.authorization ?? '').slice('Bearer '.length);
  const found = await find(createHash('sha256').update(token).digest('hex'), request.params.id);
  return reply
    .code(found ? 200 : 404)
    .type('application/json; charset=utf-8')
    .send(found ? answer : '{}');
});
process.send?.({ url: await app.listen({ port: 0, host: '127.0.0.1' }) });
process.on('disconnect', () => process.exit(0));
