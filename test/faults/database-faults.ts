import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { httpCall } from '../support/clients/http-call';
import { controlService } from './fault-control';
import { type Actions, type Begin, InVain, LOCKS_HELD, type Parts } from './fault-injector';
import type { Member } from './faulty-cluster';

type ServiceFault = 'postgres_restart' | 'postgres_kill' | 'redis_restart' | 'redis_kill';
type PostgresFault = ServiceFault | 'database_silent' | 'row_locked';

/** Takes up to 15 s on an idle machine. */
const SERVES_WITHIN_MS = 30_000;
const PROBE_MS = 10_000;
/** Maximum time that a foreign session holds a row locked: longer than Berth waits for a lock. */
const LOCKED_MS = 20_000;
/** Maximum time that another process holds SQLite's write lock. */
const SQLITE_LOCKED_MS = 17_000;

/** Faults of PostgreSQL and Redis, and of the connections to them. */
export function databaseFaults(parts: Parts): Actions<PostgresFault> {
  const { excuses, journal, turns } = parts;
  const restart =
    (service: 'postgres' | 'redis', how: 'restart' | 'kill') =>
    (begin: Begin): Promise<string> =>
      turns.take(service, async () => {
        begin();
        journal.say(`${service}: ${how}`);
        const work = (): Promise<void> => controlService(`/${service}/${how}`);
        await (service === 'postgres' ? excuses.during('database_down', {}, work) : work());
        journal.say(`${service} is back`);
        return service;
      });
  return {
    postgres_restart: restart('postgres', 'restart'),
    postgres_kill: restart('postgres', 'kill'),
    redis_restart: restart('redis', 'restart'),
    redis_kill: restart('redis', 'kill'),
    database_silent: (begin) => {
      const member = parts.cluster.pick(parts.random);
      return turns.take(LOCKS_HELD, () => {
        begin();
        return turns.take(member.name, () => silence(member, parts));
      });
    },
    row_locked: (begin) => lockRow(parts, begin),
  };
}

/** Freezes the process's connections to the database without closing them. New connections work. */
async function silence(member: Member, { excuses, users, journal }: Parts): Promise<string> {
  if (!member.up) throw new InVain(`${member.name} is down`);
  await excuses.during('database_down', { member: member.name }, () =>
    // Transactions that the process had begun hold their locks until PostgreSQL ends them.
    excuses.during('database_busy', {}, async () => {
      const since = Date.now();
      member.leftConnections = true;
      member.database?.freeze();
      while (!(await serves(member, users[0]?.token ?? ''))) {
        if (Date.now() - since < SERVES_WITHIN_MS) continue;
        journal.complain(`${member.name} does not serve ${String(SERVES_WITHIN_MS)} ms after its database fell silent`);
        return;
      }
      journal.note('silence', 'over', { member: member.name, ms: Date.now() - since });
    }),
  );
  return member.name;
}

async function serves({ url }: Member, token: string): Promise<boolean> {
  try {
    const { status } = await httpCall(url, '/api/containers', { token, hangUpMs: PROBE_MS });
    if (status === 200) return true;
  } catch {
    // No answer.
  }
  await delay(200);
  return false;
}

async function lockRow({ database, excuses, random, users, turns }: Parts, begin: Begin): Promise<string> {
  const { name } = random.pick(users);
  const ms = LOCKED_MS * random.next();
  return turns.take('postgres', async () => {
    begin();
    const hold = (): Promise<void> => database.lockUser(name, () => delay(ms));
    await excuses.during('database_busy', { user: name }, hold).catch((error: unknown) => {
      throw new InVain(String(error));
    });
    return name;
  });
}

const LOCK_SQLITE = `
  const [, file] = process.argv;
  const database = require('better-sqlite3')(file, { timeout: 30_000 });
  database.exec('BEGIN IMMEDIATE');
  console.log('locked');
  process.stdin.resume().once('end', () => database.exec('ROLLBACK'));
`;

/** Another process holds the file's write lock, as an operator's open transaction does. */
export async function lockSqlite({ cluster, excuses, random }: Parts): Promise<string> {
  const ms = SQLITE_LOCKED_MS * random.next();
  const file = cluster.database.url.slice('sqlite:'.length);
  const holder = spawn(process.execPath, ['-e', LOCK_SQLITE, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(holder, 'exit');
  await excuses.during('database_busy', {}, async () => {
    await locked(holder);
    await delay(ms);
    holder.stdin.end();
    await ended;
  });
  return `${String(Math.round(ms))} ms`;
}

async function locked(holder: ChildProcess): Promise<void> {
  const [line] = (await Promise.race([
    once(holder.stdout ?? holder, 'data'),
    once(holder, 'exit').then(() => ['nothing']),
  ])) as [unknown];
  if (!String(line).startsWith('locked')) throw new Error('the lock could not be taken');
}
