import { range } from '../support/servers/events-process';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { SocketServer } from '../support/servers/socket-server';
import type { NewUser } from '../support/servers/berth';

interface Page {
  readonly events: readonly { readonly seq: number }[];
  readonly next: number;
  readonly resync_required?: true;
}

let testDatabase: TestDatabase;
let server: SocketServer;
let user: NewUser;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  server = await SocketServer.start({ url: testDatabase.url });
});

afterAll(async () => {
  await server.stop();
  await testDatabase.drop();
});

beforeEach(async () => {
  user = await server.user();
});

const ask = (query = '') =>
  fetch(`${server.url}/api/events${query}`, { headers: { authorization: `Bearer ${user.token}` } });
const page = async (query?: string) => (await (await ask(query)).json()) as Page;

describe('events in pages', () => {
  it('must be the events that were emitted, from the first on', async () => {
    const committed = await server.commit(user.id, 'a', 'ünï ✓', 'c');
    expect(await page()).toEqual({ events: committed, next: 3 });
    expect(await page('?after=1')).toEqual({ events: committed.slice(1), next: 3 });
  });

  it('must say where to go on when there are none', async () => {
    expect(await page()).toEqual({ events: [], next: 0 });
    await server.commit(user.id, 'a', 'b');
    expect(await page('?after=2')).toEqual({ events: [], next: 2 });
  });

  it('must give every event once, in order, to a client that pages while more are committed', async () => {
    await server.commit(user.id, ...range(1, 120).map(String));
    const commits = Promise.all(range(1, 60).map((n) => server.commit(user.id, `more ${n}`)));
    const seen: number[] = [];
    for (let next = 0; seen.length < 180;) {
      const answer = await page(`?after=${next}&limit=7`);
      expect(answer.events.length).toBeLessThanOrEqual(7);
      seen.push(...answer.events.map(({ seq }) => seq));
      next = answer.next;
    }
    await commits;
    expect(seen).toEqual(range(1, 180));
  });

  it('must hold 100 unless asked otherwise, and 500 at most', async () => {
    await server.commit(user.id, ...range(1, 510).map(String));
    expect((await page()).events).toHaveLength(100);
    expect((await page('?limit=1')).next).toBe(1);
    expect((await page('?limit=500')).next).toBe(500);
  });

  it('must never hold another user’s', async () => {
    const other = await server.user();
    const [mine] = await server.commit(user.id, 'mine');
    await server.commit(other.id, 'theirs', 'theirs too');
    expect(await page()).toEqual({ events: [mine], next: 1 });
  });

  it('must ask for a resync where what was missed is not kept, and go on from there', async () => {
    await server.commit(user.id, ...range(1, 10).map(String));
    await server.forget(user.id, 5);
    for (const query of ['', '?after=4']) {
      expect(await page(query)).toEqual({ events: [], next: 10, resync_required: true });
    }
    expect((await page('?after=5')).events.map(({ seq }) => seq)).toEqual(range(6, 10));
    await server.forget(user.id, 10);
    expect(await page('?after=9')).toEqual({ events: [], next: 10, resync_required: true });
    expect(await page('?after=10')).toEqual({ events: [], next: 10 });
  });

  it.each([[3], [2 ** 31], [999_999_999_999_999]])(
    'must ask for a resync when the client is ahead of all there is: %i',
    async (after) => {
      await server.commit(user.id, 'a', 'b');
      expect(await page(`?after=${after}`)).toEqual({ events: [], next: 2, resync_required: true });
    },
  );

  it.each([
    'after=-1',
    'after=1.5',
    'after=x',
    'after=',
    'after=1&after=2',
    'after=%00',
    `after=${'9'.repeat(16)}`,
    'limit=0',
    'limit=501',
    'limit=1e2',
    'type=x',
  ])('must be refused with a 400 that names the fault: %s', async (query) => {
    const answer = await ask(`?${query}`);
    expect(answer.status).toBe(400);
    const field = query.split('=')[0];
    expect(await answer.json()).toMatchObject({ code: 'invalid_parameters', details: [{ field }] });
  });
});
