import { Manager } from 'socket.io-client';
import { OpenConnections, TokenService } from '../../src/auth';
import { DomainError } from '../../src/errors';
import { Database } from '../../src/database';
import { EventFeed } from '../../src/events';
import { TokenEntity } from '../../src/auth/token.entity';
import { draft, range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { SocketClient } from '../support/clients/socket-client';
import { SocketServer } from '../support/servers/socket-server';
import type { NewUser } from '../support/servers/berth';

let testDatabase: TestDatabase;
let server: SocketServer;
let clients: SocketClient[] = [];

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  server = await SocketServer.start({ url: testDatabase.url });
});

afterEach(() => {
  for (const { socket } of clients) socket.close();
  clients = [];
  jest.restoreAllMocks();
});

afterAll(async () => {
  await server.stop();
  await testDatabase.drop();
});

function open(...args: ConstructorParameters<typeof SocketClient>): SocketClient {
  const client = new SocketClient(...args);
  clients.push(client);
  return client;
}

const connect = (user: NewUser, auth: object = {}, transports?: string[]) =>
  open(server.url, { token: user.token, ...auth }, transports).connected();

describe('a connection', () => {
  it.each([
    ['no auth', {}],
    ['no token', { token: undefined }],
    ['a token that is no text', { token: { toString: 'x' } }],
    ['a malformed token', { token: 'berth_x' }],
    ['an unknown token', { token: `berth_${'0'.repeat(64)}` }],
  ])('must be refused before it exists with %s', async (_what, auth) => {
    const subscribe = jest.spyOn(server.app.get(EventFeed), 'subscribe');
    const client = open(server.url, auth);
    expect(await client.refused()).toBe('unauthorized');
    expect(client.refusals[0]?.data).toEqual({ error: 'unauthorized', code: 'unauthorized' });
    expect(subscribe).not.toHaveBeenCalled();
    expect(client.disconnects).toEqual([]);
  });

  it('must not be let in by a token in the URL', async () => {
    const user = await server.user();
    expect(await open(`${server.url}?token=${user.token}&access_token=${user.token}`, {}).refused()).toBe(
      'unauthorized',
    );
  });

  it('must be refused for a revoked token and for an expired one', async () => {
    const revoked = await server.user();
    await server.app.get(TokenService).revoke({ userId: revoked.id, tokenId: revoked.tokenId });
    const expired = await server.user({ expiresAt: new Date(Date.now() - 60_000) });
    for (const { token } of [revoked, expired])
      expect(await open(server.url, { token }).refused()).toBe('unauthorized');
  });

  it.each([['write'], ['agent']] as const)('must be refused to a token with scope %s alone', async (scope) => {
    const { token } = await server.user({ scopes: [scope] });
    expect(await open(server.url, { token }).refused()).toBe('insufficient permissions');
  });

  it.each([[-1], [1.5], ['7'], [null], [{}], [2 ** 60]])('must be refused with `after` %j', async (after) => {
    const { token } = await server.user();
    expect(await open(server.url, { token, after }).refused()).toBe('invalid parameters');
  });

  it('must be refused over the bound of sockets per user, and be possible again when one has gone', async () => {
    const user = await server.user();
    const many = await Promise.all(range(1, 50).map(() => connect(user)));
    expect(await open(server.url, { token: user.token }).refused()).toBe('too many connections');
    many[0]?.socket.close();
    await eventually(async () => {
      const client = open(server.url, { token: user.token });
      await eventually(() => expect(client.socket.connected || client.refusals.length > 0).toBe(true));
      expect(client.socket.connected).toBe(true);
    });
  });

  it.each([new Error('no database'), new DomainError('database_busy')])(
    'must be retried by the client when the server could not decide (%s)',
    async (fault) => {
      const user = await server.user();
      jest.spyOn(server.app.get(TokenService), 'verify').mockRejectedValueOnce(fault);
      const client = await connect(user);
      expect(client.refusals).toEqual([]);
    },
  );

  it('must be closed soon when it does not become a socket', async () => {
    const ends: string[] = [];
    const silent = new Manager(server.url, { transports: ['websocket'], reconnection: false });
    silent.on('close', (reason) => ends.push(reason));
    // The client of a refused socket closes the connection itself.
    expect(await open(server.url, { token: 'berth_nonsense' }).refused()).toBe('unauthorized');
    await eventually(() => expect(ends).toEqual(['transport close']));
    await eventually(() => expect(server.io.engine.clientsCount).toBe(0));
  });

  it('must survive what a hostile client sends', async () => {
    const user = await server.user();
    const client = await connect(user);
    client.socket.emit('container_started', { seq: 1 });
    client.socket.emit('disconnect_me', 'x'.repeat(1_000), () => undefined);
    client.socket.emit('[object Object]', JSON.parse('{"__proto__":{"a":1}}'));
    await server.commit(user.id, 'still here');
    await eventually(() => expect(client.seqs).toEqual([1]));
    const broken = await connect(user);
    broken.socket.io.engine.write('2["not json');
    await eventually(() => expect(broken.disconnects).not.toEqual([]));
    const long = await connect(user);
    long.socket.emit('long', 'x'.repeat(70_000));
    await eventually(() => expect(long.disconnects).not.toEqual([]));
    await server.commit(user.id, 'and still');
    await eventually(() => expect(client.seqs).toEqual([1, 2]));
  });
});

describe('events over a socket', () => {
  it.each([['websocket'], ['polling']])(
    'must come under their own name with one argument, over %s',
    async (transport) => {
      const user = await server.user();
      const client = await connect(user, {}, [transport]);
      const [event] = await server.commit(user.id, 'hello');
      await eventually(() => expect(client.told).toEqual([{ name: 'container_progress', payloads: [event] }]));
      expect(Object.keys(client.events[0] ?? {}).sort()).toEqual(['data', 'seq', 'timestamp', 'type']);
    },
  );

  it('must never reach another user', async () => {
    const [mine, other] = [await server.user(), await server.user()];
    const [client, stranger] = [await connect(mine), await connect(other)];
    await server.commit(mine.id, 'mine');
    await server.commit(other.id, 'theirs');
    await eventually(() => expect([client.events, stranger.events].map((events) => events.length)).toEqual([1, 1]));
    expect(client.events[0]?.data).toEqual(draft('mine').data);
    expect(stranger.events[0]?.data).toEqual(draft('theirs').data);
  });

  it('must not reach a client that asks to be in another user’s room, by whatever word and whatever it says of itself', async () => {
    const [mine, other] = [await server.user(), await server.user()];
    const auth = { userId: mine.id, user_id: mine.id, room: `user:${mine.id}`, rooms: [`user:${mine.id}`], after: 0 };
    const stranger = await connect(other, auth);
    for (const word of ['join', 'subscribe', 'room', 'rooms', 'user', 'message', `user:${mine.id}`]) {
      stranger.socket.emit(word, `user:${mine.id}`);
      stranger.socket.emit(word, { room: `user:${mine.id}`, user_id: mine.id });
    }
    await server.commit(mine.id, 'mine');
    await server.commit(other.id, 'theirs');
    await eventually(() => expect(stranger.events.map(({ data }) => data)).toEqual([draft('theirs').data]));
  });

  it('must reach every socket of the user', async () => {
    const user = await server.user();
    const all = await Promise.all(range(1, 5).map(() => connect(user)));
    await server.commit(user.id, 'a', 'b');
    for (const client of all) await eventually(() => expect(client.seqs).toEqual([1, 2]));
  });

  it('must be replayed after `after`, in order, then go on live, whatever is committed meanwhile', async () => {
    const user = await server.user();
    await server.commit(user.id, ...range(1, 700).map(String));
    const more = Promise.all(range(1, 50).map((n) => server.commit(user.id, `more ${n}`)));
    const all = await Promise.all([0, 1, 199, 200, 640, 700].map((after) => connect(user, { after })));
    await more;
    for (const [index, after] of [0, 1, 199, 200, 640, 700].entries()) {
      await eventually(() => expect(all[index]?.seqs).toEqual(range(after + 1, 750)));
    }
  });

  it('must not miss what is committed as soon as the client is connected', async () => {
    const user = await server.user();
    const feed = server.app.get(EventFeed);
    const subscribe = feed.subscribe.bind(feed);
    // As slow as can be: the server begins to follow the events when the first is committed already.
    let committed: () => void = () => undefined;
    const commit = new Promise<void>((resolve) => (committed = resolve));
    jest.spyOn(feed, 'subscribe').mockImplementationOnce(async (options) => {
      await commit;
      return subscribe(options);
    });
    const client = open(server.url, { token: user.token });
    await new Promise<void>((resolve) => client.socket.once('connect', resolve));
    const [event] = await server.commit(user.id, 'at once');
    committed();
    await eventually(() => expect(client.events).toEqual([event]));
  });

  it('must be preceded by `resync_required` when `after` is not known here', async () => {
    const user = await server.user();
    await server.commit(user.id, 'a', 'b');
    const client = await connect(user, { after: 7 });
    await server.commit(user.id, 'c');
    await eventually(() => expect(client.told).toHaveLength(2));
    expect(client.told[0]).toEqual({
      name: 'resync_required',
      payloads: [{ type: 'resync_required', event_seq: 2 }],
    });
    expect(client.events[1]?.seq).toBe(3);
  });
});

describe('the end of a token', () => {
  it('must close its sockets when it is revoked, and no others', async () => {
    const user = await server.user();
    const other = await server.app
      .get(TokenService)
      .issue({ userId: user.id, name: 'other', scopes: ['read'], expiresAt: null });
    const [client, stays] = [await connect(user), await connect({ ...user, token: other.text })];
    await server.app.get(TokenService).revoke({ userId: user.id, tokenId: user.tokenId });
    await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
    await server.commit(user.id, 'for the other alone');
    await eventually(() => expect(stays.seqs).toEqual([1]));
    expect(client.seqs).toEqual([]);
  });

  it('must close its sockets also when the signal was lost', async () => {
    const user = await server.user();
    const [client, stays] = [await connect(user), await connect(await server.user())];
    await server.app.get(Database).manager.update(TokenEntity, { id: user.tokenId }, { revokedAt: new Date() });
    await server.app.get(OpenConnections).recheckTokens();
    await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
    expect(stays.socket.connected).toBe(true);
  });

  it('must close its sockets when it expires', async () => {
    const expiresAt = new Date(Date.now() + 5_000);
    const client = await connect(await server.user({ expiresAt }));
    await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime());
  });

  it('must not come early for a token that expires in years', async () => {
    const user = await server.user({ expiresAt: new Date(Date.now() + 10 * 365 * 24 * 3_600_000) });
    const client = await connect(user);
    await server.commit(user.id, 'a');
    await eventually(() => expect(client.seqs).toEqual([1]));
    expect(client.disconnects).toEqual([]);
  });
});

describe('the end of the server', () => {
  it.each([
    ['websocket', ['transport close']],
    // Its next poll may be on the way when the server ends.
    ['polling', ['transport close', 'transport error']],
  ])(
    'must let clients reconnect by themselves, here or elsewhere, and miss nothing, over %s',
    async (transport, reasons) => {
      const { url } = testDatabase;
      await server.stop();
      const first = await SocketServer.start({ url });
      const user = await first.user();
      const client = open(
        first.url,
        () => ({ token: user.token, ...(client.seqs.length > 0 && { after: client.seqs.at(-1) }) }),
        [transport],
      );
      await client.connected();
      await first.commit(user.id, 'a');
      await eventually(() => expect(client.seqs).toEqual([1]));
      await first.stop();
      await eventually(() => expect(client.disconnects).toHaveLength(1));
      expect(reasons).toContain(client.disconnects[0]);
      const second = await SocketServer.start({ url, port: first.port });
      await second.commit(user.id, 'b', 'c');
      await eventually(() => expect(client.seqs).toEqual([1, 2, 3]));
      client.socket.close();
      server = second;
    },
  );
});
