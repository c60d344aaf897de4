import { setTimeout as delay } from 'node:timers/promises';
import { httpCall, HttpAnswer, HungUp } from '../support/clients/http-call';
import { SeededRandom } from '../support/seeded-random';
import { Excuses } from './excuses';
import { isExpected, type Verb } from './expected-answers';
import { FaultyCluster, Member } from './faulty-cluster';
import { Journal } from './journal';
import { Marks } from './marks';
import { HANG_UP_EVERY, type RunSetting } from './setting';
import { Asked, User } from './user';

/** Pause of a user after a failure; it doubles after each further one. */
const DISCOURAGED_MS = 1_000;
const MOST_DISCOURAGED_MS = 10_000;
/** One mark is written for so many requests. */
const MARK_EVERY = 4;
const HANG_UP_WITHIN_MS = 400;
/** An operation is slow on a busy Docker that is restarted meanwhile. */
const ANSWERED_WITHIN_MS = 120_000;
/** No lock in the database delays requests that only read. */
const READ_WITHIN_MS = 25_000;
const READS: readonly Verb[] = ['list', 'get', 'wait', 'events'];

interface Parts {
  readonly cluster: FaultyCluster;
  readonly marks: Marks;
  readonly excuses: Excuses;
  readonly journal: Journal;
  readonly setting: RunSetting;
  readonly onOperation: (operation: number) => void;
}

/** Runs all users at once, each with one request after the other, until the run has its number of operations. */
export class Traffic {
  private begun = 0;

  constructor(private readonly parts: Parts) {}

  async run(users: readonly { user: User; random: SeededRandom }[]): Promise<void> {
    await Promise.all(users.map(({ user, random }) => this.work(user, random)));
  }

  private async work(user: User, random: SeededRandom): Promise<void> {
    let failures = 0;
    while (this.begun < this.parts.setting.operations) {
      this.begun += 1;
      this.parts.onOperation(this.begun);
      const succeeded = await this.operate(user, random);
      failures = succeeded ? 0 : failures + 1;
      const running = random.chance(1 / MARK_EVERY) ? user.running() : null;
      if (running) await this.parts.marks.write(running.db_id, running.id);
      await delay(failures > 0 ? discouragement(failures) : this.parts.setting.thinkMs * random.next());
    }
  }

  /** @returns false if the request failed; true if the server did not fail, or the client hung up as planned */
  private async operate(user: User, random: SeededRandom): Promise<boolean> {
    const { cluster, excuses, journal, marks } = this.parts;
    const asked = user.next();
    const member = cluster.pick(random);
    const hangUp = random.chance(1 / HANG_UP_EVERY) ? HANG_UP_WITHIN_MS * random.next() : null;
    const [since, before] = [Date.now(), { ...member }];
    const details = { user: user.name, member: member.name, path: `${asked.method} ${asked.path}`, ...asked.body };
    if (asked.verb === 'revert' && asked.target !== undefined) marks.noteRevert(asked.target);
    const outcome = await request(user, asked, { member, hangUp });
    const ms = Date.now() - since;
    const excused = excuses.since(since, { user: user.name, member: member.name });
    if (typeof outcome === 'string') {
      journal.note('operation', `${asked.verb} ${outcome}`, { ...details, ms });
      const wasAway = member.deaths > before.deaths || !before.up || !member.up;
      const stoodStill = member.pauses > before.pauses || before.paused;
      const explained = outcome === 'hung up' || wasAway || (outcome === 'unanswered' && stoodStill);
      if (!explained) journal.complain(`${member.name}: ${details.path} was ${outcome} after ${String(ms)} ms`);
      return outcome === 'hung up';
    }
    const { status, body, headers } = outcome;
    const code = body['code'];
    const words = [asked.verb, status, code].filter(Boolean).join(' ');
    journal.note('operation', words, { ...details, ms, body: brief(body) });
    if (!isExpected(asked.verb, { status, code, retryAfter: headers['retry-after'] }, excused)) {
      journal.complain(`${details.path} was answered ${String(status)} ${JSON.stringify(body)}`);
    }
    user.learn(asked, outcome);
    return status < 500;
  }
}

/** @returns the answer, or a word for the reason why there is none */
async function request(
  { token }: User,
  { verb, method, path, body }: Asked,
  { member, hangUp }: { member: Member; hangUp: number | null },
): Promise<HttpAnswer | string> {
  const hangUpMs = hangUp ?? (READS.includes(verb) ? READ_WITHIN_MS : ANSWERED_WITHIN_MS);
  try {
    return await httpCall(member.url, path, { method, token, body, hangUpMs });
  } catch (error) {
    if (!(error instanceof HungUp)) return 'cut off';
    return hangUp === null ? 'unanswered' : 'hung up';
  }
}

/** Leaves out lists and events: they are long, and can be read again. */
function brief(body: Readonly<Record<string, unknown>>): object {
  const isLong = (name: string): boolean => name === 'containers' || name === 'events';
  return Object.fromEntries(Object.entries(body).filter(([name]) => !isLong(name)));
}

function discouragement(failures: number): number {
  return Math.min(MOST_DISCOURAGED_MS, DISCOURAGED_MS * 2 ** (failures - 1));
}
