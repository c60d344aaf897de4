import { setImmediate as turn } from 'node:timers/promises';
import { OpenConnections, TokenService } from '../../src/auth';
import { EventFeed } from '../../src/events';
import { EventStream, MAX_WAITING_WRITES } from '../../src/http/server-sent-events';
import { LOGGER, type Logger } from '../../src/logging';
import { EventStreamClient, type StreamRequest } from '../support/clients/event-stream-client';
import { range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { SocketClient } from '../support/clients/socket-client';
import { SocketServer } from '../support/servers/socket-server';
import type { NewUser } from '../support/servers/berth';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const ORIGIN = 'https://app.example.org';
const large = 'x'.repeat(20_000);

let testDatabase: TestDatabase;
let server: SocketServer;
let user: NewUser;
let clients: EventStreamClient[] = [];

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  server = await start();
});

beforeEach(async () => {
  followStreams();
  user = await server.user();
});

afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  jest.restoreAllMocks();
  await expectNothingLeft();
});

afterAll(async () => {
  await server.stop();
  await testDatabase.drop();
});

const start = () => SocketServer.start({ url: testDatabase.url, environment: { CORS_ORIGINS: ORIGIN } });

async function open(options: Partial<StreamRequest> = {}): Promise<EventStreamClient> {
  const client = await EventStreamClient.open({ url: server.url, token: user.token, ...options });
  clients.push(client);
  return client;
}

const follow = async (options?: Partial<StreamRequest>) => (await open(options)).opened();

/** Whatever became of the streams: nothing goes on for them. */
async function expectNothingLeft(): Promise<void> {
  const { channels } = server.app.get<{ channels: Map<string, unknown> }>(EventFeed);
  const { open: connections } = server.app.get<{ open: Set<unknown> }>(OpenConnections);
  await eventually(() => expect([channels.size, connections.size, openStreams.size]).toEqual([0, 0, 0]));
}

/** All streams as the server has them. */
const openStreams = new Set<EventStream>();
const openStream = EventStream.prototype.open;

function followStreams(): void {
  jest.spyOn(EventStream.prototype, 'open').mockImplementation(function (this: EventStream, head) {
    openStreams.add(this);
    this.onClose(() => openStreams.delete(this));
    openStream.call(this, head);
  });
}

function waitingOf(stream: EventStream): number {
  return (stream as unknown as { waiting: number }).waiting;
}

/** The most writes that any stream had waiting, as the server saw it. */
function watchOutboxes(): { most: () => number } {
  let most = 0;
  const send = EventStream.prototype.send;
  jest.spyOn(EventStream.prototype, 'send').mockImplementation(function (this: EventStream, event) {
    send.call(this, event);
    most = Math.max(most, waitingOf(this));
  });
  return { most: () => most };
}

describe('a stream of events', () => {
  it('must be what a Socket.IO client is sent, replayed and live, in the same order', async () => {
    await server.commit(user.id, ...range(1, 450).map((n) => `ünï ✓\n\n${n}`));
    const socket = await new SocketClient(server.url, { token: user.token, after: 120 }).connected();
    const more = Promise.all(range(1, 50).map((n) => server.commit(user.id, `more ${n}`)));
    const stream = await follow({ after: 120 });
    await more;
    await eventually(() => expect(socket.seqs).toEqual(range(121, 500)));
    await eventually(() => expect(stream.events).toEqual(socket.events));
    expect(stream.told.map(({ id, name }) => [id, name])).toEqual(
      socket.events.map(({ seq, type }) => [`${seq}`, type]),
    );
    expect(stream.retry).toBeGreaterThan(0);
    socket.socket.close();
  });

  it('must have the head of an event stream, and what every answer has', async () => {
    const stream = await follow({ headers: { origin: ORIGIN, 'x-request-id': 'mine-1' } });
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-request-id': 'mine-1',
      'access-control-allow-origin': ORIGIN,
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    });
    const head = await fetch(`${server.url}/api/events/stream`, {
      method: 'HEAD',
      headers: { authorization: `Bearer ${user.token}` },
    });
    expect([head.status, head.headers.get('content-type'), await head.text()]).toEqual([200, 'text/event-stream', '']);
  });

  it('must never hold another user’s events', async () => {
    const other = await server.user();
    const [mine, theirs] = [await follow(), await follow({ token: other.token })];
    await server.commit(user.id, 'mine');
    await server.commit(other.id, 'theirs');
    await eventually(() => expect([mine, theirs].map(({ seqs }) => seqs)).toEqual([[1], [1]]));
    expect(mine.events[0]?.data).toMatchObject({ message: 'mine' });
  });

  it('must be gone on with after a cut, by `Last-Event-ID`, whatever `after` says', async () => {
    const first = await follow({ after: 0 });
    await server.commit(user.id, 'a', 'b');
    await eventually(() => expect(first.seqs).toEqual([1, 2]));
    first.close();
    await server.commit(user.id, 'c', 'd');
    const second = await follow({ after: 0, lastEventId: first.lastEventId });
    await server.commit(user.id, 'e');
    await eventually(() => expect(second.seqs).toEqual([3, 4, 5]));
  });

  it('must begin at the present without either, and be gone on with from there even if nothing came', async () => {
    await server.commit(user.id, 'before');
    const first = await follow({ lastEventId: '' });
    expect(first.lastEventId).toBe('1');
    first.close();
    await server.commit(user.id, 'between');
    const second = await follow({ lastEventId: first.lastEventId });
    await eventually(() => expect(second.seqs).toEqual([2]));
    expect(first.seqs).toEqual([]);
  });

  it('must not miss what is committed as soon as the client has the head', async () => {
    const feed = server.app.get(EventFeed);
    const subscribe = feed.subscribe.bind(feed);
    // As slow as can be: the server begins to follow the events when the first is committed already.
    let committed: () => void = () => undefined;
    const commit = new Promise<void>((resolve) => (committed = resolve));
    jest.spyOn(feed, 'subscribe').mockImplementationOnce(async (options) => {
      await commit;
      return subscribe(options);
    });
    const stream = await open();
    const [event] = await server.commit(user.id, 'at once');
    committed();
    await eventually(() => expect(stream.events).toEqual([event]));
  });

  it('must say `resync_required` where what was missed is not kept or never was, and go on from there', async () => {
    await server.commit(user.id, ...range(1, 10).map(String));
    await server.forget(user.id, 5);
    const [gone, ahead, kept] = await Promise.all(['3', '99', '5'].map((lastEventId) => follow({ lastEventId })));
    const resync = { id: '10', name: 'resync_required', data: { type: 'resync_required', event_seq: 10 } };
    for (const stream of [gone, ahead]) await eventually(() => expect(stream?.told).toEqual([resync]));
    const [event] = await server.commit(user.id, 'next');
    for (const stream of [gone, ahead]) {
      await eventually(() => expect(stream?.told.slice(1)).toEqual([{ id: '11', name: event?.type, data: event }]));
    }
    await eventually(() => expect(kept?.seqs).toEqual(range(6, 11)));
  });

  it.each<[string, Partial<StreamRequest>]>([
    ['after', { after: -1 }],
    ['after', { after: 'x' }],
    ['last-event-id', { lastEventId: 'x' }],
    ['last-event-id', { lastEventId: '-1' }],
    ['last-event-id', { lastEventId: '9'.repeat(16) }],
  ])('must be refused with a 400 that names %s: %j', async (_field, options) => {
    const answer = await open(options);
    expect([answer.status, answer.headers['content-type']]).toEqual([400, 'application/json; charset=utf-8']);
  });

  it('must be refused by an ordinary answer while the database does not answer', async () => {
    jest.spyOn(server.app.get(TokenService), 'verify').mockRejectedValueOnce(new Error('no database'));
    expect((await open()).status).toBe(500);
  });

  it('must be cut when it cannot be served, so that the client comes back', async () => {
    let fail: (error: Error) => void = () => undefined;
    const failure = new Promise<never>((_resolve, reject) => (fail = reject));
    jest.spyOn(server.app.get(EventFeed), 'subscribe').mockReturnValueOnce(failure);
    const stream = await follow();
    fail(new Error('no database'));
    await eventually(() => expect(stream.ending).toBe('cut'));
  });

  it('must be limited in number for a user, also when many are made at once, and be possible again when one has gone', async () => {
    const many = await Promise.all(range(1, 55).map(() => open()));
    const refused = many.filter(({ status }) => status !== 200);
    expect(refused.map(({ status }) => status)).toEqual([429, 429, 429, 429, 429]);
    expect((await open({ token: (await server.user()).token })).status).toBe(200);
    many.find(({ status }) => status === 200)?.close();
    await eventually(async () => expect((await open()).status).toBe(200));
  });

  it('must leave one line in the access log, at its end, however it ends', async () => {
    const logger = server.app.get<Logger>(LOGGER);
    jest.spyOn(logger, 'isLevelEnabled').mockReturnValue(true);
    const info = jest.spyOn(logger, 'info');
    const lines = () => info.mock.calls.map(([line]) => line as Record<string, unknown>);
    const stream = await follow();
    expect(lines()).toEqual([]);
    stream.close();
    const line = {
      route: '/api/events/stream',
      status: 200,
      user_id: user.id,
      request_id: stream.headers['x-request-id'],
    };
    await eventually(() => expect(lines()).toEqual([expect.objectContaining({ ...line, ms: expect.any(Number) })]));
    await follow();
    await server.app.get(TokenService).revoke({ userId: user.id, tokenId: user.tokenId });
    await eventually(() => expect(lines()).toHaveLength(2));
  });
});

describe('a client that does not read', () => {
  it('must be cut off past a bound, harm nobody else, and miss nothing when it comes back', async () => {
    const outboxes = watchOutboxes();
    const [stuck, reads] = [await follow({ after: 0 }), await follow({ after: 0 })];
    stuck.pause();
    let committed = 0;
    while (openStreams.size === 2) {
      // Some MiB lie in the kernel's buffers before anything has to wait here.
      expect(committed).toBeLessThan(4 * MAX_WAITING_WRITES);
      await server.commit(user.id, ...range(1, 50).map(() => large));
      committed += 50;
      // SQLite answers without giving way to sockets.
      await turn();
    }
    expect(outboxes.most()).toBe(MAX_WAITING_WRITES);
    await eventually(() => expect(reads.seqs).toEqual(range(1, committed)));
    stuck.resume();
    await eventually(() => expect(stuck.ending).toBe('cut'));
    const back = await follow({ lastEventId: stuck.lastEventId });
    await eventually(() => expect([...stuck.seqs, ...back.seqs]).toEqual(range(1, committed)));
  });

  it('must not be sent a long replay all at once', async () => {
    const outboxes = watchOutboxes();
    for (let batch = 0; batch < 30; batch += 1) await server.commit(user.id, ...range(1, 50).map(() => large));
    const [slow, reads] = [await follow({ after: 0 }), await follow({ after: 0 })];
    slow.pause();
    await eventually(() => expect(reads.seqs).toEqual(range(1, 1_500)));
    await server.commit(user.id, 'now');
    // One page of the replay.
    expect(outboxes.most()).toBeLessThanOrEqual(201);
    slow.resume();
    await eventually(() => expect(slow.seqs).toEqual(range(1, 1_501)));
    expect(slow.ending).toBeNull();
  });
});

describe('the end of a token', () => {
  it('must end its streams when it is revoked, and no others', async () => {
    const tokens = server.app.get(TokenService);
    const other = await tokens.issue({ userId: user.id, name: 'other', scopes: ['read'], expiresAt: null });
    const [stream, stays] = [await follow(), await follow({ token: other.text })];
    await tokens.revoke({ userId: user.id, tokenId: user.tokenId });
    await eventually(() => expect(stream.ending).toBe('complete'));
    await server.commit(user.id, 'for the other alone');
    await eventually(() => expect(stays.seqs).toEqual([1]));
    expect(stream.seqs).toEqual([]);
    expect((await open()).status).toBe(401);
  });

  it('must end its streams when it expires', async () => {
    const expiresAt = new Date(Date.now() + 5_000);
    const stream = await follow({ token: (await server.user({ expiresAt })).token });
    await eventually(() => expect(stream.ending).toBe('complete'));
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime());
  });
});

describe('the end of the server', () => {
  it('must end every stream at once, wait for none that does not read, and lose no event', async () => {
    await server.stop();
    const first = (server = await start());
    user = await server.user();
    const [stream, stuck] = [await follow({ after: 0 }), await follow({ after: 0 })];
    stuck.pause();
    let committed = 0;
    // Till something waits that the kernel does not take any more.
    while (Math.max(...Array.from(openStreams, waitingOf)) === 0) {
      await server.commit(user.id, ...range(1, 50).map(() => large));
      committed += 50;
      await eventually(() => expect(stream.seqs).toEqual(range(1, committed)));
    }
    const stopped = first.stop();
    await eventually(() => expect(stream.ending).toBe('complete'));
    await stopped;
    stuck.resume();
    await eventually(() => expect(stuck.ending).toBe('cut'));
    server = await start();
    await server.commit(user.id, 'meanwhile');
    const back = await follow({ lastEventId: stream.lastEventId });
    await eventually(() => expect(back.seqs).toEqual([committed + 1]));
  });
});
