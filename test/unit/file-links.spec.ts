import { rm } from 'node:fs/promises';
import { TokenService, UserEntity } from '../../src/auth';
import { Database } from '../../src/database';
import { LOGGER, type Logger } from '../../src/logging';
import type { Answer } from '../support/clients/api-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { TestClock } from '../support/fakes/test-clock';
import { Berth, type NewUser } from '../support/servers/berth';

const SECOND = 1000;

let database: TestDatabase;
let berth: Berth;
let user: NewUser;
let id: string;
const clock = new TestClock();

beforeAll(async () => {
  database = await openTestDatabase();
  const simulated = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'file-links' };
  const environment = { ...simulated, RATE_LIMIT_PER_MINUTE: '10000' };
  berth = await Berth.start({ environment, database, clock });
  user = await berth.user('pro');
  id = await container(user);
});

afterAll(async () => {
  await berth.stop();
  await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
  await database.drop();
});

/** A running container with `/home/user/a: b.txt`, `/home/user/secret` and a file whose name is not UTF-8. */
async function container(of: NewUser): Promise<string> {
  const { db_id } = await of.api.running({ image: 'sandbox', custom_image: null });
  for (const [path, body] of [
    ['a%3A%20b.txt', '0123456789'],
    ['secret', 'another file'],
    ['caf%E9', 'by its bytes'],
  ] as const) {
    const headers = { authorization: `Bearer ${of.token}` };
    const at = `${berth.url}/api/containers/${db_id}/files?path=/home/user/${path}`;
    expect((await fetch(at, { method: 'PUT', headers, body })).status).toBe(201);
  }
  return db_id;
}

const asked = (path = '/home/user/a%3A%20b.txt', by: NewUser = user, of = id): Promise<Answer> =>
  by.api.call('POST', `/api/containers/${of}/files/links?path=${path}`);

async function link(...of: Parameters<typeof asked>): Promise<string> {
  const { status, body } = await asked(...of);
  expect(status).toBe(201);
  return String(body['url']);
}

const change = (userId: string, to: Partial<UserEntity>): Promise<unknown> =>
  berth.app.get(Database).manager.update(UserEntity, userId, to);

/** What a program gets that knows no more than the address. */
const open = (url: string, method = 'GET', headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${berth.url}${url}`, { method, headers });

async function expectNone(url: string): Promise<void> {
  const answer = await open(url);
  expect([answer.status, await answer.json()]).toEqual([
    404,
    { error: 'link not found', code: 'link_not_found', request_id: expect.any(String) },
  ]);
  expect(answer.headers.get('cache-control')).toBe('no-store');
}

/** A change in the middle: the last character has bits that mean nothing. */
const altered = (url: string): string => {
  const at = url.length - 20;
  return `${url.slice(0, at)}${url[at] === 'A' ? 'B' : 'A'}${url.slice(at + 1)}`;
};

describe('a link to a file', () => {
  it('must give the file without a header, whole, in ranges, and by its head', async () => {
    const before = clock.now().getTime();
    const { body, headers } = await asked();
    expect(body).toEqual({
      url: expect.stringMatching(new RegExp(`^/api/containers/${id}/files/linked\\?link=[\\w%.~-]+$`)),
      expires_at: expect.any(String),
    });
    expect(headers.get('location')).toBe(body['url']);
    const lasts = new Date(String(body['expires_at'])).getTime() - before;
    expect(Math.abs(lasts - 60 * SECOND)).toBeLessThan(10 * SECOND);
    const url = String(body['url']);
    for (const method of ['GET', 'HEAD', 'GET']) {
      const answer = await open(url, method);
      expect([answer.status, await answer.text()]).toEqual([200, method === 'GET' ? '0123456789' : '']);
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-length': '10',
        'content-type': 'application/octet-stream',
        'content-disposition': 'attachment; filename="a: b.txt"',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      });
    }
    const range = await open(url, 'GET', { range: 'bytes=2-4' });
    expect([range.status, await range.text(), range.headers.get('content-range')]).toEqual([
      206,
      '234',
      'bytes 2-4/10',
    ]);
  });

  it('must be to a name of any bytes', async () => {
    const answer = await open(await link('/home/user/caf%E9'));
    expect([answer.status, await answer.text()]).toEqual([200, 'by its bytes']);
  });

  it('must be to that file of that container alone, and to nothing else', async () => {
    const url = await link();
    const other = await container(user);
    await expectNone(url.replace(id, other));
    await expectNone(url.replace(id, id.slice(0, 12)));
    expect((await open(`${url}&path=/home/user/secret`)).status).toBe(400);
    for (const method of ['PUT', 'POST', 'DELETE']) expect((await open(url, method)).status).toBe(405);
    for (const path of ['files?path=/home/user/secret', 'files/list?path=/home/user', 'archive?path=/home/user']) {
      expect((await open(`/api/containers/${id}/${path}&${url.split('?')[1] ?? ''}`)).status).toBe(401);
    }
    const { token } = user;
    await expectNone(altered(url));
    for (const text of ['', '?link=', '?link=x', `?link=${token}`, '?link=v1:0123456789abcdef:AAAA']) {
      await expectNone(`/api/containers/${id}/files/linked${text}`);
    }
    await expectNone(`${url}&${url.split('?')[1] ?? ''}`);
  });

  it('must end after a minute', async () => {
    const url = await link();
    clock.forward(55 * SECOND);
    expect((await open(url)).status).toBe(200);
    clock.forward(6 * SECOND);
    await expectNone(url);
  });

  it.each<[what: string, end: (of: NewUser) => Promise<unknown>]>([
    ['is revoked', ({ id: userId, tokenId }) => berth.app.get(TokenService).revoke({ userId, tokenId })],
    [
      'expires',
      () => {
        clock.forward(30 * SECOND);
        return Promise.resolve();
      },
    ],
    ['belongs to a user who is suspended', ({ id: userId }) => change(userId, { suspendedAt: clock.now() })],
    ['belongs to a user who is deleted', ({ id: userId }) => change(userId, { deletedAt: clock.now() })],
    ['belongs to a guest whose session is over', ({ id: userId }) => change(userId, { sessionExpiresAt: clock.now() })],
    ['belongs to a user whose tokens are revoked', ({ id: userId }) => berth.app.get(TokenService).revokeAll(userId)],
  ])('must end when the token that made it %s', async (what, end) => {
    const expiresAt = what === 'expires' ? new Date(clock.now().getTime() + 20 * SECOND) : null;
    const of = await berth.user('pro', ['read', 'write', 'exec'], { expiresAt });
    const url = await link(undefined, of, await container(of));
    expect((await open(url)).status).toBe(200);
    await end(of);
    await expectNone(url);
  });

  it('must be made by the owner alone, with the scope exec, of a path that can be one', async () => {
    const weak = await berth.user('pro', ['read', 'write', 'admin']);
    expect(await asked(undefined, weak)).toMatchObject({ status: 403, body: { code: 'insufficient_permissions' } });
    expect(await asked(undefined, await berth.user())).toMatchObject({ status: 403, body: { code: 'not_authorized' } });
    for (const path of ['', 'relative', '/%00']) {
      expect(await asked(path)).toMatchObject({ status: 400, body: { code: 'invalid_parameters' } });
    }
    expect(await asked(`/${'x'.repeat(4_096)}`)).toMatchObject({ status: 400 });
    for (const path of ['/home/user/missing', `/${'x/'.repeat(2_047)}`]) {
      expect(await (await open(await link(path))).json()).toMatchObject({ code: 'path_not_found' });
    }
  });

  it('must count as a request of its user', async () => {
    const remaining = ({ headers }: { headers: Headers }): number => Number(headers.get('ratelimit-remaining'));
    for (let each = 0; each < 50; each++) await user.api.call('GET', '/api/me');
    const made = await asked();
    const first = await open(String(made.body['url']));
    const second = await open(String(made.body['url']));
    expect([remaining(first), remaining(second)]).toEqual([remaining(made) - 1, remaining(made) - 2]);
    // What else is in the header is not verified by that: requests with it alone are not the user's.
    const unknown = { authorization: `Bearer berth_${'0'.repeat(64)}` };
    expect((await open(String(made.body['url']), 'GET', unknown)).status).toBe(200);
    expect((await open('/api/me', 'GET', unknown)).status).toBe(401);
    expect(remaining(await user.api.call('GET', '/api/me'))).toBe(remaining(second) - 2);
  });

  it('must be in the audit as what its user did, and neither there nor in the log itself', async () => {
    const logger = berth.app.get<Logger>(LOGGER);
    const { level } = logger;
    logger.level = 'debug';
    const lines: unknown[] = [];
    for (const name of ['debug', 'info', 'warn', 'error'] as const) {
      jest.spyOn(logger, name).mockImplementation((...line: unknown[]) => void lines.push(line));
    }
    const url = await link();
    await (await open(url)).text();
    await expectNone(altered(url));
    jest.restoreAllMocks();
    logger.level = level;
    const { body } = await user.api.call('GET', '/api/audit?limit=2');
    const common = { user_id: user.id, token_id: user.tokenId, container_id: id, outcome: 'ok' };
    expect(body['entries']).toMatchObject([
      { ...common, action: 'container.file_read', detail: { bytes: 10 } },
      { ...common, action: 'container.file_link', detail: null },
    ]);
    const written = JSON.stringify([lines, body]);
    expect(lines).toContainEqual([
      expect.objectContaining({ route: '/api/containers/:id/files/linked', status: 200, user_id: user.id }),
      'request',
    ]);
    const sealed = url.split('link=')[1] ?? '';
    for (const text of [sealed, decodeURIComponent(sealed), sealed.slice(-40), 'b.txt']) {
      expect(written).not.toContain(text);
    }
  });
});
