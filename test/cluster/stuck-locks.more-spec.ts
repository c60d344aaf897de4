import { setImmediate as turn } from 'node:timers/promises';
import { Client } from 'pg';
import { Answer, ApiClient } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { eventually } from '../support/eventually';

jest.setTimeout(180_000);

/** As many as there are connections in a process's pool, and more. */
const MANY = 14;

/** As no transaction does whose process runs. */
const STANDING_STILL = "state = 'idle in transaction' AND state_change < clock_timestamp() - interval '1 second'";

describe('a user’s row that does not become free', () => {
  let cluster: Cluster;
  let outside: Client;
  let user: ApiClient[];
  let other: ApiClient[];
  let made = 0;

  beforeAll(async () => {
    cluster = await Cluster.start('stuck-locks', { processes: 2, environment: { TOKEN_LIMIT: '100000' } });
    outside = new Client({ connectionString: cluster.environment['DATABASE_URL'] });
    await outside.connect();
    [user, other] = await Promise.all([cluster.user(), cluster.user()]);
  });

  afterAll(async () => {
    await outside.end();
    for (const server of cluster.servers) server.resume();
    await cluster.stop();
  });

  it('must be a 503 to its waiters in bounded time, and nothing to anybody else', async () => {
    const [here, elsewhere] = [client(user, 0), client(other, 0)];
    const { body } = await here.call('GET', '/api/me');
    await outside.query('BEGIN');
    try {
      const id = (body['user'] as { id: string }).id;
      const { rowCount } = await outside.query('SELECT 1 FROM users WHERE id = $1 FOR UPDATE', [id]);
      expect(rowCount).toBe(1);
      const waiting = Promise.all(Array.from({ length: MANY }, () => makeToken(here)));
      await eventually(async () => expect(await sessions("wait_event_type = 'Lock'")).toBe(1));
      expect(await Promise.all(Array.from({ length: MANY }, () => statusOf(elsewhere)))).toEqual(all(200));
      expect((await makeToken(elsewhere)).status).toBe(201);
      expect(await sessions("wait_event_type = 'Lock'")).toBeLessThanOrEqual(1);
      for (const answer of await waiting) {
        expect(answer).toMatchObject({ status: 503, body: { error: 'database is busy', code: 'database_busy' } });
        expect(answer.body['request_id']).toEqual(expect.any(String));
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      }
    } finally {
      await outside.query('ROLLBACK');
    }
    expect((await makeToken(here)).status).toBe(201);
  });

  it('because its process was paused must become free before the lease on a container would run out', async () => {
    const [paused] = cluster.servers;
    const load = new Load(client(user, 0), makeToken);
    await pauseWithinTransaction();
    try {
      const waiting = Promise.all(Array.from({ length: MANY }, () => makeToken(client(user, 1))));
      expect(await Promise.all(Array.from({ length: MANY }, () => statusOf(client(other, 1))))).toEqual(all(200));
      for (const { status } of await waiting) expect([201, 503]).toContain(status);
      expect((await makeToken(client(user, 1))).status).toBe(201);
      await eventually(async () => expect(await sessions(STANDING_STILL)).toBe(0));
    } finally {
      paused.resume();
    }
    // What it had begun is undone, and it is told so; what it was told is done is there.
    const answers = await load.end();
    expect(answers.filter(({ status }) => ![201, 500, 503].includes(status))).toEqual([]);
    expect(answers.filter(({ status }) => status !== 201)).toHaveLength(1);
    const { body } = await client(user, 1).call('GET', '/api/tokens');
    const ids = (body['tokens'] as { id: string }[]).map(({ id }) => id);
    const acknowledged = answers.filter(({ status }) => status === 201).map((answer) => answer.body['id']);
    expect(ids).toEqual(expect.arrayContaining(acknowledged));
    expect((await makeToken(client(user, 0))).status).toBe(201);
  });

  async function pauseWithinTransaction(): Promise<void> {
    const [server] = cluster.servers;
    await eventually(async () => {
      server.pause();
      try {
        await eventually(async () => expect(await sessions(STANDING_STILL)).toBe(1), { timeoutMs: 2_000 });
      } catch (error) {
        // It was between two transactions.
        server.resume();
        throw error;
      }
    });
  }

  /** Of the servers. */
  async function sessions(condition: string): Promise<number> {
    const { rows } = await outside.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${condition}`,
    );
    return rows[0]?.count ?? 0;
  }

  /** Is counted under the user's row. */
  function makeToken(api: ApiClient): Promise<Answer> {
    made += 1;
    return api.call('POST', '/api/tokens', { name: `token-${made}` });
  }
});

/** One caller that writes without a pause. */
class Load {
  private ended = false;
  private readonly answers: Answer[] = [];
  private readonly done: Promise<void>;

  constructor(api: ApiClient, write: (api: ApiClient) => Promise<Answer>) {
    this.done = this.run(() => write(api));
  }

  async end(): Promise<Answer[]> {
    this.ended = true;
    await this.done;
    return this.answers;
  }

  private async run(write: () => Promise<Answer>): Promise<void> {
    while (!this.ended) {
      this.answers.push(await write());
      await turn();
    }
  }
}

function client(clients: readonly ApiClient[], server: number): ApiClient {
  const found = clients[server];
  if (!found) throw new Error(`there is no server ${server}`);
  return found;
}

const statusOf = async (api: ApiClient): Promise<number> => (await api.call('GET', '/api/containers')).status;

const all = (status: number): number[] => Array<number>(MANY).fill(status);
