import { request as httpRequest } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { codingFor } from '../../src/http/stored-file';
import { Berth, type TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { RawConnection, requestText } from '../support/clients/raw-connection';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** As it came, compressed or not. */
  readonly body: Buffer;
}

let berth: Berth;
let user: TestUser;

beforeAll(async () => {
  const environment = { CORS_ORIGINS: 'https://app.example' };
  berth = await Berth.start({ engine: new FakeEngine(), environment });
  user = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
  for (let n = 0; n < 4; n += 1) await user.api.running();
  for (let n = 0; n < 10; n += 1) await berth.user();
});
afterAll(() => berth.stop());

/** Unlike `fetch`, decodes nothing and adds no header. */
function call(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const { hostname, port } = new URL(berth.url);
  const authorization = `Bearer ${user.token}`;
  return new Promise((resolve, reject) => {
    const options = { hostname, port, path, method, headers: { authorization, ...headers }, agent: false };
    const request = httpRequest(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.on('error', reject);
    request.end();
  });
}

const DECODED = { br: brotliDecompressSync, gzip: gunzipSync } as const;
const DOCUMENTS = [
  '/api/openapi.json',
  '/api/asyncapi.json',
  '/api/docs/swagger-ui-bundle.js',
  '/api/docs/swagger-ui-standalone-preset.js',
  '/api/docs/swagger-ui.css',
];
const LISTS = ['/api/containers', '/api/events?after=0', '/api/audit', '/api/admin/users', '/api/admin/containers'];

describe.each([...DOCUMENTS, '/api/docs/swagger-ui-init.js'])('%s', (path) => {
  it.each(['br', 'gzip'] as const)(
    'must come compressed for those who take it, and be the same: %s',
    async (coding) => {
      const plain = await call(path);
      const answer = await call(path, { 'accept-encoding': coding });
      expect(plain.headers['content-encoding']).toBeUndefined();
      expect(answer.headers).toMatchObject({
        'content-encoding': coding,
        vary: expect.stringContaining('accept-encoding'),
        'content-length': String(answer.body.length),
        'content-type': plain.headers['content-type'],
      });
      expect(DECODED[coding](answer.body).equals(plain.body)).toBe(true);
      expect(answer.body.length).toBeLessThan(plain.body.length / 2);
    },
  );
});

describe.each(DOCUMENTS)('%s', (path) => {
  it('must be kept by clients, and asked for again by its ETag, one for each coding', async () => {
    const plain = await call(path);
    const compressed = await call(path, { 'accept-encoding': 'br' });
    const [etag, other] = [String(plain.headers['etag']), String(compressed.headers['etag'])];
    expect(plain.headers['cache-control']).toBe('public, no-cache');
    expect(etag).toMatch(/^"[\w-]+"$/);
    expect(other).not.toBe(etag);
    for (const condition of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const { status, headers, body } = await call(path, { 'if-none-match': condition });
      expect([condition, status, body.length, headers['etag']]).toEqual([condition, 304, 0, etag]);
      expect(headers).toMatchObject({ 'cache-control': 'public, no-cache', vary: expect.any(String) });
    }
    expect((await call(path, { 'if-none-match': '"x"' })).status).toBe(200);
    expect((await call(path, { 'if-none-match': other })).status).toBe(200);
    const head = await call(path, {}, 'HEAD');
    expect([head.headers['etag'], head.headers['content-length']]).toEqual([etag, String(plain.body.length)]);
  });
});

describe.each(LISTS)('%s', (path) => {
  it.each(['br', 'gzip'] as const)('must come compressed for those who take it: %s', async (coding) => {
    const answer = await call(path, { 'accept-encoding': coding });
    const { headers, body } = answer;
    expect([answer.status, headers['content-encoding'], headers['content-length']]).toEqual([
      200,
      coding,
      String(body.length),
    ]);
    expect(headers['vary']).toContain('accept-encoding');
    expect(headers['cache-control']).toBe('no-store');
    expect(() => JSON.parse(DECODED[coding](body).toString()) as unknown).not.toThrow();
  });
});

describe('an answer', () => {
  it('must not be compressed where a client does not take it, it is small, or its route does not say so', async () => {
    const id = (await user.api.running()).db_id;
    for (const [path, accepted] of [
      ['/api/containers', 'identity'],
      ['/api/containers', 'br;q=0, gzip;q=0'],
      ['/api/containers', ''],
      ['/api/events?after=9007199254740991', 'br'],
      ['/api/audit?limit=0', 'br'],
      [`/api/containers/${id}`, 'br'],
      ['/api/tokens', 'br, gzip'],
      ['/metrics', 'gzip'],
    ] as const) {
      const { headers } = await call(path, { 'accept-encoding': accepted });
      expect([path, accepted, headers['content-encoding']]).toEqual([path, accepted, undefined]);
    }
  });

  it('must vary by the page that asks as well', async () => {
    const { headers } = await call('/api/containers', { 'accept-encoding': 'br', origin: 'https://app.example' });
    expect(String(headers['vary']).toLowerCase().split(', ').sort()).toEqual(['accept-encoding', 'origin']);
  });
});

describe('documents that are asked for without waiting', () => {
  afterEach(() => RawConnection.closeAll());

  it.each(['br', 'identity'])('must all come: %s', async (coding) => {
    const asked = new RawConnection(berth.url);
    const lines = DOCUMENTS.map((path) => requestText(`GET ${path}`, `Accept-Encoding: ${coding}\r\n`, ''));
    for (let round = 0; round < 2; round += 1) {
      asked.write(...lines);
      for (const path of DOCUMENTS) expect([path, (await asked.next()).status]).toEqual([path, 200]);
    }
  });
});

describe('the coding of an answer', () => {
  it.each([
    [undefined, null],
    ['', null],
    ['gzip, deflate, br', 'br'],
    ['GZIP', 'gzip'],
    ['br;q=0, gzip', 'gzip'],
    ['br; q=0.0', null],
    ['*', 'br'],
    ['br;q=0, *', 'gzip'],
    ['*;q=0', null],
    ['identity', null],
    ['zstd, deflate', null],
    ['br;q=x', null],
  ])('must be one that the client takes: of %j it is %j', (accepted, coding) => {
    expect(codingFor(accepted)).toBe(coding);
  });
});
