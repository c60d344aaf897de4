import { EventEmitter, once } from 'node:events';
import { TokenService } from '../../src/auth';
import { sql } from '../../src/database';
import { UNDISTURBED } from '../../src/events';
import { LocalSignals, SignalMap, SignalType, Signals } from '../../src/signals';
import { SocketClient } from '../support/clients/socket-client';
import { SocketServer } from '../support/servers/socket-server';
import { eventually } from '../support/eventually';
import { openTestDatabase, TestDatabase, testRedisUrl } from '../support/databases/test-database';
import { draft, EventsProcess, range, Told } from '../support/servers/events-process';

/** What one process publishes, all processes on the same wire hear. */
class WireSignals extends LocalSignals {
  constructor(private readonly wire: LocalSignals[]) {
    super();
    wire.push(this);
  }

  override publish<S extends SignalType>(name: S, payload: SignalMap[S]): void {
    super.publish(name, payload);
    for (const other of this.wire) if (other !== this) LocalSignals.prototype.publish.call(other, name, payload);
  }
}

/** Of each user, at once: no more than the connections of a process take in their time on a busy machine. */
const COMMITS = 20;

describe('events of several processes', () => {
  let testDatabase: TestDatabase;
  let processes: EventsProcess[] = [];

  beforeEach(async () => {
    testDatabase = await openTestDatabase();
  });

  afterEach(async () => {
    await Promise.all(processes.map((each) => each.stop()));
    processes = [];
    await testDatabase.drop();
  });

  async function start(signals: readonly Signals[]): Promise<[EventsProcess, EventsProcess]> {
    const { url } = testDatabase;
    const one = await EventsProcess.start({ url, signals: signals[0] ?? new LocalSignals() });
    const two = await EventsProcess.start({ url, signals: signals[1] ?? new LocalSignals() });
    processes = [one, two];
    return [one, two];
  }

  async function expectBothToTellAll(one: EventsProcess, two: EventsProcess): Promise<void> {
    const users = await Promise.all(range(1, 5).map(() => one.newUser()));
    const followers = await Promise.all(
      users.flatMap((userId) => [one, two].map(({ feed }) => new Told().follow(feed, { userId, after: 0 }))),
    );
    await Promise.all(
      users.flatMap((userId) => range(1, COMMITS).map((n) => (n % 2 ? one : two).commit(userId, String(n)))),
    );
    for (const told of followers) await eventually(() => expect(told.all).toEqual(range(1, COMMITS)));
    const [first, second] = followers;
    expect(first?.events).toEqual(second?.events);
    for (const told of followers) told.close();
  }

  it('must all reach every process in order, by signals', async () => {
    const wire: LocalSignals[] = [];
    const [one, two] = await start([new WireSignals(wire), new WireSignals(wire)]);
    // The poll is not started, so nothing but signals can tell.
    await expectBothToTellAll(one, two);
  });

  it('must all reach every process in order when every signal is lost', async () => {
    const [one, two] = await start([]);
    one.feed.onApplicationBootstrap();
    two.feed.onApplicationBootstrap();
    await expectBothToTellAll(one, two);
  });

  it('must undo what a statement read of their user before they were written, though it waited for them', async () => {
    const [one, two] = await start([]);
    const userId = await one.newUser();
    const changed = sql`changed AS (SELECT 1 WHERE ${UNDISTURBED})`;
    const write = async (): Promise<boolean> =>
      (await one.log.appendWith({ userId, drafts: [draft('statement')] }, changed)) !== null;
    const waits = async (): Promise<void> => {
      const locks = 'SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = $1';
      expect(await two.database.manager.query<object[]>(locks, ['Lock'])).toHaveLength(1);
    };
    const written = new EventEmitter();
    const begun = once(written, 'event');
    const transaction = two.database.runInTx(async () => {
      await two.log.append({ userId, drafts: [draft('transaction')] });
      written.emit('event');
      await eventually(waits);
    });
    await begun;
    const statement = one.database.runStatementLocking(userId, write);
    await transaction;
    expect([await statement, await one.log.lastSeq(userId)]).toEqual([false, 1]);
    expect(await one.database.runStatementLocking(userId, write)).toBe(true);
  });

  it('must not stop at a hint of events that do not exist', async () => {
    const wire: LocalSignals[] = [];
    const stranger = new WireSignals(wire);
    const [one, two] = await start([new WireSignals(wire), new WireSignals(wire)]);
    const userId = await one.newUser();
    const told = await new Told().follow(two.feed, { userId });
    stranger.publish('user_events', { userId, seq: 1_000_000 });
    await one.commit(userId, 'a');
    stranger.publish('user_events', { userId, seq: 5 });
    await one.commit(userId, 'b');
    await eventually(() => expect(told.all).toEqual([1, 2]));
    told.close();
  });

  it('must give replays that race with another process’s commits exactly after+1…n', async () => {
    const wire: LocalSignals[] = [];
    const [one, two] = await start([new WireSignals(wire), new WireSignals(wire)]);
    const userId = await one.newUser();
    await one.commit(userId, ...range(1, 450).map(String));
    const commits = Promise.all(range(1, 100).map((n) => (n % 2 ? one : two).commit(userId, String(n))));
    const followers = await Promise.all(
      range(0, 45).map(async (tenth) => ({
        after: tenth * 10,
        told: await new Told().follow(two.feed, { userId, after: tenth * 10 }),
      })),
    );
    await commits;
    for (const { after, told } of followers) {
      await eventually(() => expect(told.all).toEqual(range(after + 1, 550)));
      told.close();
    }
  });

  it('must be pruned by several processes at once without failing', async () => {
    const [one, two] = await start([]);
    const userId = await one.newUser();
    for (let batch = 0; batch < 6; batch += 1) await one.commit(userId, ...range(1, 500).map(String));
    const later = new Date(Date.now() + 1_000);
    const [first, second] = await Promise.all([one.retention.prune(later), two.retention.prune(later)]);
    expect(first + second + (await one.retention.prune(later))).toBe(3_000);
    expect(await one.log.read({ userId, after: 0, limit: 1 })).toEqual([]);
  });

  describe('as whole servers with Redis', () => {
    let servers: SocketServer[] = [];
    let clients: SocketClient[] = [];

    beforeEach(async () => {
      const options = { url: testDatabase.url, environment: { REDIS_URL: testRedisUrl() } };
      servers = [await SocketServer.start(options), await SocketServer.start(options)];
    });

    afterEach(async () => {
      for (const { socket } of clients) socket.close();
      await Promise.all(servers.map((server) => server.stop()));
      [servers, clients] = [[], []];
    });

    it('must reach sockets on every server in order, and a revocation on one must close sockets on the other', async () => {
      const [here, there] = servers as [SocketServer, SocketServer];
      const user = await here.user();
      clients = await Promise.all(
        servers.map(({ url }) => new SocketClient(url, { token: user.token, after: 0 }).connected()),
      );
      await Promise.all(range(1, COMMITS).map((n) => (n % 2 ? here : there).commit(user.id, String(n))));
      for (const client of clients) await eventually(() => expect(client.seqs).toEqual(range(1, COMMITS)));
      await here.app.get(TokenService).revoke({ userId: user.id, tokenId: user.tokenId });
      for (const client of clients) {
        await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
      }
    });
  });
});
