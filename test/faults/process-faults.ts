import { setTimeout as delay } from 'node:timers/promises';
import type { DatabaseView, HeldLease } from './database-view';
import type { Excuses } from './excuses';
import { type Actions, InVain, LOCKS_HELD, type Parts } from './fault-injector';
import type { FaultyCluster, Member } from './faulty-cluster';
import { TERMS } from './setting';

/** What locks the row of a user, in a transaction mostly. */
const LOCKS = /UPDATE "?users"? SET "?event_seq|FOR UPDATE(?! SKIP)/;
/** How long is tried to catch a process in a transaction; it may do nothing at all. */
const LOCKS_WITHIN_MS = 10_000;
/** By when what it had sent is done, and what it had not is seen to be missing. */
const STANDS_AFTER_MS = 300;
/** Beyond the term of a lease, some of them. */
const PAUSES_MS = [3_000, 15_000, 40_000];

/** Of the promised five seconds, on a machine that has other work; clearly less than the term of a lease. */
const TAKEN_OVER_WITHIN_MS = 15_000;
const LOOK_AGAIN_MS = 250;
/** Where the machine is so busy that fewer looks fit into the time, the servers have not had it either. */
const LEAST_LOOKS = 30;
/** A clock is behind for so long, and then right again. */
const CLOCK_BACK_MS = 20_000;
const HOUR_MS = 3_600_000;
const TERM_MS = Number(TERMS.OPERATION_CLAIM_SECONDS) * 1_000;
/** However often those who watch die as well. */
const MOST_TERMS = 10;

/** What happens to the server processes. */
export function processFaults(parts: Parts): Actions<'process_kill' | 'process_pause' | 'process_clock_back'> {
  const { cluster, random, turns } = parts;
  return {
    process_kill: () => processKill(parts),
    process_pause: (begin) => {
      const member = cluster.pick(random);
      return turns.take(LOCKS_HELD, () => {
        begin();
        return turns.take(member.name, () => pauseProcess(member, parts));
      });
    },
    // Nothing else may be what keeps leases from being taken over.
    process_clock_back: (begin) =>
      turns.take(LOCKS_HELD, () => {
        begin();
        return turns.take('postgres', () => setClocksBack(parts));
      }),
  };
}

export async function processKill(parts: Parts): Promise<string> {
  const { cluster, random, turns } = parts;
  // Not one that another fault is at: kills would queue up behind it, and then come all at once.
  const free = cluster.members.filter(({ up, name }) => up && !turns.isTaken(name));
  if (free.length === 0) throw new InVain('every process is down or taken');
  const member = random.pick(free);
  await turns.take(member.name, () => killProcess(member, parts));
  await mustBeTakenOver(member, parts);
  return member.name;
}

async function killProcess(member: Member, { cluster, excuses }: Parts): Promise<void> {
  if (!member.up) throw new InVain(`${member.name} is down already`);
  if (member.leftConnections) void excuses.during('death_unseen', {}, () => watchedForATerm(cluster));
  await cluster.kill(member);
}

/** Resolves when a live process has seen the leases of before for a whole term: only then does it take them over. */
async function watchedForATerm({ members }: Pick<FaultyCluster, 'members'>): Promise<void> {
  const since = new Map<string, number>();
  for (const deadline = Date.now() + MOST_TERMS * TERM_MS; Date.now() < deadline;) {
    for (const { name, up, paused, deaths, pauses } of members) {
      if (!up || paused) continue;
      const life = `${name} ${String(deaths)} ${String(pauses)}`;
      since.set(life, since.get(life) ?? Date.now());
      if (Date.now() - (since.get(life) ?? 0) >= TERM_MS) return;
    }
    await delay(LOOK_AGAIN_MS, undefined, { ref: false });
  }
}

/**
 * What a dead process held is taken over by others long before its leases run out. Who holds a lease is not seen from
 * outside; but a live holder lets go of it or renews it within a third of its term.
 *
 * @returns whether it could be looked at: somebody has to be there, and nothing in the way
 */
async function mustBeTakenOver(dead: Member, { cluster, database, excuses, journal }: Parts): Promise<boolean> {
  const since = Date.now();
  const others = cluster.members.filter(({ up, name }) => up && name !== dead.name).map((member) => ({ ...member }));
  const before = await database.leases().catch(() => []);
  let left = before;
  for (let looks = 0; left.length > 0; looks += 1) {
    if (looks >= LEAST_LOOKS && Date.now() - since > TAKEN_OVER_WITHIN_MS) break;
    await delay(LOOK_AGAIN_MS);
    left = leftAlone(left, await database.leases().catch(() => []));
  }
  const survived = cluster.members.some(({ name, deaths }) =>
    others.some((other) => other.name === name && other.deaths === deaths),
  );
  const isLookedAt = survived && !isDisturbed(excuses, since);
  const ms = Date.now() - since;
  const details = { member: dead.name, held: before.length, ms };
  journal.note('takeover', isLookedAt ? 'looked at' : 'not looked at', details);
  if (isLookedAt && left.length > 0) {
    journal.complain(`${dead.name} died, and ${String(ms)} ms later there is still ${JSON.stringify(left)}`);
  }
  return isLookedAt;
}

/**
 * Whether leases may have stayed for a reason: the database was away, a live process stood still, a dead one seems to
 * live, or what they are on does not answer.
 */
export function isDisturbed(excuses: Excuses, since: number): boolean {
  const excused = excuses.since(since, { member: '', user: '' });
  return (['database_down', 'database_busy', 'death_unseen', 'node_silent'] as const).some((excuse) =>
    excused.has(excuse),
  );
}

/** @returns the leases that nobody has ended, renewed or taken over in between */
export function leftAlone(before: readonly HeldLease[], after: readonly HeldLease[]): HeldLease[] {
  return before.filter(({ operationId, expiresAt }) =>
    after.some((lease) => lease.operationId === operationId && lease.expiresAt === expiresAt),
  );
}

/** In the middle of a transaction, so that others wait for what it holds. */
async function pauseProcess(member: Member, { database, excuses, random, journal }: Parts): Promise<string> {
  const ms = random.pick(PAUSES_MS);
  if (!member.up) throw new InVain(`${member.name} is down`);
  const standStill = async (): Promise<string> => {
    try {
      const where = (await caughtInTransaction(member, database)) ? 'in a transaction' : 'at rest';
      await delay(ms);
      journal.note('pause', where, { member: member.name, ms });
      return `${member.name}, ${where}`;
    } finally {
      resume(member);
    }
  };
  // When it goes on, the answers that had come meanwhile are late for it.
  const { name } = member;
  return excuses.during('database_busy', {}, () =>
    excuses.during('database_down', { member: name }, () =>
      excuses.during('stood_still', { member: name }, standStill),
    ),
  );
}

/** Pauses it, in a transaction if it can be caught in one. @returns whether it is */
async function caughtInTransaction(member: Member, database: DatabaseView): Promise<boolean> {
  const deadline = Date.now() + LOCKS_WITHIN_MS;
  for (;;) {
    await pauseAtLock(member, deadline);
    await delay(STANDS_AFTER_MS);
    const stands = await database.transactionStands(STANDS_AFTER_MS / 2).catch(() => false);
    if (stands || Date.now() > deadline) return stands;
    resume(member);
  }
}

/** Pauses it as soon as it has asked for a lock, or at the deadline. */
async function pauseAtLock(member: Member, deadline: number): Promise<void> {
  const { database } = member;
  const asked = new AbortController();
  if (database) {
    database.onRequest = (chunk) => {
      if (!LOCKS.test(chunk.toString('latin1'))) return;
      database.onRequest = null;
      pause(member);
      asked.abort();
    };
  }
  await delay(Math.max(0, deadline - Date.now()), undefined, { signal: asked.signal }).catch(() => undefined);
  if (database) database.onRequest = null;
  if (!member.paused) pause(member);
}

function pause(member: Member): void {
  member.process.pause();
  member.paused = true;
  member.pauses += 1;
}

function resume(member: Member): void {
  member.process.resume();
  member.paused = false;
}

/** The machine's clock steps back, in the moment in which a process dies; leases of before lie far ahead then. */
async function setClocksBack(parts: Parts): Promise<string> {
  const { cluster, random, turns, excuses } = parts;
  while (isDisturbed(excuses, Date.now())) await delay(500);
  const member = random.pick(cluster.members);
  const set = (offsetMs: number): void => {
    for (const { clock } of cluster.members) clock.set(offsetMs);
  };
  const since = Date.now();
  try {
    await turns.take(member.name, async () => {
      await killProcess(member, parts);
      set(-HOUR_MS * random.next());
    });
    if (!(await mustBeTakenOver(member, parts))) throw new InVain('other faults were in the way');
    await delay(Math.max(0, since + CLOCK_BACK_MS - Date.now()));
  } finally {
    set(0);
  }
  return 'all';
}
