import { setTimeout as delay } from 'node:timers/promises';
import { httpCall } from '../support/clients/http-call';
import { Program } from '../support/servers/program';
import { ending } from './fault-control';
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
  const { excuses, turns } = parts;
  const around = (work: () => Promise<void>): Promise<void> => excuses.during('database_down', {}, work);
  return {
    postgres_restart: ending('postgres', 'restart', { ...parts, around }),
    postgres_kill: ending('postgres', 'kill', { ...parts, around }),
    redis_restart: ending('redis', 'restart', parts),
    redis_kill: ending('redis', 'kill', parts),
    database_silent: (begin) => {
      const member = parts.cluster.pick(parts.random);
      return turns.take([LOCKS_HELD, member.name], () => silence(member, parts), begin);
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
  const hold = (): Promise<void> => database.lockUser(name, () => delay(ms));
  const lock = async (): Promise<string> => {
    await excuses.during('database_busy', { user: name }, hold).catch((error: unknown) => {
      throw new InVain(String(error));
    });
    return name;
  };
  return turns.take('postgres', lock, begin);
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
  const holder = new Program(process.execPath, ['-e', LOCK_SQLITE, file], { stdio: 'pipe' });
  await excuses.during('database_busy', {}, async () => {
    await holder.started(holder.untilSaid('locked'));
    await delay(ms);
    holder.child.stdin?.end();
    await holder.ended;
  });
  return `${String(Math.round(ms))} ms`;
}
