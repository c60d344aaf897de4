/**
 * The limit of an authenticated read: a bare Fastify server that hashes the token, makes one raw indexed query that
 * joins token and container, and answers the same bytes. Run as a process of its own: DATABASE_URL, ANSWER (the body).
 */
import { createHash } from 'node:crypto';
import Fastify from 'fastify';
import { connect } from './lib/bare-query.mjs';

const { DATABASE_URL: databaseUrl, ANSWER: answer } = process.env;
const find = await connect(databaseUrl);
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
