import { connect } from 'node:net';
import { Berth, TestUser } from '../support/servers/berth';
import { described } from '../support/clients/described';
import { IS_MORE } from '../support/extent';
import { FakeEngine } from '../support/fakes/fake-engine';

const SETTINGS = { name: 'valid', memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
const CREATE = { image: 'sandbox', ...SETTINGS };
const AGENT = { name: 'valid', description: 'valid', os: 'linux', arch: 'x64', tags: ['valid'] };
const TOKEN = { name: 'valid', scopes: ['read'], expires_in: 1 };

const FURTHER: readonly unknown[] = [
  true,
  [],
  [[]],
  0,
  1.5,
  Number.MAX_SAFE_INTEGER,
  ' ',
  '\u0000',
  '💥',
  '../../etc/passwd',
  '{{7*7}}',
  '$(reboot)',
  'a\r\nx-evil: 1',
  'İ',
  { $gt: '' },
  { toString: 1 },
  ['a', 'b'],
  '9'.repeat(400),
  'NaN',
  'Infinity',
  '0x10',
];

/** Nothing of these is right for any field: one of each kind, and with `npm run test:more` all that there is. */
const NEVER_RIGHT: readonly unknown[] = [
  null,
  {},
  -1,
  1e308,
  '',
  'a\u0000b',
  '\ud800',
  'a'.repeat(5000),
  "'; DROP TABLE containers; --",
  '256',
  ...(IS_MORE ? FURTHER : []),
];

type Case = readonly [
  method: string,
  path: string,
  valid: Readonly<Record<string, unknown>>,
  field: string,
  values: readonly unknown[],
];

/** Fields of one body for which nothing of {@link NEVER_RIGHT} is right. */
const fieldsOf = (method: string, path: string, valid: Case[2], fields: readonly string[]): Case[] =>
  fields.map((field) => [method, path, valid, field, NEVER_RIGHT]);

const WRONG_ENV: readonly unknown[] = [{ 'a b': '1' }, { A: 1 }, { A: 'a\u0000' }, { A: { B: '1' } }];
const WRONG_COMMANDS: readonly unknown[] = [
  [],
  ['true', 1],
  ['true', null],
  ['true', ['a']],
  ['a\u0000'],
  Array.from({ length: 1025 }, () => 'a'),
];
const WRONG_STARTS: readonly unknown[] = [
  { command: 'true' },
  { command: ['true'], restart: 'always' },
  { command: ['true'], ready: {} },
  { command: ['true'], ready: { port: 0 } },
  { command: ['true'], ready: { port: 80, within_seconds: 0 } },
  { command: ['true'], cwd: '/' },
];
const WRONG_TAGS: readonly unknown[] = [
  ['a', 'a'],
  ['a b'],
  [null],
  [{}],
  ['x'.repeat(33)],
  Array.from({ length: 17 }, (_, n) => String(n)),
];

const FIELDS: readonly Case[] = [
  fieldsOf('POST', '/api/containers', CREATE, [
    'image',
    'custom_image',
    'name',
    'role',
    'memory_mb',
    'cpu_shares',
    'disk_mb',
  ]),
  fieldsOf('PATCH', '/api/containers/:target', SETTINGS, ['name', 'memory_mb', 'cpu_shares', 'disk_mb']),
  fieldsOf('POST', '/api/auth/guest', { username: 'valid' }, ['username']),
  fieldsOf('PATCH', '/api/admin/users/:user', { tier: 'pro' }, ['tier', 'suspended']),
  fieldsOf('POST', '/api/tokens', TOKEN, ['scopes', 'expires_in']),
  fieldsOf('POST', '/api/containers/:target/exec', { command: ['true'] }, [
    'command',
    'cwd',
    'user',
    'timeout_ms',
    'max_output_bytes',
    'encoding',
  ]),
  fieldsOf('POST', '/api/containers/:target/processes', { command: ['true'] }, ['command', 'cwd', 'user', 'tty']),
  fieldsOf('POST', '/api/containers/:target/processes/x/stdin', { data: 'x' }, ['encoding', 'close']),
  fieldsOf('POST', '/api/containers/:target/processes/x/signal', { signal: 'INT' }, ['signal']),
  fieldsOf('POST', '/api/agents', AGENT, ['name', 'description', 'os', 'arch']),
  [
    ['POST', '/api/containers', CREATE, 'env', [...NEVER_RIGHT, ...WRONG_ENV]] satisfies Case,
    ['POST', '/api/containers', CREATE, 'start', [...NEVER_RIGHT, ...WRONG_STARTS]] satisfies Case,
    ['PATCH', '/api/containers/:target', SETTINGS, 'start', [...NEVER_RIGHT, ...WRONG_STARTS]] satisfies Case,
    ['POST', '/api/containers/:target/exec', { command: ['true'] }, 'command', WRONG_COMMANDS] satisfies Case,
    [
      'POST',
      '/api/containers/:target/exec',
      { command: ['true'] },
      'env',
      [...NEVER_RIGHT, ...WRONG_ENV],
    ] satisfies Case,
    ['POST', '/api/containers/:target/exec', { command: ['true'] }, 'stdin', [1, true, [], {}]] satisfies Case,
    ['POST', '/api/agents', AGENT, 'tags', [...NEVER_RIGHT, ...WRONG_TAGS]] satisfies Case,
  ],
].flat();

/** Right for these fields after all: words of digits and letters, and null where leaving out is allowed. */
const WORDS: readonly unknown[] = ['256', 'NaN', 'Infinity', '0x10', '9'.repeat(400)];
const REQUIRED: ReadonlySet<string> = new Set(['image', 'username', 'command', 'signal']);
const RIGHT: Readonly<Record<string, readonly unknown[]>> = {
  name: ['256', 'NaN', 'Infinity', '0x10'],
  username: ['256', 'NaN', 'Infinity', '0x10'],
  custom_image: WORDS,
  env: [{}],
  start: [null],
  command: [['a', 'b']],
  user: ['256', 'NaN', 'Infinity', '0x10'],
  max_output_bytes: [0],
  tty: [true],
  close: [true],
  os: ['256', 'NaN', 'Infinity', '0x10'],
  arch: ['256', 'NaN', 'Infinity', '0x10'],
  tags: [[], ['a', 'b']],
  // Any one line of text.
  description: [
    ...WORDS,
    '',
    ' ',
    '💥',
    '../../etc/passwd',
    "'; DROP TABLE containers; --",
    '{{7*7}}',
    '$(reboot)',
    'İ',
  ],
};

describe('hostile input', () => {
  let berth: Berth;
  let user: TestUser;
  /** A container to update that needs no Docker: its creation has failed. */
  let target: string;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine() });
    user = await berth.user('pro', ['admin', 'exec']);
    const events = await berth.record(user);
    target = String((await user.api.create({ custom_image: 'berth/no-such-image:1' })).body['db_id']);
    await events.next('container_error');
  });

  afterAll(() => berth.stop());

  describe.each(FIELDS)('%s %s', (method, path, valid, field, values) => {
    it(`must be refused in ${field} by a 400 that names it`, async () => {
      const right = [...(RIGHT[field] ?? []), ...(method === 'POST' && !REQUIRED.has(field) ? [null] : [])];
      const wrong = values.filter((value) => !right.some((each) => deepEqual(each, value)));
      for (const value of wrong) {
        const body = { ...valid, ...(field === 'custom_image' && { image: 'custom' }), [field]: value };
        const answer = await user.api.call(method, path.replace(':target', target).replace(':user', user.id), body);
        expect({ value, status: answer.status, body: answer.body }).toMatchObject({ value, status: 400 });
        expect(answer.body).toMatchObject({ error: 'invalid parameters', code: 'invalid_parameters' });
        expectNoLeak(JSON.stringify(answer.body));
      }
    });
  });

  it.each<[string, string, number]>([
    ['no JSON', '{"image":', 400],
    ['a string', '"text"', 400],
    ['an array', '[]', 400],
    ['null', 'null', 400],
    ['an unknown field', JSON.stringify({ ...CREATE, privileged: true }), 400],
    ['a prototype key', '{"image":"sandbox","__proto__":{"admin":true}}', 400],
    ['a constructor key', '{"image":"sandbox","constructor":{"prototype":{"admin":true}}}', 400],
    ['a prototype key in env', '{"image":"sandbox","env":{"__proto__":{"a":"b"}}}', 400],
    ['deep nesting', `{"env":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`, 400],
    ['deep arrays', `{"env":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, 400],
    ['64 KiB and a byte', `{"image":"${'a'.repeat(65_536)}"}`, 413],
    ['10 MB', `{"image":"${'a'.repeat(10_000_000)}"}`, 413],
  ])('must be refused as a body: %s', async (_what, body, status) => {
    const answer = await raw('POST', '/api/containers', { body, headers: { 'content-type': 'application/json' } });
    expect(answer.status).toBe(status);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({
      error: expect.any(String),
      code: expect.any(String),
      request_id: expect.any(String),
    });
    expectNoLeak(text);
  });

  it('must be refused as another content type', async () => {
    for (const type of ['text/plain', 'application/xml', 'multipart/form-data; boundary=x', 'nonsense']) {
      const answer = await raw('POST', '/api/containers', { body: 'x', headers: { 'content-type': type } });
      expect(answer.status).toBe(415);
      expect(await answer.json()).toMatchObject({ code: 'unsupported_media_type' });
    }
  });

  it.each([
    'limit=0',
    'limit=101',
    'limit=1.5',
    'limit=a',
    'status=gone',
    'name=%00',
    'name=a%20b',
    'cursor=%00',
    'cursor=AAAA',
    'x=1',
    'limit=1&limit=2',
  ])('must be refused as a query of the list: %s', async (query) => {
    const answer = await user.api.call('GET', `/api/containers?${query}`);
    expect(answer.status).toBe(400);
    expect(answer.body['details']).toEqual([expect.objectContaining({ field: query.split('=')[0] })]);
  });

  it('must not choose the request id unless it is a sane one', async () => {
    const sane = await raw('GET', '/api/me', { headers: { 'x-request-id': 'abc-123' } });
    expect(sane.headers.get('x-request-id')).toBe('abc-123');
    for (const odd of ['a b', 'a'.repeat(200), '<script>', '"', '{}']) {
      const answer = await raw('GET', '/api/me', { headers: { 'x-request-id': odd } });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it.each<[string, string, number]>([
    ['a path that is no URL', 'GET /api/containers/%zz HTTP/1.1\r\nhost: x\r\n', 400],
    ['a header with a space in its name', 'GET /api/me HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n', 400],
    ['64 KiB of headers', `GET /api/me HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(65_536)}\r\n`, 431],
    ['two lengths', 'POST /api/containers HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n', 400],
    ['a method that does not exist', 'HACK /api/me HTTP/1.1\r\nhost: x\r\n', 400],
  ])('must be refused as bytes: %s', async (_what, head, status) => {
    const answer = await rawBytes(`${head}connection: close\r\n\r\n`);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    expect(JSON.parse(answer.slice(answer.indexOf('{')))).toMatchObject({
      error: expect.any(String),
      code: expect.any(String),
    });
    expectNoLeak(answer);
  });

  it('must get an error in the one shape for a route that is not there', async () => {
    for (const path of ['/nothing', '/api', '/api/nothing', '/etc/passwd', '/api/containers/a/b/c', '//evil']) {
      const answer = await raw('GET', path, {});
      expect(answer.status).toBe(404);
      expect(await answer.json()).toEqual({
        error: 'route not found',
        code: 'route_not_found',
        request_id: expect.any(String),
      });
    }
  });

  async function raw(
    method: string,
    path: string,
    init: { body?: string; headers?: Record<string, string> },
  ): Promise<Response> {
    const headers = { authorization: `Bearer ${user.token}`, ...init.headers };
    return described(method, await fetch(`${berth.url}${path}`, { method, ...init, headers }));
  }

  async function rawBytes(text: string): Promise<string> {
    const { hostname, port } = new URL(berth.url);
    const socket = connect(Number(port), hostname);
    socket.end(text);
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }
});

function deepEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function expectNoLeak(text: string): void {
  expect(text).not.toMatch(
    /node_modules|\.ts:|\.js:|at [A-Z]\w+\.|SELECT |INSERT |SQLITE|QueryFailed|berth_[0-9a-f]{64}/,
  );
}
