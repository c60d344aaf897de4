import { Logger } from '@nestjs/common';
import { setImmediate as turn } from 'node:timers/promises';
import { UserEntity } from '../../src/auth';
import { sql } from '../../src/database';
import type { EventDraft } from '../../src/events';
import { EventEntity } from '../../src/events/log';
import { LocalSignals } from '../../src/signals';
import { draft, EventsProcess, range, Told } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

let testDatabase: TestDatabase;
let one: EventsProcess;
let userId: string;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  one = await EventsProcess.start({ url: testDatabase.url, signals: new LocalSignals() });
});

afterAll(async () => {
  await one.stop();
  await testDatabase.drop();
});

beforeEach(async () => {
  userId = await one.newUser();
});

afterEach(() => jest.restoreAllMocks());

const readAll = () => one.log.read({ userId, after: 0, limit: 10_000 });

async function forget(upTo: number): Promise<void> {
  const old = new Date(Date.now() - 3_600_000);
  const { manager } = one.database;
  await manager
    .createQueryBuilder()
    .update(EventEntity)
    .set({ createdAt: old })
    .where('user_id = :userId AND seq <= :upTo', { userId, upTo })
    .execute();
  await one.retention.prune(new Date(Date.now() - 1_800_000));
}

describe('the event log', () => {
  it('must number the events of concurrent transactions 1…n without gap, whatever is rolled back', async () => {
    const committed: string[] = [];
    const reading = new AbortController();
    // PostgreSQL has events and change in one statement too, which changes nothing where it would be rolled back.
    const atOnce = async (number: number, drafts: EventDraft[]): Promise<void> => {
      const changed = sql`changed AS (SELECT 1 WHERE ${number % 5 !== 0}::boolean AND EXISTS (SELECT FROM owner))`;
      const write = () => one.log.appendWith({ userId, drafts }, changed);
      if (!(await one.database.runStatementLocking(userId, write))) throw new Error('nothing was changed');
    };
    const transactions = Promise.all(
      range(1, 200).map(async (number) => {
        const name = String(number);
        const drafts = number % 3 === 0 ? [draft(name), draft(name)] : [draft(name)];
        const inSteps = async (): Promise<void> => {
          await one.log.append({ userId, drafts });
          if (number % 5 === 0) throw new Error('rolled back');
        };
        const isAtOnce = !one.database.isSqlite && number % 2 === 0;
        const work = isAtOnce ? atOnce(number, drafts) : one.database.runInTx(inSteps);
        await work.then(
          () => committed.push(name),
          () => undefined,
        );
      }),
    );
    const reader = (async () => {
      // In commit order: whoever reads at any time sees a beginning of the whole, never a hole that is filled later.
      while (!reading.signal.aborted) {
        const seqs = (await readAll()).map(({ seq }) => seq);
        expect(seqs).toEqual(range(1, seqs.length));
        await turn();
      }
    })();
    await transactions;
    reading.abort();
    await reader;
    const events = await readAll();
    expect(events.map(({ seq }) => seq)).toEqual(range(1, events.length));
    expect(await one.log.lastSeq(userId)).toBe(events.length);
    const names = new Set(events.map(({ data }) => ('message' in data ? data.message : '')));
    expect([...names].sort()).toEqual(committed.sort());
    const times = events.map(({ timestamp }) => timestamp);
    expect(times).toEqual([...times].sort());
  });

  it('must write no event without its change, and no change without its event', async () => {
    const change = async (tier: string, fail: boolean) =>
      one.database.runInTx(async () => {
        await one.database.manager.update(UserEntity, { id: userId }, { tier });
        await one.log.append({ userId, drafts: [draft(tier)] });
        if (fail) throw new Error('rolled back');
      });
    await change('free', false);
    await expect(change('enterprise', true)).rejects.toThrow('rolled back');
    const user = await one.database.manager.findOneByOrFail(UserEntity, { id: userId });
    expect([user.tier, user.eventSeq, (await readAll()).length]).toEqual(['free', 1, 1]);
  });

  it('must refuse to append outside of a transaction', async () => {
    await expect(one.log.append({ userId, drafts: [draft('alone')] })).rejects.toThrow('outside a transaction');
    expect(await one.log.lastSeq(userId)).toBe(0);
  });

  it('must refuse an event of a user who does not exist', async () => {
    await expect(one.commit('nobody', 'x')).rejects.toThrow('does not exist');
  });

  it('must give back what was appended, to the millisecond', async () => {
    const before = Date.now();
    const appended = await one.commit(userId, 'ünï ✓', 'two');
    expect(await readAll()).toEqual(appended);
    expect(appended[0]?.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const at = Date.parse(appended[0]?.timestamp ?? '');
    expect([at >= before, at <= Date.now()]).toEqual([true, true]);
  });

  it('must read in pages, in order', async () => {
    await one.commit(userId, 'a', 'b', 'c', 'd', 'e');
    const page = await one.log.read({ userId, after: 1, limit: 3 });
    expect(page.map(({ seq }) => seq)).toEqual([2, 3, 4]);
    expect(await one.log.read({ userId, after: 5, limit: 3 })).toEqual([]);
  });

  it('must forget what is older than asked, in batches, and nothing else', async () => {
    for (let batch = 0; batch < 5; batch += 1) await one.commit(userId, ...range(1, 500).map(String));
    await forget(2_300);
    expect((await readAll()).map(({ seq }) => seq)).toEqual(range(2_301, 2_500));
    expect(await one.log.lastSeq(userId)).toBe(2_500);
    await forget(2_500);
    expect(await readAll()).toEqual([]);
  });
});

describe('the event feed', () => {
  it('must replay after any point while appends go on: exactly after+1…n, in order, once', async () => {
    const half = 40;
    for (let seq = 1; seq <= half; seq += 1) await one.commit(userId, String(seq));
    const followers: { after: number; told: Told }[] = [];
    const appends = (async () => {
      for (let done = 0; done < 15; done += 1) {
        await Promise.all([one.commit(userId, 'x'), one.commit(userId, 'y', 'z'), one.commit(userId, 'w')]);
      }
    })();
    await Promise.all(
      range(0, half).map(async (after) => {
        for (let turns = after % 7; turns > 0; turns -= 1) await turn();
        followers.push({ after, told: await new Told().follow(one.feed, { userId, after }) });
      }),
    );
    await appends;
    const last = await one.log.lastSeq(userId);
    expect(last).toBe(half + 60);
    for (const { after, told } of followers) {
      await eventually(() => expect(told.all).toEqual(range(after + 1, last)));
      told.close();
    }
  });

  it('must begin at the present without `after`, before it resolves', async () => {
    await one.commit(userId, 'before');
    const told = await new Told().follow(one.feed, { userId });
    await one.commit(userId, 'after');
    expect(told.all).toEqual([2]);
    told.close();
  });

  it('must deliver a commit without asking the database', async () => {
    const told = await new Told().follow(one.feed, { userId });
    const read = jest.spyOn(one.log, 'read');
    const appended = await one.commit(userId, 'a', 'b');
    expect(told.events).toEqual(appended);
    expect(read).not.toHaveBeenCalled();
    told.close();
  });

  it('must deliver nothing of a transaction that is rolled back', async () => {
    const told = await new Told().follow(one.feed, { userId });
    const failing = one.database.runInTx(async () => {
      await one.log.append({ userId, drafts: [draft('never')] });
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    await one.commit(userId, 'once');
    expect(told.events.map(({ data }) => data)).toEqual([draft('once').data]);
    told.close();
  });

  it('must not deliver one user another user’s events', async () => {
    const other = await one.newUser();
    const told = await new Told().follow(one.feed, { userId });
    await one.commit(other, 'not yours');
    await one.commit(userId, 'yours');
    expect(told.events.map(({ data }) => data)).toEqual([draft('yours').data]);
    told.close();
  });

  it('must ask for a resync once when what was missed is pruned, then go on live', async () => {
    await one.commit(userId, ...range(1, 10).map(String));
    await forget(5);
    const gone = await new Told().follow(one.feed, { userId, after: 3 });
    const kept = await new Told().follow(one.feed, { userId, after: 5 });
    await eventually(() => expect([gone.all, kept.all]).toEqual([['resync 10'], range(6, 10)]));
    await one.commit(userId, '11');
    expect([gone.all, kept.all]).toEqual([['resync 10', 11], range(6, 11)]);
    await forget(11);
    const nothing = await new Told().follow(one.feed, { userId, after: 10 });
    const upToDate = await new Told().follow(one.feed, { userId, after: 11 });
    await one.commit(userId, '12');
    await eventually(() => expect([nothing.all, upToDate.all]).toEqual([['resync 11', 12], [12]]));
    for (const told of [gone, kept, nothing, upToDate]) told.close();
  });

  it('must ask for a resync when the client is ahead of the database', async () => {
    await one.commit(userId, 'a', 'b');
    const told = await new Told().follow(one.feed, { userId, after: 3 });
    await one.commit(userId, 'c');
    expect(told.all).toEqual(['resync 2', 3]);
    told.close();
  });

  it('must wait out a database that fails, and skip nothing', async () => {
    await one.commit(userId, 'a', 'b', 'c');
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation();
    const read = jest.spyOn(one.log, 'read');
    for (let failures = 0; failures < 3; failures += 1) read.mockRejectedValueOnce(new Error('connection lost'));
    const told = await new Told().follow(one.feed, { userId, after: 0 });
    await one.commit(userId, 'd');
    await eventually(() => expect(told.all).toEqual([1, 2, 3, 4]));
    expect(logged).toHaveBeenCalledTimes(1);
    told.close();
  });

  it('must not let a subscriber that throws harm another', async () => {
    jest.spyOn(Logger.prototype, 'error').mockImplementation();
    const broken = await one.feed.subscribe({
      userId,
      onEvent: () => {
        throw new Error('broken subscriber');
      },
      onResyncRequired: () => undefined,
    });
    const told = await new Told().follow(one.feed, { userId });
    await one.commit(userId, 'a');
    await one.commit(userId, 'b');
    expect(told.all).toEqual([1, 2]);
    broken.close();
    told.close();
  });

  it('must call nobody after close, and must be able to begin again', async () => {
    const told = await new Told().follow(one.feed, { userId });
    told.close();
    await one.commit(userId, 'a');
    const again = await new Told().follow(one.feed, { userId, after: 0 });
    await eventually(() => expect(again.all).toEqual([1]));
    expect(told.all).toEqual([]);
    again.close();
  });
});
