import { setTimeout as delay } from 'node:timers/promises';
import type { DatabaseView, HeldLease } from './database-view';
import type { Excuses } from './excuses';
import { type Actions, InVain, LOCKS_HELD, type Parts } from './fault-injector';
import type { FaultyCluster, Member } from './faulty-cluster';
import { TERMS } from './setting';

/** Statements that lock a user's row, usually in a transaction. */
const LOCKS = /UPDATE "?users"? SET "?event_seq|FOR UPDATE(?! SKIP)/;
/** How long to wait for the process to be in a transaction; it may do nothing at all. */
const LOCKS_WITHIN_MS = 10_000;
/** By then the statements that the process had sent are done, and the transaction is visibly idle. */
const STANDS_AFTER_MS = 300;
/** Some are longer than the term of a lease. */
const PAUSES_MS = [3_000, 15_000, 40_000];

/** Five seconds are promised; this allows for a busy machine, and is clearly less than the term of a lease. */
const TAKEN_OVER_WITHIN_MS = 15_000;
const LOOK_AGAIN_MS = 250;
/** If the machine is too busy for this many looks in that time, the servers had too little time as well. */
const LEAST_LOOKS = 30;
/** How long the clock is behind before it is right again. */
const CLOCK_BACK_MS = 20_000;
const HOUR_MS = 3_600_000;
const TERM_MS = Number(TERMS.OPERATION_CLAIM_SECONDS) * 1_000;
/** Bound for runs in which the watching processes die as well. */
const MOST_TERMS = 10;

/** Faults of the server processes. */
export function processFaults(parts: Parts): Actions<'process_kill' | 'process_pause' | 'process_clock_back'> {
  const { cluster, random, turns } = parts;
  return {
    process_kill: () => processKill(parts),
    process_pause: (begin) => {
      const member = cluster.pick(random);
      return turns.take([LOCKS_HELD, member.name], () => pauseProcess(member, parts), begin);
    },
    // No other fault may prevent takeovers meanwhile.
    process_clock_back: (begin) => turns.take([LOCKS_HELD, 'postgres'], () => setClocksBack(parts), begin),
  };
}

export async function processKill(parts: Parts): Promise<string> {
  const { cluster, random, turns } = parts;
  // Skips processes that another fault has taken: kills would queue up, and then come all at once.
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

/** Resolves when a live process has watched the old leases for a whole term: only then does it take them over. */
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
 * A dead process's leases must be taken over long before they expire. The holder of a lease is not visible from
 * outside, but a live holder releases or renews its lease within a third of the term.
 *
 * @returns whether this could be checked: another process must live, without a fault that excuses delays
 */
async function mustBeTakenOver(dead: Member, { cluster, database, excuses, journal }: Parts): Promise<boolean> {
  const since = Date.now();
  const others = cluster.members.filter(({ up, name }) => up && name !== dead.name).map((member) => ({ ...member }));
  const before = (await database.leases().catch(() => [])).filter(isHeld);
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

/** What could not be undone has no holder, and waits for Docker. */
function isHeld({ expiresAt }: HeldLease): boolean {
  return Date.parse(expiresAt) > 0;
}

/**
 * Whether leases may have stayed for a reason: the database was away or locked, a dead process's connections still
 * stand, or a node does not answer.
 */
export function isDisturbed(excuses: Excuses, since: number): boolean {
  const excused = excuses.since(since, { member: '', user: '' });
  return (['database_down', 'database_busy', 'death_unseen', 'node_silent'] as const).some((excuse) =>
    excused.has(excuse),
  );
}

/** @returns the leases that were not ended, renewed or taken over in between */
export function leftAlone(before: readonly HeldLease[], after: readonly HeldLease[]): HeldLease[] {
  return before.filter(({ operationId, expiresAt }) =>
    after.some((lease) => lease.operationId === operationId && lease.expiresAt === expiresAt),
  );
}

/** Pauses the process in the middle of a transaction, so that others wait for its locks. */
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
  // After the pause, answers that arrived meanwhile are too late for it.
  const { name } = member;
  return excuses.during('database_busy', {}, () =>
    excuses.during('database_down', { member: name }, () =>
      excuses.during('stood_still', { member: name }, standStill),
    ),
  );
}

/** Pauses the process, in a transaction if possible. @returns whether it is in a transaction */
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

/** Pauses the process as soon as it has asked for a lock, or at the deadline. */
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

/** Sets the machine's clock back at the moment when a process dies. Existing leases then expire far in the future. */
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
