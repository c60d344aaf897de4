import { Body, Controller, Get, Module, Param, Patch, Post } from '@nestjs/common';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsString, ValidateNested } from 'class-validator';
import { EventEmitter, once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { ConfigModule, parseConfig } from '../config';
import { DomainError } from '../errors';
import { createLogger, LOGGER, LoggingModule, requestContext } from '../logging';
import { createHttpAdapter, Draining, setUpHttp } from './http-setup';
import { HttpModule } from './http.module';
import { RouteRegistry } from './route-registry';
import { answerPings } from './upgrades';

class PartDto {
  @IsInt({ message: 'must be a whole number' })
  readonly size: number;
}

class ThingDto {
  @IsString({ message: 'must be text' })
  readonly name: string;

  @IsOptional()
  @ValidateNested({ each: true })
  @Type(() => PartDto)
  readonly parts?: PartDto[];
}

const slow = new EventEmitter();

@Controller('things')
class ThingsController {
  @Post()
  create(@Body() body: ThingDto): ThingDto {
    return body;
  }

  @Post('bare')
  bare(@Body() body: unknown): { body: unknown } {
    return { body: body ?? 'none' };
  }

  @Patch('bare')
  change(@Body() body: unknown): unknown {
    return body;
  }

  @Get('broken')
  broken(): never {
    throw new Error('SELECT secret FROM tokens');
  }

  @Get('refused')
  refused(): never {
    throw new DomainError('operation_in_progress', { retryAfter: 3, fields: { operation: 'start' } });
  }

  @Get('slow')
  async slow(): Promise<object> {
    slow.emit('begun');
    await once(slow, 'done');
    return {};
  }

  @Get('context')
  async context(): Promise<{ request_id: string | undefined }> {
    await new Promise((resolve) => setImmediate(resolve));
    return { request_id: requestContext.getStore()?.requestId };
  }

  @Get(':id')
  one(@Param('id') id: string): { id: string } {
    return { id };
  }
}

@Module({ controllers: [ThingsController] })
class ThingsModule {}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Record<string, unknown>;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const logged: string[] = [];
let app: NestFastifyApplication;
let port: number;

async function startServer(environment: Record<string, string> = {}): Promise<NestFastifyApplication> {
  const module = await Test.createTestingModule({
    imports: [ConfigModule.forRoot(parseConfig(environment)), LoggingModule, HttpModule, ThingsModule],
  })
    .overrideProvider(LOGGER)
    .useValue(createLogger({ LOG_LEVEL: 'info' }, { write: (line: string) => void logged.push(line) }))
    .compile();
  const server = module.createNestApplication<NestFastifyApplication>(createHttpAdapter(), { logger: false });
  setUpHttp(server);
  await server.listen(0, '127.0.0.1');
  return server;
}

function call(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string | Buffer } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path, headers: options.headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = response.headers['content-type']?.startsWith('application/json');
        const body = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text };
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
    });
    request.on('error', reject);
    request.end(options.body);
  });
}

const json = (body: unknown, headers: Record<string, string> = {}) => ({
  headers: { 'content-type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

/** Every answer has an id and the headers; every error has the shape. */
function expectError(answer: Answer, status: number, code: string): void {
  expect(answer.status).toBe(status);
  expect(answer.body).toMatchObject({ error: expect.any(String) as unknown, code });
  expect(answer.body['request_id']).toBe(answer.headers['x-request-id']);
  expect(answer.headers).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  });
  expect(JSON.stringify(answer)).not.toMatch(/SELECT|node_modules|FST_|stack/);
}

/** What the server says to bytes that are not HTTP. */
function callRaw(bytes: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n');
      const [statusLine = '', ...lines] = head.split('\r\n');
      const headers = Object.fromEntries(lines.map((line) => line.split(': ') as [string, string]));
      resolve({ status: Number(statusLine.split(' ')[1]), headers, body: JSON.parse(body) as Record<string, unknown> });
    });
  });
}

beforeAll(async () => {
  app = await startServer();
  port = Number(new URL(await app.getUrl()).port);
});
afterAll(() => app.close());

describe('every error must have one shape, an id and the headers', () => {
  it.each<[string, () => Promise<Answer>, number, string]>([
    ['an unknown route', () => call('GET', '/api/nothing'), 404, 'route_not_found'],
    ['a route outside the prefix', () => call('GET', '/things/1'), 404, 'route_not_found'],
    ['a method that the path has not', () => call('PUT', '/api/things', json({})), 405, 'method_not_allowed'],
    ['a method at an unknown route', () => call('PUT', '/api/nothing', json({})), 404, 'route_not_found'],
    ['a URL that cannot be decoded', () => call('GET', '/api/things/%zz'), 400, 'invalid_parameters'],
    ['malformed JSON', () => call('POST', '/api/things', json('{"name":')), 400, 'invalid_parameters'],
    ['a list for a body', () => call('POST', '/api/things', json([{ name: 1 }])), 400, 'invalid_parameters'],
    ['a prototype', () => call('POST', '/api/things', json('{"__proto__":{"a":1}}')), 400, 'invalid_parameters'],
    [
      'a deep body',
      () => call('POST', '/api/things', json('{"a":'.repeat(9) + '1' + '}'.repeat(9))),
      400,
      'invalid_parameters',
    ],
    ['a large body', () => call('POST', '/api/things', json({ name: 'x'.repeat(65_536) })), 413, 'body_too_large'],
    [
      'a large body of unknown length',
      () => call('POST', '/api/things', json({ name: 'x'.repeat(70_000) }, { 'transfer-encoding': 'chunked' })),
      413,
      'body_too_large',
    ],
    [
      'a form',
      () =>
        call('POST', '/api/things', {
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: 'name=a',
        }),
      415,
      'unsupported_media_type',
    ],
    [
      'plain text',
      () => call('POST', '/api/things', { headers: { 'content-type': 'text/plain' }, body: 'a' }),
      415,
      'unsupported_media_type',
    ],
    ['a body of no type', () => call('POST', '/api/things', { body: 'a' }), 415, 'unsupported_media_type'],
    ['a fault that nobody expected', () => call('GET', '/api/things/broken'), 500, 'internal_error'],
    ['a fault on purpose', () => call('GET', '/api/things/refused'), 409, 'operation_in_progress'],
    ['bytes that are not HTTP', () => callRaw('hello\r\n\r\n'), 400, 'invalid_parameters'],
    [
      'headers without end',
      () => callRaw(`GET / HTTP/1.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`),
      431,
      'request_header_fields_too_large',
    ],
  ])('%s', async (_name, send, status, code) => {
    expectError(await send(), status, code);
  });

  it('must carry fields and Retry-After', async () => {
    const answer = await call('GET', '/api/things/refused');
    expect(answer.body).toMatchObject({ operation: 'start' });
    expect(answer.headers['retry-after']).toBe('3');
  });
});

describe('a body', () => {
  it('that is empty must be none, whatever its type', async () => {
    const headers = { 'content-type': 'application/json' };
    const answer = await call('POST', '/api/things/bare', { headers });
    expect([answer.status, answer.body]).toEqual([201, { body: 'none' }]);
  });

  it('must be answered an entry for each faulty field, by its path', async () => {
    const answer = await call(
      'POST',
      '/api/things',
      json({ name: 1, parts: [{ size: 1 }, { size: 'x', more: 1 }], extra: true }),
    );
    expectError(answer, 400, 'invalid_parameters');
    expect(answer.body['details']).toEqual([
      { field: 'extra', message: 'unknown field' },
      { field: 'name', message: 'must be text' },
      { field: 'parts.1.more', message: 'unknown field' },
      { field: 'parts.1.size', message: 'must be a whole number' },
    ]);
  });

  it('must be taken where it is right', async () => {
    const answer = await call('POST', '/api/things', json({ name: 'a', parts: [{ size: 1 }] }));
    expect([answer.status, answer.body]).toEqual([201, { name: 'a', parts: [{ size: 1 }] }]);
  });

  it('must not make the answer endless', async () => {
    const fields = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`field${String(index)}`, 1]));
    expect((await call('POST', '/api/things', json(fields))).body['details']).toHaveLength(50);
  });
});

describe('the request id', () => {
  it('must be the caller’s where it is sane, in the answer and in the code that runs', async () => {
    const answer = await call('GET', '/api/things/context', { headers: { 'x-request-id': 'trace.1' } });
    expect([answer.headers['x-request-id'], answer.body]).toEqual(['trace.1', { request_id: 'trace.1' }]);
  });

  it('must reach the code that runs after a body was read', async () => {
    logged.length = 0;
    const answer = await call('POST', '/api/things', json({ name: 'a' }, { 'x-request-id': 'trace.2' }));
    expect(answer.headers['x-request-id']).toBe('trace.2');
    expect(logged.map((line) => JSON.parse(line) as unknown)).toContainEqual(
      expect.objectContaining({
        msg: 'request',
        request_id: 'trace.2',
        route: '/api/things',
        method: 'POST',
        status: 201,
      }),
    );
  });

  it('must be a new one where it is not', async () => {
    const answer = await call('GET', '/api/nothing', { headers: { 'x-request-id': 'a b' } });
    expect(answer.headers['x-request-id']).toMatch(UUID);
  });
});

describe('the log', () => {
  it('must log an unexpected fault once, with its id, and not of the caller’s own', async () => {
    logged.length = 0;
    const { headers } = await call('GET', '/api/things/broken');
    await call('GET', '/api/nothing');
    const errors = logged
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ level }) => level === 'error');
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({
      request_id: headers['x-request-id'],
      err: { message: 'SELECT secret FROM tokens' },
    });
  });

  it('must not hold the query string', async () => {
    logged.length = 0;
    await call('GET', '/api/things/1?access_token=secret');
    await call('GET', '/api/nothing?access_token=secret');
    expect(logged.join('')).not.toContain('secret');
    expect(logged).toHaveLength(2);
  });
});

describe('an id of a path', () => {
  it('must reach the route whatever its length', async () => {
    expect((await call('GET', `/api/things/${'x'.repeat(4000)}`)).status).toBe(200);
  });
});

describe('the documentation', () => {
  it('must be a page that its own scripts may run on', async () => {
    const page = await call('GET', '/api/docs');
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.headers['content-security-policy']).toContain("script-src 'self'");
    const html = String(page.body['text']);
    expect(html).not.toMatch(/<script>(?!\s*<\/script>)/);
    const files = [...html.matchAll(/(?:src|href)=["']([^"']+)["']/g)].map(
      ([, url = '']) => new URL(url, 'http://x/api/docs').pathname,
    );
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect([file, (await call('GET', file)).status]).toEqual([file, 200]);
  });

  it('must describe the routes and the one shape of errors', async () => {
    const { status, body } = await call('GET', '/api/openapi.json');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      paths: { '/api/things': { post: { responses: { 201: { description: 'Created' }, 400: {} } } } },
      components: { schemas: { ErrorResponse: { type: 'object' } }, securitySchemes: { bearer: { scheme: 'bearer' } } },
    });
  });
});

describe('the route registry', () => {
  it('must know every route', () => {
    const routes = app.get(RouteRegistry).routes.map(({ method, url }) => `${method} ${url}`);
    expect(routes).toEqual(
      expect.arrayContaining(['GET /api/things/:id', 'POST /api/things', 'GET /api/docs', 'GET /api/openapi.json']),
    );
  });
});

describe('pages of other sites', () => {
  const preflight = { headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' } };

  it('must not be let in by default', async () => {
    const answer = await call('OPTIONS', '/api/things', preflight);
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    expectError(answer, 405, 'method_not_allowed');
  });

  it('must be let in from the origins that are listed, and no other', async () => {
    const other = await startServer({ CORS_ORIGINS: 'https://app.example' });
    const before = port;
    port = Number(new URL(await other.getUrl()).port);
    try {
      const allowed = await call('OPTIONS', '/api/things', preflight);
      expect(allowed.status).toBe(204);
      expect(allowed.headers).toMatchObject({ 'access-control-allow-origin': 'https://app.example' });
      expect(allowed.headers['x-request-id']).toMatch(UUID);
      expect(allowed.headers['access-control-allow-headers']).toContain('idempotency-key');
      const ofPatch = await call('OPTIONS', '/api/things/bare', preflight);
      expect([allowed.headers['accept-patch'], ofPatch.headers['accept-patch']]).toEqual([
        undefined,
        'application/json',
      ]);
      const own = await call('GET', '/api/things/1', { headers: { origin: 'https://app.example' } });
      expect(own.headers['access-control-expose-headers']).toBe(
        'accept-patch, x-request-id, content-disposition, content-range, etag, link, location, idempotency-replayed, ' +
          'retry-after, www-authenticate, ratelimit-limit, ratelimit-remaining, ratelimit-reset',
      );
      const foreign = await call('GET', '/api/things/1', { headers: { origin: 'https://evil.example' } });
      expect(foreign.headers['access-control-allow-origin']).toBeUndefined();
    } finally {
      port = before;
      await other.close();
    }
  });
});

describe('a server that is about to end', () => {
  it('must turn new requests away and ask to be left', async () => {
    const other = await startServer();
    const before = port;
    port = Number(new URL(await other.getUrl()).port);
    try {
      other.get(Draining).begin();
      const answer = await call('GET', '/api/things/1');
      expectError(answer, 503, 'shutting_down');
      expect(answer.headers['connection']).toBe('close');
    } finally {
      port = before;
      await other.close();
    }
  });

  it('must finish what it has begun, and not wait for what clients may ask next on the same connection', async () => {
    const other = await startServer();
    const before = port;
    port = Number(new URL(await other.getUrl()).port);
    try {
      const begun = once(slow, 'begun');
      const asked = call('GET', '/api/things/slow');
      await begun;
      // As main.ts does on a signal.
      other.get(Draining).begin();
      const closed = other.close();
      slow.emit('done');
      expect(await asked).toMatchObject({ status: 200, headers: { connection: 'close' } });
      await closed;
    } finally {
      port = before;
      await other.close();
    }
  });

  it('must begin to drain when it is closed', async () => {
    const other = await startServer();
    const draining = other.get(Draining);
    await other.close();
    expect(draining.begun).toBe(true);
  });
});

describe('pings of a WebSocket', () => {
  it('must be answered while the client reads, and not be kept without a bound where it does not', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong: false });
    await once(server, 'listening');
    const { port: at } = server.address() as AddressInfo;
    const client = new WebSocket(`ws://127.0.0.1:${String(at)}`);
    const [[served]] = (await Promise.all([once(server, 'connection'), once(client, 'open')])) as [[WebSocket], []];
    answerPings(served);
    client.ping('well');
    expect(String((await once(client, 'pong'))[0])).toBe('well');
    client.pause();
    const ping = Buffer.alloc(125);
    let most = 0;
    served.on('ping', () => (most = Math.max(most, served.bufferedAmount)));
    // Several times as much as the kernel's buffers hold.
    for (let batch = 0; batch < 100; batch += 1) {
      for (let each = 0; each < 1_999; each += 1) client.ping(ping);
      await new Promise<void>((resolve) => client.ping(ping, undefined, () => resolve()));
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(96 * 1024);
    client.terminate();
    served.terminate();
    server.close();
  });
});
