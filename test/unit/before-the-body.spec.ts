import type { Socket } from 'node:net';
import { TokenService } from '../../src/auth';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { type RawAnswer, RawConnection } from '../support/clients/raw-connection';

const BOUND = 2 * 65_536;
const ONE_READ = 65_536;
const LARGE = 50_000_000;
const MIB = 2 ** 20;

let berth: Berth;
let user: TestUser;
let reader: TestUser;
/** The server's ends of the connections, in their order. */
const accepted: Socket[] = [];

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine() });
  user = await berth.user();
  reader = await berth.user('pro', ['read']);
  berth.app.getHttpServer().on('connection', (socket: Socket) => accepted.push(socket));
});

afterEach(() => {
  RawConnection.closeAll();
  accepted.length = 0;
});

afterAll(() => berth.stop());

const GUESSED = `berth_${'0'.repeat(64)}`;
const HUGE = `Content-Type: application/json\r\nContent-Length: ${String(LARGE)}\r\n`;
const CHUNKED = 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n';
const MALFORMED = 'Content-Type: application/json\r\nContent-Length: 1\r\n';
const FOREIGN = 'Content-Type: text/plain\r\nContent-Length: 1\r\n';

function head(line: string, { token, headers }: { token: string | null; headers: string }): string {
  const authorization = token === null ? '' : `Authorization: Bearer ${token}\r\n`;
  return `${line} HTTP/1.1\r\nHost: localhost\r\n${authorization}${headers}\r\n`;
}

const containers = 'POST /api/containers';
const file = 'PUT /api/containers/none/files?path=/tmp/x';

describe('what is not allowed must be refused before its body is read', () => {
  const bodies = [
    ['a huge one', HUGE, ''],
    ['one of unknown length', CHUNKED, '1\r\n{\r\n'],
    ['one that is no JSON', MALFORMED, '{'],
    ['one of another type', FOREIGN, 'x'],
  ] as const;
  const callers = [
    ['without a token', containers, null, 401],
    ['with a token that is none', containers, () => GUESSED, 401],
    ['without the scope', containers, () => reader.token, 403],
    ['to a file, without a token', file, null, 401],
    ['to a file, without the scope', file, () => reader.token, 403],
    ['to a route that is not there', 'POST /api/nothing', () => user.token, 404],
    ['by a method that the path has not', 'PUT /api/containers', () => user.token, 405],
  ] as const;

  it.each(callers.flatMap((caller) => bodies.map((body) => [...caller, ...body] as const)))(
    '%s (%s)',
    async (_who, line, tokenOf, status, _what, headers, body) => {
      const token = tokenOf === null ? null : tokenOf();
      const asked = new RawConnection(berth.url).write(head(line, { token, headers }), body);
      expect((await asked.next()).status).toBe(status);
    },
  );

  it.each([
    ['an unknown caller’s', containers, null, 401],
    ['an unknown caller’s, to a file', file, null, 401],
    ['one that is too large', 'POST /api/tokens', () => user.token, 413],
    ['one to a container that is not there', file, () => user.token, 404],
  ] as const)('and no more of it than 128 KiB: %s', async (_what, line, tokenOf, status) => {
    const token = tokenOf === null ? null : tokenOf();
    const text = head(line, { token, headers: HUGE });
    const asked = new RawConnection(berth.url).write(text);
    asked.socket.write(Buffer.alloc(LARGE, ' '));
    expect((await asked.next()).status).toBe(status);
    await eventually(() => expect(accepted[0]?.destroyed).toBe(true));
    expect(accepted[0]?.bytesRead).toBeLessThanOrEqual(text.length + BOUND + ONE_READ);
  });

  it('and the connection stays where little is left of it', async () => {
    const small = head(containers, {
      token: null,
      headers: 'Content-Type: application/json\r\nContent-Length: 20\r\n',
    });
    const asked = new RawConnection(berth.url).write(small);
    expect((await asked.next()).status).toBe(401);
    asked.write(' '.repeat(20), head('GET /api/me', { token: user.token, headers: '' }));
    expect((await asked.next()).status).toBe(200);
  });
});

it('a command that ends before its input must tell its end to a client that still sends and reads late', async () => {
  const { db_id: id } = await user.api.running();
  accepted.length = 0;
  const asked = new RawConnection(berth.url).stopReading();
  const headers = `Content-Type: application/octet-stream\r\nContent-Length: ${String(LARGE)}\r\n`;
  asked.write(head(`POST /api/containers/${id}/exec/stream`, { token: user.token, headers }), '{"command":["true"]}\n');
  // On a connection that was reset, this fails, and the client loses what it has not read yet.
  const failed = await new Promise((resolve) => asked.socket.write(Buffer.alloc(LARGE / 2), resolve));
  expect(failed).toBeNull();
  await eventually(() => expect(accepted[0]?.writableFinished).toBe(true));
  asked.socket.resume();
  expect((await asked.next()).status).toBe(200);
  await eventually(() => expect(asked.rest).toMatch(/^event: result\ndata: {"exit_code":0/m));
  asked.socket.destroy();
  await eventually(() => expect(accepted[0]?.destroyed).toBe(true));
});

describe('100 Continue', () => {
  const expecting = (headers: string): string => `${headers}Expect: 100-continue\r\n`;

  it.each([
    ['a caller without a token', containers, null, HUGE, 401],
    ['a caller without the scope', containers, () => reader.token, HUGE, 403],
    ['a file without a token', file, null, HUGE, 401],
    ['a file of a container that is not there', file, () => user.token, HUGE, 404],
    ['a body that is too large', 'POST /api/tokens', () => user.token, HUGE, 413],
    ['a body of another type', 'POST /api/tokens', () => user.token, FOREIGN, 415],
    ['a route that is not there', 'POST /api/nothing', () => user.token, HUGE, 404],
  ] as const)('must not be granted to %s', async (_who, line, tokenOf, headers, status) => {
    const token = tokenOf === null ? null : tokenOf();
    const asked = new RawConnection(berth.url).write(head(line, { token, headers: expecting(headers) }));
    expect((await asked.next()).status).toBe(status);
    await eventually(() => expect(asked.closed).toBe(true));
  });

  it.each([
    ['PUT', 'files', 'application/octet-stream', 0, 'file_too_large'],
    ['POST', 'files', 'multipart/form-data; boundary=x', 2 * MIB, 'file_too_large'],
    ['PUT', 'archive', 'application/x-tar', 0, 'archive_too_large'],
  ] as const)(
    'is refused to a %s of %s as %s that is larger than the disk of its container',
    async (method, what, type, beside, code) => {
      const { db_id: id } = await user.api.running();
      const { resources } = (await user.api.get(id)).body;
      const limit = (resources as { disk_mb: number }).disk_mb * MIB;
      const answerTo = async (length: number): Promise<RawAnswer> => {
        const headers = expecting(`Content-Type: ${type}\r\nContent-Length: ${String(length)}\r\n`);
        const line = `${method} /api/containers/${id}/${what}?path=/tmp/x`;
        return new RawConnection(berth.url).write(head(line, { token: user.token, headers })).next();
      };
      const refused = await answerTo(limit + beside + 1);
      expect(refused.status).toBe(413);
      expect(JSON.parse(refused.body)).toMatchObject({ code, limit });
      expect((await answerTo(limit + beside)).status).not.toBe(413);
    },
  );

  it('must be granted once the body is read', async () => {
    const body = JSON.stringify({ name: 'continued' });
    const headers = `Content-Type: application/json\r\nContent-Length: ${String(body.length)}\r\n`;
    const asked = new RawConnection(berth.url).write(
      head('POST /api/tokens', { token: user.token, headers: expecting(headers) }),
    );
    expect((await asked.next()).status).toBe(100);
    expect((await asked.write(body).next()).status).toBe(201);
    expect((await asked.write(head('GET /api/me', { token: user.token, headers: '' })).next()).status).toBe(200);
  });
});

it('a token must be looked up once a request', async () => {
  const verify = jest.spyOn(berth.app.get(TokenService), 'verify');
  expect((await user.api.call('GET', '/api/me')).status).toBe(200);
  expect(verify).toHaveBeenCalledTimes(1);
  expect((await user.api.call('POST', '/api/tokens', { name: 'once' })).status).toBe(201);
  expect(verify).toHaveBeenCalledTimes(2);
  verify.mockRestore();
});
