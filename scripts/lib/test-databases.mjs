/** The throwaway PostgreSQL and Redis of a test run. */
import { randomBytes } from 'node:crypto';
import { freePort } from './free-port.mjs';
import { ensurePostgres, PostgresServer } from './postgres-server.mjs';
import { ensureRedis, RedisServer } from './redis-server.mjs';
import { atEnd } from './shutdown.mjs';
import { rememberGroup, temporaryFolder } from './test-remains.mjs';

/** @param {import('./service-process.mjs').ServiceProcess} service */
async function running(service) {
  rememberGroup(service.pid);
  atEnd(`stopping ${service.name}`, (hurry) => service.stop({ hurry }));
  await service.untilReady();
}

/** @returns {Promise<string>} a superuser's URL; tests make databases of their own on it */
export async function startPostgres() {
  await ensurePostgres();
  const options = { port: await freePort(), password: randomBytes(12).toString('hex'), isDurable: false };
  const server = new PostgresServer(temporaryFolder(), options);
  await server.prepare();
  await running(await server.launch());
  return server.url;
}

/** @returns {Promise<string>} its URL */
export async function startRedis() {
  await ensureRedis();
  const server = new RedisServer(temporaryFolder(), { port: await freePort() });
  await running(server.launch());
  return server.url;
}
