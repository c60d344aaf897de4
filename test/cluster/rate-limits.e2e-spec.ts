import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { TokenService } from '../../src/auth';
import { RedisConnection } from '../../src/signals/redis-connection';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { guessedToken, type HttpAnswer, httpCall } from '../support/clients/http-call';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { openTestDatabase, TestDatabase, testRedisUrl } from '../support/databases/test-database';

const LIMIT = 9;
/**
 * Here two servers, Redis' cable and all who ask are one process: what waits long for its turn must not pass for no
 * answer.
 */
const ANSWER_MS = 3_000;

describe('rate limits of two servers', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let servers: Berth[];
  let instance: string;

  beforeEach(async () => {
    const { open } = RedisConnection.prototype;
    jest.spyOn(RedisConnection.prototype, 'open').mockImplementation(function (this: RedisConnection) {
      return open.call(this, { answerMs: ANSWER_MS });
    });
    database = await openTestDatabase();
    proxy = await TcpProxy.before(testRedisUrl());
    instance = `test-${randomUUID()}`;
    servers = [];
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await Promise.all(servers.map((server) => server.stop()));
    await proxy.down();
    await database.drop();
  });

  async function start(environment: Record<string, string>): Promise<[Berth, Berth, TestUser]> {
    const all = {
      INSTANCE_ID: instance,
      RATE_LIMIT_PER_MINUTE: String(LIMIT),
      RATE_LIMIT_REFUSALS_PER_MINUTE: String(LIMIT),
      ...environment,
    };
    const { daemon } = new FakeEngine();
    const begin = () => Berth.start({ database, environment: all, engine: new FakeEngine(daemon) });
    const [here, there] = (servers = [await begin(), await begin()]) as [Berth, Berth];
    return [here, there, await here.user()];
  }

  const me = (server: Berth, { token }: { token: string }): Promise<HttpAnswer> =>
    httpCall(server.url, '/api/me', { token });

  /** Until both servers have their connection they count nothing. */
  async function counting(): Promise<void> {
    for (const server of servers) {
      await eventually(async () => {
        const { headers } = await httpCall(server.url, '/nothing', { from: '127.0.0.9' });
        expect(headers).toHaveProperty('ratelimit-limit');
      });
    }
  }

  it('must be one limit with Redis, for requests, refusals and connections, and hold no token there', async () => {
    const [here, there, user] = await start({ REDIS_URL: proxy.url });
    await counting();
    const answers = await Promise.all(
      Array.from({ length: 3 * LIMIT }, (_none, index) => me(index % 2 ? here : there, user)),
    );
    // The first ones were counted for the address too, as neither server knew whose they are.
    const passed = answers.filter(({ status }) => status === 200).length;
    expect(passed).toBeLessThanOrEqual(LIMIT);
    for (const server of servers) expect((await me(server, user)).status).toBe(429);

    const other = await there.user();
    const statuses: number[] = [];
    for (let n = 0; n < LIMIT + 2; n += 1) {
      const from = '127.0.0.3';
      statuses.push((await httpCall((n % 2 ? here : there).url, '/api/me', { token: other.token, from })).status);
    }
    expect(statuses).toEqual([...Array.from({ length: LIMIT }, () => 200), 429, 429]);

    const minted = await here.user();
    const seen: number[] = [];
    for (let n = 0; n < LIMIT + 4; n += 1) {
      const issued = { userId: minted.id, name: 'further', scopes: ['read' as const], expiresAt: null };
      const { text: token } = await here.app.get(TokenService).issue(issued);
      seen.push(
        (await httpCall((n % 2 ? here : there).url, '/api/me', { token, from: `127.0.2.${String(n)}` })).status,
      );
    }
    expect(seen).toEqual([...Array.from({ length: LIMIT }, () => 200), 429, 429, 429, 429]);

    const guesses: number[] = [];
    for (let n = 0; n < LIMIT + 2; n += 1) {
      const guess = { token: guessedToken(), from: '127.0.0.4' };
      guesses.push((await httpCall((n % 2 ? here : there).url, '/api/me', guess)).status);
    }
    expect(guesses).toEqual([...Array.from({ length: LIMIT }, () => 401), 429, 429]);

    const handshakes: number[] = [];
    for (let n = 0; n < LIMIT + 2; n += 1) {
      const path = '/socket.io/?EIO=4&transport=polling';
      handshakes.push((await httpCall((n % 2 ? here : there).url, path, { from: '127.0.0.5' })).status);
    }
    expect(handshakes).toEqual([...Array.from({ length: LIMIT }, () => 200), 429, 429]);

    const redis = new Redis(testRedisUrl());
    const keys = await redis.keys(`berth:${instance}:*`);
    for (const key of keys) expect(await redis.pttl(key)).toBeGreaterThan(0);
    await redis.quit();
    expect(keys.length).toBeGreaterThan(3);
    expect(keys.filter((key) => key.includes('berth_'))).toEqual([]);
  });

  it('must be a limit of each without Redis', async () => {
    const [here, there, user] = await start({});
    for (const server of [here, there]) {
      const answers = await Promise.all(Array.from({ length: LIMIT }, () => me(server, user)));
      expect(answers.every(({ status }) => status === 200)).toBe(true);
      expect((await me(server, user)).status).toBe(429);
    }
  });

  it('must let everything pass while Redis is away or silent, hold nobody up, and count again afterwards', async () => {
    const [here, , user] = await start({ REDIS_URL: proxy.url });
    const many = (): Promise<HttpAnswer[]> => Promise.all(Array.from({ length: 3 * LIMIT }, () => me(here, user)));
    const allPass = async (): Promise<void> => {
      const answers = await many();
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
      expect(answers.filter(({ headers }) => 'ratelimit-limit' in headers)).toEqual([]);
    };
    await counting();
    await many();
    expect((await me(here, user)).status).toBe(429);

    await proxy.down();
    await eventually(allPass);
    await allPass();
    await proxy.up();
    await counting();
    expect((await me(here, user)).status).toBe(429);

    // A cable that is cut: those who have asked wait for a moment, whoever comes later does not.
    proxy.freeze({ newcomersToo: true });
    expect((await me(here, user)).status).toBe(200);
    await allPass();
  });
});
