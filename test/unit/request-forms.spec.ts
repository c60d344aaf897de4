import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import type { OpenAPIObject } from '@nestjs/swagger';
import { RouteRegistry } from '../../src/http';
import { Berth, TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How long a busy machine may take for one answer. */
const ANSWERED_MS = 20_000;

const agent = new Agent({ keepAlive: true });

let berth: Berth;
let admin: TestUser;
let document: OpenAPIObject;

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine() });
  admin = await berth.user('pro', ['admin', 'exec']);
  document = (await (await fetch(`${berth.url}/api/openapi.json`)).json()) as OpenAPIObject;
});

afterAll(async () => {
  agent.destroy();
  await berth.stop();
});

/** A request whose path goes out as it is; of an answer that does not end, such as a stream, the head is enough. */
function call(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { hostname, port } = new URL(berth.url);
  const { headers: given, body } = options;
  const headers = {
    authorization: `Bearer ${admin.token}`,
    ...(body !== undefined && {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    }),
    ...given,
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers, agent }, (response) => {
      const { statusCode: status = 0, headers: told } = response;
      if (status < 300) {
        resolve({ status, headers: told, body: {} });
        request.destroy();
        return;
      }
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status, headers: told, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) });
      });
    });
    request.on('error', reject);
    // Names the request, where a test that is over its time would not.
    request.setTimeout(ANSWERED_MS, () => request.destroy(new Error(`no answer to ${method} ${path}`)));
    request.end(body);
  });
}

/** The answer to bytes, which the server ends. */
async function bytes(text: string): Promise<Answer> {
  const { hostname, port } = new URL(berth.url);
  const socket = connect(Number(port), hostname);
  socket.write(text);
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  const [head = '', body = ''] = Buffer.concat(chunks).toString().split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(': ') as [string, string]));
  return { status: Number(first.split(' ')[1]), headers, body: JSON.parse(body) as Record<string, unknown> };
}

function expectError({ status, headers, body }: Answer, expected: number, code: string): void {
  expect([status, body['code']]).toEqual([expected, code]);
  expect(body).toMatchObject({ error: expect.any(String), request_id: headers['x-request-id'] });
  expect(headers).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'content-length': expect.stringMatching(/^\d+$/),
  });
}

const EMPTY = [{ field: 'body', message: 'must be empty: this route takes no body' }];

/** A route of the server, with ids that nothing has. */
interface Route {
  readonly method: string;
  readonly path: string;
  readonly pattern: RegExp;
  readonly takesBody: boolean;
  readonly takesAny: boolean;
  readonly isDescribed: boolean;
}

/** Takes messages of JSON-RPC, which are not in the document: test/data/mcp.e2e-spec.ts. */
const OF_MESSAGES = '/mcp';

/** Routes whose errors have E2B's form: `test/data/e2b.e2e-spec.ts`, `test/e2e/inside-e2b.e2e-spec.ts`. */
const OTHER_FORM = '/e2b/';

/** Every route; those of one path once for each method. */
function routes(): Route[] {
  const known = berth.app
    .get(RouteRegistry)
    .routes.filter(({ method, url }) => method !== 'OPTIONS' && url !== OF_MESSAGES && !url.startsWith(OTHER_FORM));
  return known.map(({ method, url }) => {
    const described = document.paths[url.replace(/:(\w+)/g, '{$1}')];
    const operation = described?.[method.toLowerCase() as 'get'];
    const path = url.replace(/:\w+/g, '00000000-0000-4000-8000-000000000000').replace('*', 'swagger-ui.css');
    const pattern = new RegExp(`^${url.replace(/:\w+/g, '[^/]+').replace('*', '.+')}$`);
    const body = operation?.requestBody;
    const takesAny = body !== undefined && 'content' in body && !('application/json' in body.content);
    const isDescribed = operation !== undefined || (method === 'HEAD' && described?.get !== undefined);
    return { method, path, pattern, takesBody: body !== undefined, takesAny, isDescribed };
  });
}

describe('a body', () => {
  it('must be refused by every route that takes none, and by every other where it is not understood', async () => {
    const seen: unknown[] = [];
    const all = routes();
    for (const { method, path, takesBody, takesAny } of all) {
      if (takesAny) continue;
      const { status, body } = await call(method, path, { body: '{"zzz":1}' });
      const details = body['details'] as { field: string }[] | undefined;
      const isRight =
        method === 'HEAD'
          ? status === 400
          : takesBody
            ? details?.some(({ field }) => field === 'zzz')
            : JSON.stringify(details) === JSON.stringify(EMPTY);
      if (status !== 400 || !isRight) seen.push({ method, path, status, body });
    }
    expect(seen).toEqual([]);
    expect(all.filter(({ takesBody }) => takesBody).length).toBeGreaterThan(5);
    expect(all.filter(({ takesBody }) => !takesBody).length).toBeGreaterThan(50);
  });

  it('must be taken for none by those routes where it is empty, or an empty object', async () => {
    const refused: unknown[] = [];
    for (const { method, path } of routes().filter((route) => !route.takesBody)) {
      const empty = { 'content-type': 'application/json', 'content-length': '0' };
      const form = { ...empty, 'content-type': 'application/x-www-form-urlencoded' };
      const plain = (await call(method, path)).status;
      for (const options of [{ headers: empty }, { headers: form }, { body: '{}' }]) {
        const { status, body } = await call(method, path, options);
        if (status !== plain) refused.push({ method, path, options, status, plain, body });
      }
    }
    expect(refused).toEqual([]);
  });

  it.each<[string, Record<string, string>, string]>([
    ['text', { 'content-type': 'text/plain' }, 'x'],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'a=1'],
    ['nonsense', { 'content-type': 'application/json' }, '{"a":'],
    ['a list', { 'content-type': 'application/json' }, '[]'],
  ])('must be named where a route takes none, whatever it is: %s', async (_what, headers, body) => {
    for (const [method, path] of [
      ['POST', '/api/containers/none/start'],
      ['DELETE', '/api/containers/none'],
      ['GET', '/api/me'],
    ] as const) {
      const answer = await call(method, path, { body, headers });
      expectError(answer, 400, 'invalid_parameters');
      expect(answer.body['details']).toEqual([expect.objectContaining({ field: 'body' })]);
    }
  });

  it('must keep to the limits where a route takes none', async () => {
    const large = JSON.stringify({ a: 'x'.repeat(70_000) });
    expectError(await call('POST', '/api/containers/none/stop', { body: large }), 413, 'body_too_large');
    expectError(await call('GET', '/api/me', { body: large }), 413, 'body_too_large');
  });

  it('must not have been acted on where it is refused', async () => {
    const { db_id: id } = await admin.api.running();
    expect((await call('POST', `/api/containers/${id}/stop`, { body: '{"force":true}' })).status).toBe(400);
    expect((await admin.api.get(id)).body['status']).toBe('running');
  });
});

describe('a method that a path has not', () => {
  it('must be a 405 with those that it has, at every path', async () => {
    const all = routes();
    const paths = new Set(all.map(({ path }) => path));
    for (const path of paths) {
      // A word may be an id as well: `DELETE /api/tokens/validate` is the route of `/api/tokens/:id`.
      const has = all.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
      const lacking = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'].filter(
        (method) => !has.includes(method),
      );
      for (const method of lacking) {
        const answer = await call(method, path, method === 'PUT' ? { body: 'x' } : {});
        expectError(answer, 405, 'method_not_allowed');
        const allowed = String(answer.headers['allow']).split(', ');
        expect([method, path, allowed]).toEqual([method, path, expect.arrayContaining(has)]);
        expect(allowed).not.toContain(method);
      }
    }
    expect(paths.size).toBeGreaterThan(20);
  });

  it('must not be made of paths that are not there', async () => {
    for (const path of [
      '/nothing',
      '/api',
      '/api/nothing',
      '/api/containers/',
      '/api/containers/a/b',
      '/api/ME',
      '/api/me/',
    ]) {
      expectError(await call('PUT', path, { body: '{}' }), 404, 'route_not_found');
    }
    const head = await call('HEAD', '/api/containers/none/start');
    expect([head.status, head.headers['allow']]).toEqual([405, 'POST']);
  });
});

describe('the media types of a PATCH', () => {
  const MERGE = 'application/merge-patch+json';
  const BOTH = `application/json, ${MERGE}`;
  const one = '/api/containers/none';

  it('must be named by Accept-Patch wherever its path is described, and nowhere else (RFC 5789, 3.1)', async () => {
    const told = async (method: string, path: string, headers = {}): Promise<unknown> => {
      const answer = await call(method, path, { headers });
      return [answer.status, answer.headers['accept-patch']];
    };
    expect(await told('OPTIONS', one)).toEqual([405, BOTH]);
    expect(await told('PUT', `${one}/settings`)).toEqual([405, BOTH]);
    expect(await told('POST', '/api/admin/users/none')).toEqual([405, 'application/json']);
    expect(await told('PATCH', '/api/me')).toEqual([405, undefined]);
    const { db_id } = await admin.api.running();
    expect(await told('GET', `/api/containers/${db_id}`)).toEqual([200, BOTH]);
  });

  it.each([
    ['PATCH', one, 'text/plain', BOTH],
    ['PATCH', one, 'application/json-patch+json', BOTH],
    ['PATCH', `${one}/settings`, '', BOTH],
    ['PATCH', '/api/admin/users/none', MERGE, 'application/json'],
    ['POST', '/api/containers', MERGE, undefined],
    ['PUT', `${one}/labels`, MERGE, undefined],
  ])('must be the only ones that it takes: %s %s with "%s"', async (method, path, type, accepted) => {
    const answer = await call(method, path, { body: '{"name":"x"}', headers: { 'content-type': type } });
    expectError(answer, 415, 'unsupported_media_type');
    expect(answer.headers['accept-patch']).toBe(accepted);
  });

  it('must be taken with parameters, and in any case', async () => {
    const { db_id } = await admin.api.running();
    for (const type of [`${MERGE}; charset=utf-8`, 'Application/Merge-Patch+JSON']) {
      const options = { body: '{"memory_mb":300}', headers: { 'content-type': type } };
      expect((await call('PATCH', `/api/containers/${db_id}`, options)).status).toBe(200);
    }
    const none = await call('PATCH', `/api/containers/${db_id}`, { body: '', headers: { 'content-type': MERGE } });
    expectError(none, 400, 'invalid_parameters');
    const nul = await call('PATCH', one, { body: '{"name":"\\u0000"}', headers: { 'content-type': MERGE } });
    expectError(nul, 400, 'invalid_parameters');
  });
});

describe('a path', () => {
  it.each([
    '/api/docs/../../package.json',
    '/api/docs/%2e%2e/%2e%2e/package.json',
    '/api/docs/..%2f..%2fpackage.json',
    '/api/docs/..\\..\\package.json',
    '/api/docs/%5c..%5cpackage.json',
    '/api/docs/a/../swagger-ui.css',
    '/api/docs/./swagger-ui.css',
    '/api/docs//etc/passwd',
    '/api/docs/%00',
    '/api/docs/.hidden',
    '/api/docs/docs/../../../package.json',
    '/api/../health/live',
    '/api/nothing/../me',
  ])('that leads elsewhere must be found nowhere: %s', async (path) => {
    expectError(await call('GET', path), 404, 'route_not_found');
  });

  it('must lead to the files of the documentation', async () => {
    for (const file of ['', '/', '/swagger-ui.css', '/swagger-ui%2Ecss', '/swagger-ui-bundle.js']) {
      expect([file, (await call('GET', `/api/docs${file}`)).status]).toEqual([file, 200]);
    }
    expectError(await call('GET', '/api/docs/%ff'), 400, 'invalid_parameters');
  });
});

describe('a head that HTTP does not allow', () => {
  const close = 'Connection: close\r\n';
  const polling = '/socket.io/?EIO=4&transport=polling';

  it.each([
    ['no Host', `GET /api/me HTTP/1.1\r\n${close}`],
    ['two Hosts', `GET /api/me HTTP/1.1\r\nHost: a\r\nHost: b\r\n${close}`],
    ['no Host, at a path that is not there', `GET /nothing HTTP/1.1\r\n${close}`],
    ['no Host, at Socket.IO', `GET ${polling} HTTP/1.1\r\n${close}`],
    [
      'no Host, and an offer of another protocol',
      'GET /api/me HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n',
    ],
    [
      'no Host, for a WebSocket',
      `GET ${polling.replace('polling', 'websocket')} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
    ],
  ])('must be answered in the form of every error: %s', async (_what, head) => {
    const answer = await bytes(`${head}\r\n`);
    expectError(answer, 400, 'invalid_parameters');
    expect(answer.body['details']).toEqual([{ field: 'host', message: 'must be given once, as a header' }]);
  });

  it.each([
    ['an expectation', `GET /api/me HTTP/1.1\r\nHost: localhost\r\nExpect: gold\r\n${close}`],
    [
      'an expectation, with a body',
      `POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nExpect: gold\r\nContent-Length: 2\r\n${close}`,
    ],
    ['an expectation, at Socket.IO', `GET ${polling} HTTP/1.1\r\nHost: localhost\r\nExpect: gold\r\n${close}`],
  ])('must be answered in the form of every error, too, where it is %s', async (_what, head) => {
    expectError(await bytes(`${head}\r\n`), 417, 'expectation_failed');
  });

  it('must not be seen in what HTTP allows', async () => {
    const authorized = `Authorization: Bearer ${admin.token}\r\n${close}`;
    const old = await bytes(`GET /api/nothing HTTP/1.0\r\nExpect: gold\r\n${authorized}\r\n`);
    expectError(old, 404, 'route_not_found');
    const empty = await bytes(`GET /api/nothing HTTP/1.1\r\nHost:\r\n${authorized}\r\n`);
    expectError(empty, 404, 'route_not_found');
    const body = '{"name":"","expires_in":1}';
    const { status } = await call('POST', '/api/tokens', { body, headers: { expect: '100-Continue' } });
    expect(status).toBe(400);
  });
});

describe('the header Authorization', () => {
  const me = (headers: string): Promise<Answer> =>
    bytes(`GET /api/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n\r\n`);

  it.each(['Bearer ', 'bearer ', 'BEARER     '])('must be taken with %j before the token', async (scheme) => {
    expect((await me(`Authorization: ${scheme}${admin.token}`)).status).toBe(200);
  });

  it.each([
    ['twice the same', (token: string) => [token, token]],
    ['with another one after it', (token: string) => [token, 'Bearer x']],
    ['with another one before it', (token: string) => ['Basic eDp5', token]],
  ])('must be refused where it is given %s', async (_what, given) => {
    const lines = given(`Bearer ${admin.token}`).map((value) => `Authorization: ${value}`);
    const answer = await me(lines.join('\r\n'));
    expectError(answer, 400, 'invalid_parameters');
    expect(answer.body['details']).toEqual([{ field: 'authorization', message: 'must be given once' }]);
  });

  it.each([
    ['nothing', '', 'Bearer realm="berth"'],
    ['another scheme', 'Authorization: Basic eDp5', 'Bearer realm="berth"'],
    ['no token', 'Authorization: Bearer', 'Bearer realm="berth", error="invalid_token"'],
    ['two words', 'Authorization: Bearer a b', 'Bearer realm="berth", error="invalid_token"'],
    ['an unknown token', 'Authorization: Bearer berth_x', 'Bearer realm="berth", error="invalid_token"'],
  ])('must be asked for by a 401 that says what is wrong with %s', async (_what, header, challenge) => {
    const answer = await me(header === '' ? 'Accept: */*' : header);
    expectError(answer, 401, 'unauthorized');
    expect(answer.headers['www-authenticate']).toBe(challenge.toLowerCase());
  });

  it('must be answered by a 403 that names the scopes, where the token lacks them', async () => {
    const { token } = await berth.user('pro', ['read']);
    const headers = { authorization: `Bearer ${token}` };
    for (const [method, path, scope, body] of [
      ['POST', '/api/containers/none/start', 'write', undefined],
      ['POST', '/api/containers/none/exec', 'exec', '{"command":["true"]}'],
      ['GET', '/api/admin/users', 'admin', undefined],
      ['GET', '/api/audit?all=true', 'admin', undefined],
    ] as const) {
      const answer = await call(method, path, { headers, ...(body !== undefined && { body }) });
      expectError(answer, 403, 'insufficient_permissions');
      expect([path, answer.headers['www-authenticate']]).toEqual([
        path,
        `Bearer realm="berth", error="insufficient_scope", scope="${scope}"`,
      ]);
    }
  });
});

describe('a parameter of a query', () => {
  it('must be refused by every route that does not know it, by its name', async () => {
    const seen: unknown[] = [];
    // The link in its query comes first, as a token does: test/unit/file-links.spec.ts.
    const described = routes().filter(({ isDescribed, path }) => isDescribed && !path.endsWith('/files/linked'));
    for (const { method, path, takesAny } of described) {
      const options = takesAny ? { headers: { 'content-type': 'application/octet-stream' } } : {};
      const { status, body } = await call(method, `${path}?zzz=1&path=/a`, options);
      const told = (body['details'] as { field: string }[] | undefined)?.some(({ field }) => field === 'zzz');
      if (status !== 400 || (method !== 'HEAD' && !told)) seen.push({ method, path, status, body });
    }
    expect(seen).toEqual([]);
    expect(described.length).toBeGreaterThan(60);
  });

  it('must not be told of to those who may not use the route', async () => {
    const headers = { authorization: 'Bearer x' };
    expectError(await call('GET', '/api/me?zzz=1', { headers }), 401, 'unauthorized');
    const { token } = await berth.user('pro', ['read']);
    const denied = { authorization: `Bearer ${token}` };
    expectError(
      await call('POST', '/api/containers/x/start?zzz=1', { headers: denied }),
      403,
      'insufficient_permissions',
    );
  });

  it.each([
    ['/api/events?after=9007199254740991', 200],
    ['/api/events?after=9007199254740992', 400],
    ['/api/events/stream?after=9007199254740991', 200],
    ['/api/events?after=10000000000000000', 400],
    ['/api/events?after=-1', 400],
  ])('must be as large as the document says: %s', async (path, status) => {
    expect((await call('GET', path)).status).toBe(status);
  });
});

describe('a body with a Content-Encoding', () => {
  it.each(['gzip', 'GZIP', 'br', 'identity, gzip', 'x'])(
    'must be a 415 that says what is taken: %s',
    async (coding) => {
      const { db_id: id } = await admin.api.running();
      for (const [method, path, type] of [
        ['POST', '/api/containers', 'application/json'],
        ['PUT', `/api/containers/${id}/files?path=/tmp/x`, 'application/octet-stream'],
      ] as const) {
        const headers = { 'content-encoding': coding, 'content-type': type };
        const answer = await call(method, path, { body: '{}', headers });
        expectError(answer, 415, 'unsupported_media_type');
        expect(answer.headers['accept-encoding']).toBe('identity');
      }
      const untaken = await call('POST', `/api/containers/${id}/stop`, {
        body: '{}',
        headers: { 'content-encoding': coding },
      });
      expectError(untaken, 400, 'invalid_parameters');
    },
  );

  it('must be taken where the coding is none', async () => {
    const headers = { 'content-encoding': 'identity' };
    expect((await call('POST', '/api/tokens', { body: '{"name":"x"}', headers })).status).toBe(201);
    const gzip = { 'content-encoding': 'gzip' };
    expect((await call('GET', '/api/me', { headers: gzip })).status).toBe(200);
  });
});

describe('what is no HTTP', () => {
  it.each([
    ['nonsense', 'hello\r\n\r\n'],
    ['two lengths', 'POST /api/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a header without end', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`],
  ])('must be refused with the time, as everything is (RFC 9110, 6.6.1): %s', async (_what, text) => {
    const before = Date.now();
    const { headers } = await bytes(text);
    const told = Date.parse(String(headers['date']));
    expect(told).toBeGreaterThan(before - 2_000);
    expect(told).toBeLessThanOrEqual(Date.now());
  });
});

describe('a field of the wrong type', () => {
  const WRONG = {
    string: [/must be a string/, 5, true, ['a'], { a: 'b' }],
    integer: [/must be (a whole|an integer) number/, '256', true, [1], { a: 1 }, 1.5],
    boolean: [/must be a boolean/, 5, 'true', ['a'], { a: 'b' }],
    array: [/must be an array/, 'x', 5, true, { 0: 'x' }],
    object: [/must be an object/, 'x', 5, true, ['a']],
    policy: [/must be "internet", "none", or \{ "allow"/, 5, true, ['a'], { a: 'b' }, { allow: [5] }],
  } as const;

  type Schema = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string];

  /** Every field of every body that the document describes. */
  function fields(): { route: string; type: string; field: string; described: Exclude<Schema, { $ref: string }> }[] {
    return Object.entries(document.paths).flatMap(([path, item]) =>
      (['post', 'put', 'patch'] as const).flatMap((method) => {
        const body = item[method]?.requestBody;
        return Object.entries(body && 'content' in body ? body.content : {}).flatMap(([type, { schema: named }]) => {
          if (!/^application\/(?:merge-patch\+)?json$/.test(type) || !named || !('$ref' in named)) return [];
          const schema = document.components?.schemas?.[named.$ref.replace('#/components/schemas/', '')];
          const properties = schema && 'properties' in schema ? (schema.properties ?? {}) : {};
          return Object.entries(properties).map(([field, described]) => ({
            route: `${method.toUpperCase()} ${path}`,
            type,
            field,
            described: described as Exclude<Schema, { $ref: string }>,
          }));
        });
      }),
    );
  }

  /** What a field is where it is not null. */
  function withoutNull({ anyOf, ...schema }: Exclude<Schema, { $ref: string }>): Exclude<Schema, { $ref: string }> {
    const named = anyOf?.find((each) => '$ref' in each);
    if (!named) return schema;
    return document.components?.schemas?.[named.$ref.replace('#/components/schemas/', '')] as typeof schema;
  }

  it('must be refused for its type before anything else, in every body', async () => {
    const misleading: unknown[] = [];
    for (const { route, type: contentType, field, described } of fields()) {
      const { type = 'policy', items } = withoutNull(described);
      const [method = '', path = ''] = route.replace(/\{\w+\}/g, '00000000-0000-4000-8000-000000000000').split(' ');
      const [words, ...values] = WRONG[[type].flat()[0] as keyof typeof WRONG];
      const cases: [RegExp, unknown][] = values.map((value) => [words, value]);
      if (items && 'type' in items && items.type === 'string' && !items.enum) cases.push([/must be a string/, [5]]);
      for (const [expected, value] of cases) {
        const headers = { 'content-type': contentType };
        const { status, body } = await call(method, path, { body: JSON.stringify({ [field]: value }), headers });
        const details = body['details'] as { field: string; message: string }[];
        const told = details.filter((each) => each.field === field);
        const isTold = told.length === 1 && expected.test(told[0]?.message ?? '');
        if (status !== 400 || !isTold) misleading.push({ route, field, value, told });
      }
    }
    expect(misleading).toEqual([]);
    expect(fields().length).toBeGreaterThan(15);
  });
});
