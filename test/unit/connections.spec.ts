import { readdirSync, readlinkSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fake-engine';
import { RawConnection, requestText } from '../support/raw-connection';

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
