/**
 * What several server processes share besides Docker: a PostgreSQL that keeps its data, and a Redis. Either may be
 * the person's own instead.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.mjs';
import { KeptRunning } from './kept-running.mjs';
import { ensurePostgres, PostgresServer } from './postgres-server.mjs';
import { makeDataFolder, runFolder } from './project.mjs';
import { ensureRedis, RedisServer } from './redis-server.mjs';
import { atEnd } from './shutdown.mjs';
import { say, step } from './steps.mjs';

/** Server processes have ten connections each, and there are people and programs with their own. */
const CONNECTIONS = 300;

export const clusterFolder = join(runFolder, 'cluster');

/**
 * @param {{ settings: object, folder?: string, remember: (name: string, process: object) => void }} options folder: for
 *   their data
 * @returns {Promise<{ DATABASE_URL: string, REDIS_URL: string, SECRETS_KEY?: string }>} @throws Problem
 */
export async function startServices({ settings, folder = clusterFolder, remember }) {
  makeDataFolder(folder);
  const keys = await readKeys(folder);
  return {
    DATABASE_URL: ownPostgres(settings) ? await startPostgres(folder, keys.postgres, remember) : settings.DATABASE_URL,
    // In production it is the person's to choose and to keep: without it the servers say so.
    SECRETS_KEY: settings.NODE_ENV === 'production' ? settings.SECRETS_KEY : (settings.SECRETS_KEY ?? keys.secrets),
    REDIS_URL: settings.REDIS_URL ?? (await startRedis(folder, keys.redis, remember)),
  };
}

function ownPostgres({ DATABASE_URL: url }) {
  if (!url) return true;
  const isSqlite = url.startsWith('sqlite:');
  if (isSqlite)
    say('! DATABASE_URL names SQLite, which belongs to one process: the cluster has a PostgreSQL of its own');
  else say('✓ using the PostgreSQL of DATABASE_URL');
  return isSqlite;
}

async function startPostgres(folder, key, remember) {
  await ensurePostgres();
  const server = new PostgresServer(folder, { ...key, connections: CONNECTIONS });
  await step('starting PostgreSQL', async () => {
    await server.prepare();
    await keep('PostgreSQL', () => server.launch(), remember);
  });
  return server.url;
}

async function startRedis(folder, key, remember) {
  await ensureRedis();
  const server = new RedisServer(folder, key);
  await step('starting Redis', () => keep('Redis', () => server.launch(), remember));
  return server.url;
}

async function keep(name, launch, remember) {
  const kept = new KeptRunning(name, {
    async launch() {
      const process = await launch();
      remember(name, process);
      return process;
    },
    onReady: () => isBack && say(`✓ ${name} is back`),
  });
  let isBack = false;
  atEnd(`stopping ${name}`, (hurry) => step(`stopping ${name}`, () => kept.stop({ hurry }).then(() => undefined)));
  await kept.start();
  isBack = true;
}

/** Ports and passwords stay the same from run to run where nothing else has taken the port since. */
async function readKeys(folder) {
  const file = join(folder, 'keys.json');
  const kept = readJson(file) ?? {};
  const secrets = kept.secrets ?? randomBytes(32).toString('base64');
  const keys = { postgres: await key(kept.postgres), redis: await key(kept.redis), secrets };
  writeFileSync(file, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  return keys;
}

async function key({ port, password = randomBytes(24).toString('hex') } = {}) {
  return { port: await freePort(port), password };
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}
