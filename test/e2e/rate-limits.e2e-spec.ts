import { SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { guessedToken, type HttpAnswer, type HttpCall, httpCall } from '../support/clients/http-call';
import { SocketClient } from '../support/clients/socket-client';
import { Draining } from '../../src/http';
import { TokenService } from '../../src/auth';

const NEW = { image: 'custom', custom_image: testImage(), ...SMALL };
const ELSEWHERE = '127.0.0.2';

let berth: Berth;
let user: TestUser;

async function start(environment: Record<string, string>): Promise<void> {
  berth = await Berth.start({ engine: new FakeEngine(), environment });
  user = await berth.user();
}

afterEach(async () => {
  jest.restoreAllMocks();
  await berth.stop();
});

const call = (path: string, options?: HttpCall): Promise<HttpAnswer> => httpCall(berth.url, path, options);
const me = (options: HttpCall = {}): Promise<HttpAnswer> => call('/api/me', { token: user.token, ...options });

/** The statuses of `n` requests, one after the other. */
async function statuses(n: number, ask: () => Promise<HttpAnswer>): Promise<number[]> {
  const seen: number[] = [];
  for (let asked = 0; asked < n; asked += 1) seen.push((await ask()).status);
  return seen;
}

/** Another token of the user. */
async function tokenOf({ id }: TestUser): Promise<string> {
  const tokens = berth.app.get(TokenService);
  return (await tokens.issue({ userId: id, name: 'further', scopes: ['read', 'write'], expiresAt: null })).text;
}

function expectRefused(answer: HttpAnswer, limit: number, windowSeconds = 60): void {
  expect(answer.status).toBe(429);
  expect(answer.body).toEqual({
    error: 'rate limit exceeded',
    code: 'rate_limit_exceeded',
    request_id: answer.headers['x-request-id'],
  });
  const { headers } = answer;
  expect(headers).toMatchObject({ 'ratelimit-limit': String(limit), 'ratelimit-remaining': '0' });
  expect(headers['retry-after']).toMatch(/^[1-9]\d*$/);
  expect(headers['ratelimit-reset']).toBe(headers['retry-after']);
  expect(Number(headers['retry-after'])).toBeGreaterThan(windowSeconds - 30);
  expect(Number(headers['retry-after'])).toBeLessThanOrEqual(windowSeconds);
}

describe('RATE_LIMIT_PER_MINUTE', () => {
  beforeEach(() => start({ RATE_LIMIT_PER_MINUTE: '5' }));

  it('must count each user by themselves, wherever they come from, and say how many requests are left', async () => {
    const first = await me();
    expect(first).toMatchObject({ status: 200, headers: { 'ratelimit-limit': '5', 'ratelimit-remaining': '4' } });
    expect(first.headers['ratelimit-reset']).toMatch(/^(5\d|60)$/);
    expect(first.headers).not.toHaveProperty('retry-after');
    expect(await statuses(3, () => me({ from: ELSEWHERE }))).toEqual([200, 200, 200]);
    // Whatever becomes of it, a request is one.
    const last = await call('/api/containers/none', { token: user.token });
    expect(last).toMatchObject({ status: 404, headers: { 'ratelimit-remaining': '0' } });
    expectRefused(await me(), 5);
    expectRefused(await me({ from: ELSEWHERE }), 5);
    const other = await berth.user();
    expect((await me({ token: other.token })).status).toBe(200);
  });

  it('must count all of a user’s tokens together, whoever saw them first', async () => {
    const second = await tokenOf(user);
    expect(await statuses(2, me)).toEqual([200, 200]);
    expect(await me({ token: second, from: ELSEWHERE })).toMatchObject({
      status: 200,
      headers: { 'ratelimit-remaining': '2' },
    });
    expect(await statuses(2, () => me({ token: second, from: ELSEWHERE }))).toEqual([200, 200]);
    expectRefused(await me(), 5);
    // A token that nobody has seen yet is verified once, as only that tells whose it is; then it is known.
    const third = await tokenOf(user);
    expectRefused(await me({ token: third, from: '127.0.0.3' }), 5);
    const verify = jest.spyOn(berth.app.get(TokenService), 'verify');
    expectRefused(await me({ token: third, from: '127.0.0.3' }), 5);
    expect(verify).not.toHaveBeenCalled();
    expect((await me({ token: (await berth.user()).token, from: '127.0.0.4' })).status).toBe(200);
  });

  it('must not be escaped by making tokens', async () => {
    let answered = 0;
    for (let made = 0; made < 10; made += 1) {
      const token = await tokenOf(user);
      const from = `127.0.1.${String(made)}`;
      answered += (await statuses(2, () => me({ token, from }))).filter((status) => status === 200).length;
    }
    expect(answered).toBe(5);
  });

  it('must count sockets of known tokens, and streams, with the requests of their user', async () => {
    expect((await me()).status).toBe(200);
    const token = await tokenOf(user);
    const clients: SocketClient[] = [];
    const connect = (options: { token: string; after?: number }): SocketClient => {
      const client = new SocketClient(berth.url, { ...options });
      clients.push(client);
      return client;
    };
    await connect({ token: user.token, after: 0 }).connected();
    await connect({ token, after: 0 }).connected();
    await connect({ token }).connected();
    const stream = new AbortController();
    const headers = { authorization: `Bearer ${token}` };
    const following = await fetch(`${berth.url}/api/events/stream`, { headers, signal: stream.signal });
    expect([following.status, following.headers.get('ratelimit-remaining')]).toEqual([200, '0']);
    stream.abort();
    const refused = connect({ token: user.token, after: 0 });
    expect(await refused.refused()).toBe('rate limit exceeded');
    expect(refused.refusals[0]?.data).toEqual({
      error: 'rate limit exceeded',
      code: 'rate_limit_exceeded',
      retry_after: expect.any(Number) as number,
    });
    expectRefused(await me(), 5);
    for (const { socket } of clients) socket.close();
  });

  it('must count connections that have not said whose they are by address, before a session is made for them', async () => {
    const handshake = (query: string, options: HttpCall = {}): Promise<HttpAnswer> =>
      call(`/socket.io/?EIO=4&transport=polling${query}`, options);
    expect(await statuses(3, () => handshake(''))).toEqual([200, 200, 200]);
    expect(await statuses(2, () => handshake('&sid=unknown'))).toEqual([400, 400]);
    for (const query of ['', '&sid=unknown']) {
      const refused = await handshake(query);
      expect(refused).toMatchObject({
        status: 429,
        body: { error: 'rate limit exceeded', code: 'rate_limit_exceeded' },
      });
      expect(refused.body['request_id']).toBe(refused.headers['x-request-id']);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    }
    const websocket = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    const upgrade = await call('/socket.io/?EIO=4&transport=websocket', { headers: websocket });
    expect(upgrade).toMatchObject({ status: 429, body: { code: 'rate_limit_exceeded' } });
    expect((await call('/api/me')).status).toBe(429);
    expect((await handshake('', { from: ELSEWHERE })).status).toBe(200);
    // A client with a token is not held up by strangers at the same address, except for a new connection.
    expect((await me({ from: ELSEWHERE })).status).toBe(200);
    expect((await me()).status).toBe(200);
  });

  it('must let a flood of connections make no more sessions than requests, and hold up nobody who is known', async () => {
    expect((await me()).status).toBe(200);
    const websocket = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    // Refused before there is a WebSocket: one that is let in would not be answered like a request.
    const flood = Array.from({ length: 300 }, (_none, n) => {
      const isPolling = n % 2 === 0;
      const path = `/socket.io/?EIO=4&transport=${isPolling ? 'polling' : 'websocket'}`;
      return () => call(path, isPolling ? {} : { headers: websocket });
    });
    // The first four and the request above use up what the address has.
    expect(await statuses(5, () => call('/socket.io/?EIO=4&transport=polling'))).toEqual([200, 200, 200, 200, 429]);
    const answers = Promise.all(flood.map((ask) => ask()));
    expect((await me()).status).toBe(200);
    expect(new Set((await answers).map(({ status }) => status))).toEqual(new Set([429]));
    expect((await me()).status).toBe(200);
  });

  it('must count agents’ sockets for their user', async () => {
    const agent = await call('/api/agents', { method: 'POST', token: user.token, body: { name: 'desk' } });
    expect(agent.status).toBe(201);
    const token = String(agent.body['token']);
    expect(await statuses(3, me)).toEqual([200, 200, 200]);
    const first = await new SocketClient(`${berth.url}/agents`, { token }).connected();
    const second = new SocketClient(`${berth.url}/agents`, { token });
    expect(await second.refused()).toBe('rate limit exceeded');
    for (const { socket } of [first, second]) socket.close();
  });

  it('must reset when its minute is over', async () => {
    expect(await statuses(6, me)).toEqual([200, 200, 200, 200, 200, 429]);
    const { now } = Date;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 61_000);
    expect(await me()).toMatchObject({ status: 200, headers: { 'ratelimit-remaining': '4' } });
  });

  it('must count who brings no token by address, for routes that do not exist too', async () => {
    expect(await statuses(3, () => call('/api/me'))).toEqual([401, 401, 401]);
    expect(await statuses(2, () => call('/nothing/here'))).toEqual([404, 404]);
    expectRefused(await call('/api/me'), 5);
    expectRefused(await call('/nothing/here', { method: 'POST', body: {} }), 5);
    expect((await call('/api/me', { from: ELSEWHERE })).status).toBe(401);
  });

  it('must not let ever new tokens escape, where refusals are not limited and where there is no route', async () => {
    const guess = (): Promise<HttpAnswer> => call('/api/me', { token: guessedToken() });
    const astray = (): Promise<HttpAnswer> => call('/nothing', { token: guessedToken() });
    expect(await statuses(3, guess)).toEqual([401, 401, 401]);
    expect(await statuses(3, astray)).toEqual([404, 404, 429]);
  });

  it('must admit no more of many at once', async () => {
    await me();
    const answers = await Promise.all(Array.from({ length: 20 }, () => me()));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(16);
  });

  it('must never limit probes, nor count the documentation and preflights with the API', async () => {
    for (const path of ['/health/live', '/health/ready', '/api/docs', '/api/openapi.json', '/api/asyncapi.json']) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => call(path)));
      expect([path, ...new Set(answers.map(({ status }) => status))]).toEqual([path, 200]);
      expect(answers[0]?.headers).not.toHaveProperty('ratelimit-limit');
    }
    for (let n = 0; n < 8; n += 1) await call('/api/me', { method: 'OPTIONS' });
    expect(await call('/api/me')).toMatchObject({ status: 401, headers: { 'ratelimit-remaining': '4' } });
  });

  it('must say that the server drains rather than that there are too many requests', async () => {
    await statuses(6, me);
    berth.app.get(Draining).begin();
    expect(await me()).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
  });
});

describe('RATE_LIMIT_PUBLIC_PER_MINUTE', () => {
  it('must limit each path by address, and leave probes alone', async () => {
    await start({ RATE_LIMIT_PUBLIC_PER_MINUTE: '3' });
    const paths = [
      '/metrics',
      '/api/docs',
      '/api/docs/swagger-ui-bundle.js',
      '/api/openapi.json',
      '/api/asyncapi.json',
      '/',
      '/assets/index.js',
    ];
    for (const [index, path] of paths.entries()) {
      const from = `127.0.3.${String(index + 1)}`;
      const answered = await statuses(3, () => call(path, { from }));
      expect([path, ...answered]).not.toContain(429);
      expectRefused(await call(path, { from }), 3);
      expectRefused(await call('/metrics', { from }), 3);
      expect([path, (await call(path, { from: `127.0.4.${String(index + 1)}` })).status]).toEqual([path, answered[0]]);
      expect(await statuses(4, () => call('/health/live', { from }))).toEqual([200, 200, 200, 200]);
      expect(await statuses(4, () => call('/health/ready', { from }))).toEqual([200, 200, 200, 200]);
      expect((await me({ from })).status).toBe(200);
    }
  });
});

describe('RATE_LIMIT_CREATES_PER_MINUTE', () => {
  it('must be stricter for creations alone, each user by themselves', async () => {
    await start({ RATE_LIMIT_PER_MINUTE: '100', RATE_LIMIT_CREATES_PER_MINUTE: '2' });
    const create = (token = user.token): Promise<HttpAnswer> =>
      call('/api/containers', { method: 'POST', token, body: NEW });
    expect(await create()).toMatchObject({ status: 202, headers: { 'ratelimit-remaining': '1' } });
    expect(await create()).toMatchObject({ status: 202, headers: { 'ratelimit-remaining': '0' } });
    expectRefused(await create(), 2);
    expectRefused(await create(await tokenOf(user)), 2);
    expect(await call('/api/containers', { token: user.token })).toMatchObject({
      status: 200,
      headers: { 'ratelimit-limit': '100', 'ratelimit-remaining': '95' },
      body: { count: 2 },
    });
    const others = [await berth.user(), await berth.user(), await berth.user()];
    expect(await Promise.all(others.map(async ({ token }) => (await create(token)).status))).toEqual([202, 202, 202]);
  });
});

describe('RATE_LIMIT_GUESTS_PER_HOUR', () => {
  it('must count log-ins of each address, tried or done', async () => {
    await start({ RATE_LIMIT_GUESTS_PER_HOUR: '3' });
    const login = (username: string, from = '127.0.0.1'): Promise<HttpAnswer> =>
      call('/api/auth/guest', { method: 'POST', body: { username }, from });
    expect((await login('ada')).status).toBe(201);
    expect((await login('!')).status).toBe(400);
    expect((await login('bob')).status).toBe(201);
    expectRefused(await login('eve'), 3, 3_600);
    expect((await login('eve', ELSEWHERE)).status).toBe(201);
    expect((await me()).status).toBe(200);
  });
});

describe('RATE_LIMIT_REFUSALS_PER_MINUTE', () => {
  beforeEach(() => start({ RATE_LIMIT_REFUSALS_PER_MINUTE: '3' }));

  const guess = (options: HttpCall = {}): Promise<HttpAnswer> => call('/api/me', { token: guessedToken(), ...options });

  it('must turn away further tokens of that address before the database is asked, and harm no token that is known', async () => {
    const newcomer = await berth.user();
    expect((await me()).status).toBe(200);
    expect(await statuses(3, guess)).toEqual([401, 401, 401]);
    const verify = jest.spyOn(berth.app.get(TokenService), 'verify');
    expectRefused(await guess(), 3);
    expectRefused(await guess({ token: 'nonsense' }), 3);
    expectRefused(await call('/nothing', { token: guessedToken() }), 3);
    expect(verify).not.toHaveBeenCalled();
    expect(await statuses(5, me)).toEqual([200, 200, 200, 200, 200]);
    // Whether a new token is a guess only the database could tell; it works from everywhere else, and soon from here.
    expectRefused(await me({ token: newcomer.token }), 3);
    expect((await me({ token: newcomer.token, from: ELSEWHERE })).status).toBe(200);
    expect((await me({ token: newcomer.token })).status).toBe(200);
    // Who brings no token guesses none.
    expect((await call('/api/me')).status).toBe(401);
    expect((await guess({ from: ELSEWHERE })).status).toBe(401);
  });

  it('must count a token that is known no longer once it is revoked', async () => {
    await me();
    const { tokens } = (await call('/api/tokens', { token: user.token })).body as { tokens: { id: string }[] };
    await berth.app.get(TokenService).revoke({ userId: user.id, tokenId: String(tokens[0]?.id) });
    expect(await statuses(4, me)).toEqual([401, 401, 401, 429]);
  });

  it('must count sockets as well as requests', async () => {
    const clients: SocketClient[] = [];
    const refusalOf = async (token: string, namespace = ''): Promise<unknown> => {
      const client = new SocketClient(`${berth.url}${namespace}`, { token });
      clients.push(client);
      await client.refused();
      return client.refusals[0]?.data;
    };
    const unauthorized = { error: 'unauthorized', code: 'unauthorized' };
    const limited = {
      error: 'rate limit exceeded',
      code: 'rate_limit_exceeded',
      retry_after: expect.any(Number) as number,
    };
    await me();
    expect(await refusalOf(guessedToken())).toEqual(unauthorized);
    expect(await refusalOf(guessedToken(), '/agents')).toEqual(unauthorized);
    expect((await guess()).status).toBe(401);
    expect(await refusalOf(guessedToken())).toEqual(limited);
    expect(await refusalOf(guessedToken(), '/agents')).toEqual(limited);
    expectRefused(await guess(), 3);
    clients.push(await new SocketClient(berth.url, { token: user.token }).connected());
    for (const { socket } of clients) socket.close();
  });
});

describe('waits', () => {
  const MOST = 50;
  const open: AbortController[] = [];

  beforeEach(() => start({}));
  afterEach(() => {
    for (const each of open.splice(0)) each.abort();
  });

  /** The statuses that have come; those that wait have none. */
  function wait(
    n: number,
    { path, token, method = 'GET' }: { path: string; token: string; method?: string },
  ): { answers: Response[]; hangUp: () => void } {
    const answers: Response[] = [];
    const client = new AbortController();
    open.push(client);
    const headers = { authorization: `Bearer ${token}` };
    for (let asked = 0; asked < n; asked += 1) {
      fetch(`${berth.url}${path}`, { method, headers, signal: client.signal }).then(
        (answer) => answers.push(answer),
        () => undefined,
      );
    }
    return { answers, hangUp: () => client.abort() };
  }

  async function path(of: TestUser, status = 'stopped'): Promise<string> {
    return `/api/containers/${(await of.api.running()).db_id}/wait?status=${status}&timeout=60`;
  }

  it('must be so many of a user at a time, and say when the next may come', async () => {
    const waiting = await path(user);
    const token = await tokenOf(user);
    const { answers } = wait(MOST - 1, { path: waiting, token: user.token });
    const last = wait(4, { path: waiting, token });
    await eventually(() => expect([...answers, ...last.answers]).toHaveLength(3));
    for (const answer of [...answers, ...last.answers]) {
      expect(answer.status).toBe(429);
      expect(await answer.json()).toEqual({
        error: 'too many connections',
        code: 'too_many_connections',
        request_id: answer.headers.get('x-request-id'),
      });
      const seconds = Number(answer.headers.get('retry-after'));
      expect(seconds).toBeGreaterThan(30);
      expect(seconds).toBeLessThanOrEqual(60);
    }
    // Nobody else is held up, and nothing else of this user.
    const other = await berth.user();
    const running = await path(other, 'running');
    expect((await call(running, { token: other.token })).status).toBe(200);
    expect((await me()).status).toBe(200);
    // What ends a wait makes room for others.
    const id = waiting.split('/')[3] ?? '';
    expect((await user.api.stop(id)).status).toBe(200);
    await eventually(() => expect([...answers, ...last.answers]).toHaveLength(MOST + 3));
    expect((await call(waiting, { token })).status).toBe(200);
  });

  it('must end with their connections', async () => {
    const waiting = await path(user);
    const first = wait(MOST, { path: waiting, token: user.token });
    await eventually(async () => expect((await call(waiting, { token: user.token, hangUpMs: 500 })).status).toBe(429));
    expect(first.answers).toEqual([]);
    first.hangUp();
    const id = waiting.split('/')[3] ?? '';
    const look = (): Promise<HttpAnswer> =>
      call(`/api/containers/${id}/wait?status=stopped&timeout=0`, { token: user.token });
    await eventually(async () => {
      const answers = await Promise.all(Array.from({ length: MOST }, look));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([408]));
    });
  });
});

describe('TRUSTED_PROXIES', () => {
  const from = (forwarded: string): HttpCall => ({ headers: { 'x-forwarded-for': forwarded } });

  it('must be needed for X-Forwarded-For to be believed', async () => {
    await start({ RATE_LIMIT_PER_MINUTE: '2' });
    expect(await statuses(2, () => call('/api/me', from('192.0.2.1')))).toEqual([401, 401]);
    expectRefused(await call('/api/me', from('192.0.2.2')), 2);
    expectRefused(await call('/api/me', { headers: { forwarded: 'for=192.0.2.3', 'x-real-ip': '192.0.2.3' } }), 2);
  });

  it('must make each client behind one count for itself, whatever it writes', async () => {
    await start({ RATE_LIMIT_PER_MINUTE: '2', TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8' });
    expect(await statuses(2, () => call('/api/me', from('192.0.2.1')))).toEqual([401, 401]);
    expectRefused(await call('/api/me', from('192.0.2.1')), 2);
    expectRefused(await call('/api/me', from('192.0.2.77, 192.0.2.1')), 2);
    expectRefused(await call('/api/me', from('10.0.0.9, 192.0.2.1, 10.0.0.5')), 2);
    expect((await call('/api/me', from('192.0.2.2'))).status).toBe(401);
    // Not through the proxy: its word is its own.
    expect(await statuses(2, () => call('/api/me', { ...from('192.0.2.3'), from: ELSEWHERE }))).toEqual([401, 401]);
    expectRefused(await call('/api/me', { ...from('192.0.2.4'), from: ELSEWHERE }), 2);
  });
});

it('without limits there must be no header and no end', async () => {
  await start({});
  const answers = await Promise.all(Array.from({ length: 30 }, () => me()));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  expect(Object.keys(answers[0]?.headers ?? {}).filter((name) => name.startsWith('ratelimit'))).toEqual([]);
});
