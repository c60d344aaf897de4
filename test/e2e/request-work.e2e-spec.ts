import { rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import type { ApiClient } from '../support/clients/api-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { BerthProcess } from '../support/servers/berth-process';

/** What a request may cost. `bytes` are those on the heap. */
type Work = Readonly<Record<'promises' | 'immediates' | 'timers' | 'statements' | 'bytes', number>>;

const COUNTER = join(__dirname, '../support/servers/count-work.mjs');
/** In a round that counts: few, so that some fall between two heartbeats of the server also on a busy machine. */
const COUNTED = 8;
/** In a round that measures bytes: more, as its own messages take some. */
const MEASURED = 25;
/** The cheapest round counts: in others the server's own work, such as a heartbeat, is counted too. */
const ROUNDS = 150;
/** Less than a test may take, so that it ends with what it has counted. */
const COUNTED_WITHIN_MS = 45_000;
const LISTED = 20;
/** More than is allocated in one round, so that no garbage is collected meanwhile. */
const YOUNG_MIB = 512;

describe('a request', () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let database: TestDatabase;
  let berth: BerthProcess;
  let api: ApiClient;
  let id: string;

  beforeAll(async () => {
    database = await openTestDatabase();
    const young = ['min', 'max'].map((bound) => `--${bound}-semi-space-size=${String(YOUNG_MIB)}`);
    berth = new BerthProcess(
      {
        DATABASE_URL: database.url,
        ENGINE: 'simulated',
        SIMULATION_SPEED: '1000',
        INSTANCE_ID: 'request-work',
        SWEEP_INTERVAL_SECONDS: '3600',
      },
      [...young, '--expose-gc', '--import', COUNTER],
    );
    await berth.start();
    api = await berth.user();
    for (let each = 0; each < LISTED; each += 1)
      id = (await api.running({ image: 'sandbox', custom_image: null })).db_id;
  }, 120_000);

  afterAll(async () => {
    agent.destroy();
    await berth.kill();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true, force: true });
    await database.drop();
  });

  it.each<[what: string, method: string, path: () => string, body: object | null, most: Work]>([
    [
      'that reads a container by its id',
      'GET',
      () => `/api/containers/${id}`,
      null,
      { promises: 76, immediates: 2, timers: 1, statements: 2, bytes: 80_000 },
    ],
    [
      'that lists 20 containers',
      'GET',
      () => '/api/containers',
      null,
      { promises: 195, immediates: 1, timers: 1, statements: 5, bytes: 650_000 },
    ],
    [
      'that runs a command',
      'POST',
      () => `/api/containers/${id}/exec`,
      { command: ['true'] },
      { promises: 361, immediates: 2, timers: 4, statements: 6, bytes: 390_000 },
    ],
  ])('%s must cost no more than it does today', async (_what, method, path, body, most) => {
    const round = (requests: number) => async (): Promise<void> => {
      for (let each = 0; each < requests; each += 1) await answered(method, path(), body);
    };
    await round(MEASURED)();
    /** Of one request. */
    const counted: Record<string, number>[] = [];
    const above = (): string[] =>
      (Object.keys(most) as (keyof Work)[]).flatMap((kind) => {
        const least = Math.round(Math.min(...counted.map((counts) => counts[kind] ?? Infinity)));
        return least > most[kind] ? [`${kind}: ${String(least)}, not ${String(most[kind])}`] : [];
      });
    // What the server does of itself counts too: on a busy machine a round takes longer, and there is more of it.
    const began = performance.now();
    do {
      const { bytes = 0 } = await berth.counted('begin bytes', round(MEASURED));
      const counts = Object.entries(await berth.counted('begin', round(COUNTED)));
      const each = Object.fromEntries(counts.map(([kind, count]) => [kind, count / COUNTED]));
      counted.push({ ...each, bytes: bytes / MEASURED });
    } while (above().length > 0 && counted.length < ROUNDS && performance.now() - began < COUNTED_WITHIN_MS);
    expect(above()).toEqual([]);
  });

  function answered(method: string, path: string, body: object | null): Promise<void> {
    const headers = { authorization: `Bearer ${api.token}`, 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const sent = request(`${berth.url}${path}`, { agent, method, headers }, (answer) => {
        answer.resume().once('end', () => {
          if (answer.statusCode === 200) resolve();
          else reject(new Error(`${path}: ${String(answer.statusCode)}`));
        });
      });
      sent.once('error', reject).end(body === null ? undefined : JSON.stringify(body));
    });
  }
});
