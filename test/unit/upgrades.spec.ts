import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { RawConnection, requestText } from '../support/clients/raw-connection';
import { SocketClient } from '../support/clients/socket-client';

const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n';
const WEBSOCKET =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

let berth: Berth;
let user: TestUser;

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine() });
  user = await berth.user();
});

afterAll(() => berth.stop());

const connection = (): RawConnection => new RawConnection(berth.url);
afterEach(() => RawConnection.closeAll());

const request = (line: string, headers: string, body = ''): string =>
  requestText(line, `Authorization: Bearer ${user.token}\r\n${headers}`, body);

describe('an offer to upgrade that Berth does not take up', () => {
  it.each([
    ['h2c', H2C],
    ['h2c without settings', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'],
    ['several protocols', 'Connection: keep-alive, Upgrade\r\nUpgrade: foo/1, TLS/1.0\r\n'],
    ['h2c, with a token in another field too', `Connection: keep-alive\r\n${H2C}`],
  ])('must be answered over HTTP/1.1 as if it were not made: %s', async (_what, offer) => {
    const asked = connection().write(request('GET /api/me', offer));
    const answer = await asked.next();
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ user: { id: user.id } });
    expect(answer.headers).not.toHaveProperty('upgrade');
    // The connection stays, for requests with an offer and without.
    for (const more of ['', offer, '']) {
      expect((await asked.write(request('GET /api/tiers', more)).next()).status).toBe(200);
    }
    expect(asked.closed).toBe(false);
  });

  it('must have its body read, in whatever pieces it comes', async () => {
    const body = JSON.stringify({ name: 'laptop', scopes: ['read'] });
    const whole = await connection()
      .write(request('POST /api/tokens', H2C, body))
      .next();
    expect([whole.status, JSON.parse(whole.body)]).toEqual([201, expect.objectContaining({ name: 'laptop' })]);
    const text = request('POST /api/tokens', H2C, body);
    const head = text.slice(0, -body.length);
    const asked = connection();
    asked.write(head);
    for (const piece of [body.slice(0, 10), body.slice(10)]) {
      await new Promise((resolve) => setImmediate(resolve));
      asked.write(piece);
    }
    expect((await asked.next()).status).toBe(201);
    const chunked = head.replace(/Content-Length: \d+/, 'Transfer-Encoding: chunked');
    const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    expect((await connection().write(chunked, chunks).next()).status).toBe(201);
    expect(
      (
        await connection()
          .write(request('POST /api/tokens', H2C, '{"name":'))
          .next()
      ).status,
    ).toBe(400);
  });

  it('closes the connection where it does not wait for the answer before it', async () => {
    const asked = connection().write(request('GET /api/me', ''), request('GET /api/me', H2C));
    await eventually(() => expect(asked.closed).toBe(true));
    expect(asked.rest).toBe('');
  });

  it('must be answered in its turn, before requests that are sent without waiting', async () => {
    const asked = connection().write(
      request('GET /api/me', H2C),
      request('POST /api/tokens', '', JSON.stringify({ name: 'second' })),
      request('GET /api/nothing', ''),
    );
    expect([(await asked.next()).status, (await asked.next()).status, (await asked.next()).status]).toEqual([
      200, 201, 404,
    ]);
    expect(asked.closed).toBe(false);
  });

  it('must keep to the limits of any request', async () => {
    const large = JSON.stringify({ name: 'x'.repeat(70_000) });
    expect(
      (
        await connection()
          .write(request('POST /api/tokens', H2C, large))
          .next()
      ).status,
    ).toBe(413);
    const closing = connection().write(request('GET /api/me', `Connection: close\r\n${H2C}`));
    expect((await closing.next()).headers).toMatchObject({ connection: 'close' });
    await eventually(() => expect(closing.closed).toBe(true));
  });

  it('must be declined where Socket.IO is served too', async () => {
    const polling = await connection().write(request('GET /socket.io/?EIO=4&transport=polling', H2C)).next();
    expect(polling.status).toBe(200);
    expect(polling.body).toContain('"sid"');
  });

  it('must not take the server down when its client hangs up', async () => {
    const container = await user.api.running();
    const slow = `GET /api/containers/${container.db_id}/wait?status=stopped&timeout=60`;
    const asked = connection().write(request(slow, ''), request('GET /api/me', H2C));
    await eventually(() => expect(asked.socket.bytesWritten).toBeGreaterThan(0));
    asked.socket.resetAndDestroy();
    expect((await user.api.stop(container.db_id)).status).toBe(200);
  });

  const curl = '/usr/bin/curl';
  (existsSync(curl) ? it : it.skip)('must be what curl --http2 gets its answers by', async () => {
    const token = `authorization: Bearer ${user.token}`;
    const write = ['-s', '-S', '-w', ' %{http_code} %{http_version}'];
    const run = async (...args: string[]): Promise<string> =>
      (await promisify(execFile)(curl, ['--http2', ...write, '-H', token, ...args])).stdout;
    expect(await run(`${berth.url}/api/me`)).toMatch(/"user".* 200 1\.1$/);
    const json = ['-H', 'content-type: application/json', '-d', '{"name":"curl"}'];
    expect(await run(...json, `${berth.url}/api/tokens`)).toMatch(/"token".* 201 1\.1$/);
  });
});

describe('a WebSocket handshake', () => {
  it.each(['/api/me', '/', '/socket.io', '/ws/terminal/1/2', '/socket.iox/'])(
    'must be answered that there is no WebSocket at %s',
    async (path) => {
      const answer = await connection()
        .write(request(`GET ${path}`, WEBSOCKET))
        .next();
      expect(answer.status).toBe(404);
      expect(JSON.parse(answer.body)).toEqual({
        error: 'route not found',
        code: 'route_not_found',
        request_id: answer.headers['x-request-id'],
      });
    },
  );

  it('must be refused where it is none', async () => {
    const path = 'GET /socket.io/?EIO=4&transport=websocket';
    const old = await connection()
      .write(request(path, WEBSOCKET.replace('13', '7')))
      .next();
    expect([old.status, JSON.parse(old.body)]).toEqual([426, expect.objectContaining({ code: 'upgrade_required' })]);
    expect(old.headers).toMatchObject({ 'sec-websocket-version': '13', upgrade: 'websocket' });
    const keyless = await connection()
      .write(request(path, WEBSOCKET.replace(/Sec-WebSocket-Key.*\r\n/, '')))
      .next();
    expect([keyless.status, JSON.parse(keyless.body)]).toEqual([
      400,
      expect.objectContaining({ code: 'invalid_parameters' }),
    ]);
  });

  it('must be taken up where Socket.IO is, with and without polling before it', async () => {
    for (const transports of [['websocket'], ['polling', 'websocket']]) {
      const client = await new SocketClient(berth.url, { token: user.token }, transports).connected();
      await eventually(() => expect(client.socket.io.engine.transport.name).toBe('websocket'));
      client.socket.close();
    }
  });

  it("must be taken up with the server's own address before its path, as RFC 9112 demands", async () => {
    const path = `GET ${berth.url}/socket.io/?EIO=4&transport=websocket`;
    const answer = await connection().write(request(path, WEBSOCKET)).next();
    expect(answer.status).toBe(101);
  });
});

it('CONNECT must be answered: there is no proxy', async () => {
  const answer = await connection().write('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n').next();
  expect([answer.status, JSON.parse(answer.body)]).toEqual([404, expect.objectContaining({ code: 'route_not_found' })]);
});
