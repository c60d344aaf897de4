import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import { HttpListener, Listeners } from '../../src/http';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { RawConnection, requestText } from '../support/clients/raw-connection';

/** What is private of {@link Listeners}. */
interface Watching {
  readonly open: ReadonlyMap<Socket, unknown>;
  readonly maxUnread: number;
  readonly timer: NodeJS.Timeout;
  look(now?: number): void;
}

/** Requests of a connection that may be unanswered. */
const MOST = 8;

let berth: Berth;
let user: TestUser;
/** The requests that the server has begun, by their line. */
const begun: string[] = [];

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine() });
  user = await berth.user();
  berth.app.getHttpServer().on('request', ({ method, url }: IncomingMessage) => {
    begun.push(`${method ?? ''} ${url ?? ''}`);
  });
});

afterEach(() => {
  begun.length = 0;
  RawConnection.closeAll();
});

afterAll(() => berth.stop());

const request = (line: string, headers = '', body = ''): string =>
  requestText(line, `Authorization: Bearer ${user.token}\r\n${headers}`, body);

/** Files of the documentation's page that this process has open. */
function openAssets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes('swagger-ui');
    } catch {
      return false;
    }
  }).length;
}

const watched = (): Watching => berth.app.get<Watching>(Listeners);
const waiting = (): Socket[] =>
  [...watched().open.keys()].filter(({ destroyed, writableLength }) => !destroyed && writableLength > 0);

/** A connection for which bytes wait in the server: the last one of its requests is answered in part. */
async function unread(line = 'GET /api/openapi.json'): Promise<RawConnection> {
  const asked = new RawConnection(berth.url).stopReading();
  const isWaiting = (): boolean => waiting().some(({ remotePort }) => remotePort === asked.socket.localPort);
  while (!isWaiting()) {
    const { length } = begun;
    asked.write(request(line));
    await eventually(() => expect(begun.length).toBe(length + 1));
    await settled(() => Number(isWaiting()));
  }
  return asked;
}

describe('requests that are sent without waiting for answers', () => {
  it('must be begun one after the other', async () => {
    const container = await user.api.running();
    begun.length = 0;
    const wait = `GET /api/containers/${container.db_id}/wait?status=stopped&timeout=60`;
    const asked = new RawConnection(berth.url).write(
      request(wait),
      request('POST /api/tokens', '', JSON.stringify({ name: 'second' })),
      request('GET /api/me'),
    );
    await eventually(() => expect(begun).toEqual([wait]));
    // On another connection, nobody waits for them.
    const other = await new RawConnection(berth.url).write(request('GET /api/tokens')).next();
    expect(other.body).not.toContain('second');
    expect(begun).toHaveLength(2);
    await user.api.stop(container.db_id);
    const answers = [await asked.next(), await asked.next(), await asked.next()];
    expect(answers.map(({ status }) => status)).toEqual([200, 201, 200]);
    expect(begun.slice(-2)).toEqual(['POST /api/tokens', 'GET /api/me']);
  });

  it('must all be answered in their order, in whatever pieces they come', async () => {
    const asked = new RawConnection(berth.url);
    const bodies = Array.from({ length: MOST }, (_, index) => JSON.stringify({ name: `piece-${String(index)}` }));
    const text = bodies.map((body) => request('POST /api/tokens', '', body)).join('');
    for (let at = 0; at < text.length; at += 97) {
      asked.write(text.slice(at, at + 97));
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const body of bodies) {
      const answer = await asked.next();
      expect(answer.status).toBe(201);
      expect(JSON.parse(answer.body)).toMatchObject(JSON.parse(body) as object);
    }
    expect(asked.closed).toBe(false);
  });

  it('keeps all header fields, however many there are', async () => {
    const asked = new RawConnection(berth.url);
    const fields = Array.from({ length: 1_500 }, (_, index) => `a${String(index)}:\r\n`).join('');
    const body = JSON.stringify({ name: 'many-fields' });
    asked.write(request('GET /api/me'), request('POST /api/tokens', fields, body), request('GET /api/me'));
    expect([(await asked.next()).status, (await asked.next()).status, (await asked.next()).status]).toEqual([
      200, 201, 200,
    ]);
  });

  it('begins each in a turn of the event loop of its own', async () => {
    let turn = 0;
    const turns: number[] = [];
    const note = (): void => void turns.push(turn);
    berth.app.getHttpServer().on('request', note);
    let isOver = false;
    const count = (): void => {
      turn += 1;
      if (!isOver) setImmediate(count);
    };
    count();
    const asked = new RawConnection(berth.url).write(requestText('GET /api/me').repeat(MOST));
    for (let index = 0; index < MOST; index += 1) expect((await asked.next()).status).toBe(401);
    isOver = true;
    berth.app.getHttpServer().off('request', note);
    expect(new Set(turns).size).toBe(MOST);
  });

  it('opens one file, and begins nothing more, for a client that does not read', async () => {
    const asked = await unread('GET /api/docs/swagger-ui-bundle.js');
    asked.write(request('GET /api/docs/swagger-ui-bundle.js').repeat(MOST - 2));
    const { length } = begun;
    await settled(() => begun.length);
    expect(begun.length).toBe(length);
    expect(openAssets()).toBeLessThanOrEqual(1);
    asked.socket.destroy();
    await eventually(() => expect(openAssets()).toBe(0));
    await settled(() => begun.length);
    expect(begun.length).toBe(length);
  });
});

describe('a client that does not read', () => {
  // The tests' own looks are all, so that their times are.
  beforeAll(() => clearInterval(watched().timer));
  // Those of other tests.
  beforeEach(() => eventually(() => expect(waiting().length).toBe(0)));

  it('must be cut off when it has taken nothing for half a minute of what waits for it, and no other', async () => {
    const asked = await unread();
    const idle = new RawConnection(berth.url).write(request('GET /api/me'));
    expect((await idle.next()).status).toBe(200);
    const now = performance.now();
    watched().look(now);
    watched().look(now + 29_000);
    expect(waiting().length).toBe(1);
    watched().look(now + 31_000);
    expect(waiting().length).toBe(0);
    asked.socket.resume();
    await eventually(() => expect(asked.closed).toBe(true));
    expect((await idle.write(request('GET /api/me')).next()).status).toBe(200);
  });

  it('must not be cut off as long as it takes some', async () => {
    const { length: before } = begun;
    const asked = await unread();
    asked.write(request('GET /api/openapi.json').repeat(MOST - 1));
    const sent = begun.length - before + MOST - 1;
    const now = performance.now();
    watched().look(now);
    const { length } = begun;
    asked.socket.resume();
    // What the client has read, the kernel has taken; and what was begun next waits again.
    await eventually(() => expect(begun.length).toBeGreaterThan(length));
    asked.socket.pause();
    watched().look(now + 31_000);
    expect(asked.closed).toBe(false);
    asked.socket.resume();
    for (let index = 0; index < sent; index += 1) expect((await asked.next()).status).toBe(200);
  });

  it('must be cut off where too much waits for all of them together, and those first for whom most does', async () => {
    const { maxUnread } = watched();
    const asked = [await unread(), await unread(), await unread()];
    const unreadBytes = waiting().reduce((sum, { writableLength }) => sum + writableLength, 0);
    Object.assign(watched(), { maxUnread: unreadBytes - 1 });
    watched().look();
    Object.assign(watched(), { maxUnread });
    expect(waiting().length).toBe(2);
    for (const each of asked) each.socket.resume();
    await eventually(() => expect(asked.filter(({ closed }) => closed)).toHaveLength(1));
  });
});

describe('CONNECTION_LIMIT', () => {
  const start = (environment: Record<string, string>): Promise<Berth> =>
    Berth.start({ engine: new FakeEngine(), environment: { CONNECTION_LIMIT: '3', ...environment } });

  it('must be how many connections an address has at a time', async () => {
    const limited = await start({});
    const asked = ['127.0.0.1', '127.0.0.1', '127.0.0.1'].map((from) => new RawConnection(limited.url, from));
    for (const each of asked) expect((await each.write(requestText('GET /health/live')).next()).status).toBe(200);
    const further = await new RawConnection(limited.url, '127.0.0.1').next();
    expect([further.status, further.body]).toEqual([429, expect.stringContaining('"too_many_connections"')]);
    const elsewhere = new RawConnection(limited.url, '127.0.0.2').write(requestText('GET /health/live'));
    expect((await elsewhere.next()).status).toBe(200);
    asked[0]?.socket.destroy();
    await eventually(async () => {
      const again = new RawConnection(limited.url, '127.0.0.1').write(requestText('GET /health/live'));
      expect((await again.next()).status).toBe(200);
    });
    await limited.stop();
  });

  it('must not be that of a trusted proxy, whose connections are those of many', async () => {
    const limited = await start({ TRUSTED_PROXIES: '127.0.0.1' });
    for (let index = 0; index < 5; index += 1) {
      const each = new RawConnection(limited.url, '127.0.0.1').write(requestText('GET /health/live'));
      expect((await each.next()).status).toBe(200);
    }
    await limited.stop();
  });
});

it('those who follow the output of a process must count with those of events and statistics', async () => {
  const follower = await berth.user();
  const container = await follower.api.running();
  const path = `/api/containers/${container.db_id}/processes`;
  const started = await follower.api.call('POST', path, { command: ['sleep', '9'] });
  const follow = (at: string): Promise<EventStreamClient> =>
    EventStreamClient.open({ url: berth.url, token: follower.token, path: at });
  const output = `${path}/${String(started.body['id'])}/output`;
  const streams: EventStreamClient[] = [];
  for (let index = 0; index < 25; index += 1) {
    streams.push(await follow('/api/events/stream'), await follow(output));
  }
  expect(new Set(streams.map(({ status }) => status))).toEqual(new Set([200]));
  for (const at of ['/api/events/stream', output, `/api/containers/${container.db_id}/stats`]) {
    const refused = await follow(at);
    expect([at, refused.status]).toEqual([at, 429]);
  }
  for (const stream of streams) stream.close();
  await eventually(async () => {
    const again = await follow(output);
    again.close();
    expect(again.status).toBe(200);
  });
});

describe('each listener of a server', () => {
  const NAMES = ['api', 'previews', 'ssh'];
  let whole: Berth;
  let serversBefore: number;
  const servers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length;

  beforeAll(async () => {
    serversBefore = servers();
    const environment = { PREVIEW_PORT: '0', SSH_PORT: '0', CONNECTION_LIMIT: '20' };
    whole = await Berth.start({ engine: new FakeEngine(), environment });
  });
  afterAll(() => whole.stop());

  const listeners = (): Listeners => whole.app.get(Listeners);
  function listener(name: string): Server {
    const server = listeners().all.get(name);
    if (!server) throw new Error(`no listener ${name}`);
    return server;
  }
  const urlOf = (name: string): string => `http://127.0.0.1:${String((listener(name).address() as AddressInfo).port)}`;
  const http = NAMES.filter((name) => name !== 'ssh');
  /** Counts the requests that the listener has begun. */
  function countBegun(name: string): { begun: number } {
    const count = { begun: 0 };
    listener(name).on('request', () => (count.begun += 1));
    return count;
  }

  it('is made by Listeners, and so has its bounds', () => {
    expect([...listeners().all.keys()].sort()).toEqual(NAMES);
    expect(servers() - serversBefore).toBe(NAMES.length);
    for (const [name, server] of listeners().all) expect([name, server.listening]).toEqual([name, true]);
    for (const name of http) expect(listener(name)).toBeInstanceOf(HttpListener);
  });

  it.each(NAMES)('has no more connections of an address than CONNECTION_LIMIT: %s', async (name) => {
    const from = '127.0.0.3';
    const opened = Array.from({ length: 20 }, () => new RawConnection(urlOf(name), from));
    await Promise.all(opened.map(({ socket }) => once(socket, 'connect')));
    const further = new RawConnection(urlOf(name), from);
    await eventually(() => expect(further.closed).toBe(true));
    expect(opened.filter(({ closed }) => closed)).toEqual([]);
    // Of another listener, the address has none.
    for (const other of NAMES.filter((each) => each !== name)) {
      const elsewhere = new RawConnection(urlOf(other), from);
      await once(elsewhere.socket, 'connect');
      expect(elsewhere.closed).toBe(false);
    }
  });

  it.each(http)('gives a request half a minute for its head: %s', (name) => {
    const { headersTimeout, requestTimeout } = listener(name) as HttpListener;
    expect(headersTimeout).toBe(30_000);
    // Bodies of previews are limited by the time without a byte.
    expect(requestTimeout).toBe(name === 'previews' ? 0 : 30_000);
  });

  it.each(http)(
    'closes a connection with more than eight unanswered requests, and begins one of them: %s',
    async (name) => {
      const count = countBegun(name);
      const asked = new RawConnection(urlOf(name)).write('GET / HTTP/1.1\r\n\r\n'.repeat(3_600));
      await eventually(() => expect(asked.closed).toBe(true));
      await settled(() => count.begun);
      expect(count.begun).toBe(1);
    },
  );

  it.each(http)('closes a connection after eight refusals in a row, and tells its client: %s', async (name) => {
    const asked = new RawConnection(urlOf(name));
    let refused = await asked.write(requestText('GET /api/nothing')).next();
    for (let more = 0; more < MOST && refused.headers['connection'] !== 'close'; more += 1) {
      refused = await asked.write(requestText('GET /api/nothing')).next();
    }
    expect([refused.status >= 400, refused.headers['connection']]).toEqual([true, 'close']);
    await eventually(() => expect(asked.closed).toBe(true));
  });

  it('keeps a connection that is refused now and then', async () => {
    const asked = new RawConnection(urlOf('api'));
    for (let index = 0; index < 4 * MOST; index += 1) {
      const path = index % MOST === 0 ? '/health/live' : '/api/nothing';
      expect((await asked.write(requestText(`GET ${path}`)).next()).headers['connection']).toBe('keep-alive');
    }
  });

  it.each(http)('closes a connection that asks for another protocol before it has its answer: %s', async (name) => {
    const handshake =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
    for (const [line, headers] of [
      ['GET /socket.io/?EIO=4&transport=websocket', handshake],
      ['CONNECT example.com:443', ''],
    ] as const) {
      const count = countBegun(name);
      const asked = new RawConnection(urlOf(name)).write(requestText('GET /api/me'), requestText(line, headers));
      await eventually(() => expect(asked.closed).toBe(true));
      expect([count.begun, asked.rest.includes(' 101 ')]).toEqual([1, false]);
    }
  });

  it('accepts no connection until its connections are counted', async () => {
    const server = new HttpListener({ requestMs: 0, keepAliveMs: 0, idleMs: 0 });
    server.on('request', (_request, response) => response.end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const asked = new RawConnection(url).write(requestText('GET /'));
    await eventually(() => expect(asked.closed).toBe(true));
    expect(asked.rest).toBe('');
    server.close();
  });
});

/** Waits until the number has not changed for many turns of the event loop. */
async function settled(look: () => number): Promise<void> {
  let last = look();
  for (let turns = 0; turns < 200; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    if (look() !== last) {
      last = look();
      turns = 0;
    }
  }
}
