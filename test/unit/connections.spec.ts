import { readdirSync, readlinkSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Connections } from '../../src/http/connections';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { RawConnection, requestText } from '../support/clients/raw-connection';

/** What is private of {@link Connections}. */
interface Watching {
  readonly open: ReadonlyMap<Socket, unknown>;
  readonly maxUnread: number;
  readonly timer: NodeJS.Timeout;
  look(now?: number): void;
}

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
    const bodies = Array.from({ length: 40 }, (_, index) => JSON.stringify({ name: `piece-${String(index)}` }));
    const text = bodies.map((body) => request('POST /api/tokens', '', body)).join('');
    for (let at = 0; at < text.length; at += 997) {
      asked.write(text.slice(at, at + 997));
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const body of bodies) {
      const answer = await asked.next();
      expect(answer.status).toBe(201);
      expect(JSON.parse(answer.body)).toMatchObject(JSON.parse(body) as object);
    }
    expect(asked.closed).toBe(false);
  });

  it('must all be answered where the client has ended its side meanwhile', async () => {
    const asked = new RawConnection(berth.url).write(request('GET /api/me').repeat(5));
    for (let index = 0; index < 5; index += 1) expect((await asked.next()).status).toBe(200);
    const fields = Array.from({ length: 1_500 }, (_, index) => `a${String(index)}:\r\n`).join('');
    const body = JSON.stringify({ name: 'many-fields' });
    asked.write(request('GET /api/me'), request('POST /api/tokens', fields, body), request('GET /api/me'));
    expect([(await asked.next()).status, (await asked.next()).status, (await asked.next()).status]).toEqual([
      200, 201, 200,
    ]);
  });

  it('must leave a WebSocket and CONNECT their turn', async () => {
    const handshake =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
    for (const [line, headers, status] of [
      ['GET /socket.io/?EIO=4&transport=websocket', handshake, 101],
      ['CONNECT example.com:443', '', 404],
    ] as const) {
      const container = await user.api.running();
      const wait = `GET /api/containers/${container.db_id}/wait?status=stopped&timeout=60`;
      const asked = new RawConnection(berth.url).write(request(wait), request(line, headers));
      await user.api.stop(container.db_id);
      expect([(await asked.next()).status, (await asked.next()).status]).toEqual([200, status]);
    }
  });

  it('must open no file and begin nothing more for a client that does not read, and none is left open', async () => {
    const asked = new RawConnection(berth.url).stopReading();
    asked.write(request('GET /api/docs/swagger-ui-bundle.js').repeat(900));
    await eventually(() => expect(begun.length).toBeGreaterThan(0));
    await settled(() => begun.length);
    // The first ones fit into the kernel's buffers.
    expect(begun.length).toBeLessThan(20);
    expect(openAssets()).toBeLessThanOrEqual(1);
    asked.socket.destroy();
    await eventually(() => expect(openAssets()).toBe(0));
    const { length } = begun;
    await settled(() => begun.length);
    expect(begun.length).toBe(length);
  });

  it('must cost one answer for a client that does not read', async () => {
    const asked = new RawConnection(berth.url).stopReading();
    asked.write(request('GET /api/openapi.json').repeat(1_400));
    await eventually(() => expect(begun.length).toBeGreaterThan(0));
    await settled(() => begun.length);
    expect(begun.length).toBeLessThan(60);
  });
});

describe('a client that does not read', () => {
  /** A connection for which bytes wait in the server. */
  async function unread(): Promise<RawConnection> {
    const asked = new RawConnection(berth.url).stopReading();
    asked.write(request('GET /api/openapi.json').repeat(30));
    await eventually(() => expect(waiting().map(({ remotePort }) => remotePort)).toContain(asked.socket.localPort));
    return asked;
  }

  const watched = (): Watching => berth.app.get<Watching>(Connections);
  const waiting = (): Socket[] =>
    [...watched().open.keys()].filter(({ destroyed, writableLength }) => !destroyed && writableLength > 0);

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
    const asked = await unread();
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
    for (let index = 0; index < 30; index += 1) expect((await asked.next()).status).toBe(200);
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

it('a request that trickles in must be refused after the half minute that is documented', () => {
  const { headersTimeout, requestTimeout } = berth.app.getHttpServer();
  expect(Math.max(headersTimeout, requestTimeout)).toBe(30_000);
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
