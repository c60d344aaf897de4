import { setTimeout as delay } from 'node:timers/promises';
import type { HeldClaim } from './database-view';
import type { Excuses } from './excuses';
import { type Actions, InVain, LOCKS_HELD, type Parts } from './fault-injector';
import type { Member } from './faulty-cluster';

/** From which a process is known to be in a transaction that holds the row of a user. */
const LOCKS = /UPDATE "users"|FOR UPDATE(?! SKIP)/;
/** How long a process that does nothing at all is waited for to be in one. */
const LOCKS_WITHIN_MS = 20_000;
/** Beyond the term of a claim, some of them. */
const PAUSES_MS = [3_000, 15_000, 40_000];

/** Of the promised five seconds, on a machine that has other work; clearly less than the term of a claim. */
const TAKEN_OVER_WITHIN_MS = 60_000;
/** A clock is behind for so long, and then right again. */
const CLOCK_BACK_MS = 20_000;
const HOUR_MS = 3_600_000;

/** What happens to the server processes. */
export function processFaults(parts: Parts): Actions<'process_kill' | 'process_pause' | 'process_clock_back'> {
  const { cluster, random, turns } = parts;
  return {
    process_kill: () => processKill(parts),
    process_pause: () => {
      const member = cluster.pick(random);
      return turns.take(LOCKS_HELD, () => turns.take(member.name, () => pauseProcess(member, parts)));
    },
    // Nothing else may be what keeps claims from being taken over.
    process_clock_back: () => turns.take(LOCKS_HELD, () => turns.take('postgres', () => setClocksBack(parts))),
  };
}

export async function processKill(parts: Parts): Promise<string> {
  const member = parts.random.pick(parts.cluster.members);
  await parts.turns.take(member.name, () => killProcess(member, parts));
  await mustBeTakenOver(member, parts);
  return member.name;
}

async function killProcess(member: Member, { cluster }: Parts): Promise<void> {
  if (!member.up) throw new InVain(`${member.name} is down already`);
  await cluster.kill(member);
}

/**
 * What a dead process held is taken over by others long before its claims run out. Who holds a claim is not seen from outside;
 * but a live holder lets go of it or renews it within a third of its term.
 */
async function mustBeTakenOver({ name }: Member, { database, excuses, journal }: Parts): Promise<void> {
  const since = Date.now();
  const before = await database.claims().catch(() => []);
  await delay(TAKEN_OVER_WITHIN_MS);
  const after = await database.claims().catch(() => []);
  const wasAway = isDisturbed(excuses, since);
  const left = leftAlone(before, after);
  journal.note('takeover', wasAway ? 'not looked at' : 'looked at', { member: name, held: before.length });
  if (wasAway || left.length === 0) return;
  journal.complain(`${name} died, and ${String(TAKEN_OVER_WITHIN_MS)} ms later there is still ${JSON.stringify(left)}`);
}

/** Whether claims may have stayed for a reason: the database was away, or a live process stood still. */
function isDisturbed(excuses: Excuses, since: number): boolean {
  const excused = excuses.since(since, { member: '', user: '' });
  return excused.has('database_down') || excused.has('database_busy');
}

/** Claims that nobody has ended or renewed. */
function leftAlone(before: readonly HeldClaim[], after: readonly HeldClaim[]): HeldClaim[] {
  return before.filter(({ operationId, expiresAt }) =>
    after.some((claim) => claim.operationId === operationId && claim.expiresAt === expiresAt),
  );
}

/** In the middle of a transaction, so that others wait for what it holds. */
async function pauseProcess(member: Member, { excuses, random, journal }: Parts): Promise<string> {
  const ms = random.pick(PAUSES_MS);
  if (!member.up) throw new InVain(`${member.name} is down`);
  const where = (await caughtInTransaction(member)) ? 'in a transaction' : 'at rest';
  return excuses.during('database_busy', {}, async () => {
    member.paused = true;
    member.pauses += 1;
    try {
      await delay(ms);
    } finally {
      member.process.resume();
      member.paused = false;
    }
    journal.note('pause', where, { member: member.name, ms });
    return `${member.name}, ${where}`;
  });
}

/** Pauses it as soon as it has asked for a lock, or after a time. @returns whether it has */
async function caughtInTransaction({ database, process: server }: Member): Promise<boolean> {
  const none = new AbortController();
  const locks = new Promise<boolean>((resolve) => {
    if (!database) return;
    database.onRequest = (chunk) => {
      if (!LOCKS.test(chunk.toString('latin1'))) return;
      server.pause();
      database.onRequest = null;
      resolve(true);
    };
  });
  const late = delay(LOCKS_WITHIN_MS, false, { signal: none.signal }).catch(() => false);
  const caught = await Promise.race([locks, late]);
  none.abort();
  if (database) database.onRequest = null;
  if (!caught) server.pause();
  return caught;
}

/** The machine's clock steps back, in the moment in which a process dies; claims of before lie far ahead then. */
async function setClocksBack(parts: Parts): Promise<string> {
  const { cluster, random, turns, excuses } = parts;
  while (isDisturbed(excuses, Date.now())) await delay(500);
  const member = random.pick(cluster.members);
  const set = (offsetMs: number): void => {
    for (const { clock } of cluster.members) clock.set(offsetMs);
  };
  try {
    await turns.take(member.name, async () => {
      await killProcess(member, parts);
      set(-HOUR_MS * random.next());
    });
    await mustBeTakenOver(member, parts);
    await delay(CLOCK_BACK_MS - TAKEN_OVER_WITHIN_MS);
  } finally {
    set(0);
  }
  return 'all';
}
