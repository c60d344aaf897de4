/** The throwaway PostgreSQL and Redis of a test run. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, untilFree } from './free-port.mjs';
import { ensurePostgres, PostgresServer } from './postgres-server.mjs';
import { ensureRedis, RedisServer } from './redis-server.mjs';
import { atEnd } from './shutdown.mjs';
import { rememberGroup, temporaryFolder } from './test-remains.mjs';

/** A server of this run, which can be ended and started again with the same data on the same port. */
class TestServer {
  /** @param {PostgresServer | RedisServer} server */
  constructor(server) {
    this.server = server;
    this.url = server.url;
  }

  /** @returns {Promise<this>} */
  async start() {
    const isFirst = this.process === undefined;
    this.process = await this.server.launch();
    rememberGroup(this.process.pid);
    if (isFirst) atEnd(`stopping ${this.process.name}`, (hurry) => this.process.stop({ hurry }));
    await this.process.untilReady();
    return this;
  }

  /** @param {{ signal: NodeJS.Signals }} how it is ended */
  async restart({ signal }) {
    await this.process.stop({ signal });
    await untilFree(this.server.port);
    await this.start();
  }
}

/** Of one server alone: a run can have several of a kind. */
function folderFor(server) {
  return mkdtempSync(join(temporaryFolder(), `${server}-`));
}

/**
 * @param {{ survivesCrash?: boolean }} [options] survivesCrash: what was committed is there after a SIGQUIT
 * @returns {Promise<TestServer>} with a superuser's URL; tests make databases of their own on it
 */
export async function startPostgresServer({ survivesCrash = false } = {}) {
  await ensurePostgres();
  const folder = folderFor('postgres');
  const options = { password: randomBytes(12).toString('hex'), isDurable: false, survivesCrash };
  await new PostgresServer(folder, { port: 0, ...options }).prepare();
  // Not before: until it is listened on, anybody may take it.
  const server = new PostgresServer(folder, { port: await freePort(), ...options });
  return new TestServer(server).start();
}

/** @returns {Promise<TestServer>} */
export async function startRedisServer() {
  await ensureRedis();
  return new TestServer(new RedisServer(folderFor('redis'), { port: await freePort() })).start();
}

/** How tests have them ended and started again, for `offerActions`. @param {Record<string, TestServer>} servers */
export const databaseActions = ({ postgres, redis }) => ({
  '/postgres/restart': () => postgres.restart({ signal: 'SIGINT' }),
  '/postgres/kill': () => postgres.restart({ signal: 'SIGQUIT' }),
  '/redis/restart': () => redis.restart({ signal: 'SIGTERM' }),
  '/redis/kill': () => redis.restart({ signal: 'SIGKILL' }),
});

/** @returns {Promise<string>} the URL of one that is never restarted */
export async function startPostgres() {
  return (await startPostgresServer()).url;
}

/** @returns {Promise<string>} the URL of one that is never restarted */
export async function startRedis() {
  return (await startRedisServer()).url;
}
