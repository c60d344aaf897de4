import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiClient } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { eventually } from '../support/eventually';
import { MovingClock } from '../support/fakes/moving-clock';

jest.setTimeout(180_000);

const HOUR_MS = 3_600_000;
/** Far more than any step of these tests takes, and far less than the clock is wrong. */
const SLACK_MS = 10 * 60_000;

describe('two server processes, one on a machine whose clock is an hour ahead', () => {
  let folder: string;
  let cluster: Cluster;
  let right: ApiClient;
  let ahead: ApiClient;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'berth-clock-'));
    const clock = new MovingClock(join(folder, 'clock'));
    clock.set(HOUR_MS);
    cluster = await Cluster.start('clocks', { processes: 2, own: [{}, clock.environment] });
    [right, ahead] = (await cluster.user('free')) as [ApiClient, ApiClient];
  });

  afterAll(async () => {
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const usedSeconds = async (api: ApiClient): Promise<number> => {
    const { body } = await api.call('GET', '/api/usage');
    const days = body['usage'] as { running_seconds: number }[];
    return days.reduce((sum, day) => sum + day.running_seconds, 0);
  };

  it('must charge a run by the time that it took, whichever of them starts and stops it', async () => {
    const { db_id } = await right.running();
    await ahead.stop(db_id);
    await ahead.start(db_id);
    await right.stop(db_id);
    for (const api of [right, ahead]) expect(await usedSeconds(api)).toBeLessThan(SLACK_MS / 1000);
  });

  it('must end runs, date rows and events, and make tokens by one clock', async () => {
    const { db_id } = await ahead.running();
    const now = Date.now();
    const isNow = (value: unknown): boolean => Math.abs(Date.parse(String(value)) - now) < SLACK_MS;
    const { body } = await right.get(db_id);
    expect([body['created_at'], body['updated_at'], body['last_used_at']].map(isNow)).toEqual([true, true, true]);
    expect(isNow(new Date(Date.parse(String(body['expires_at'])) - 50 * HOUR_MS))).toBe(true);
    const made = await ahead.call('POST', '/api/tokens', { name: 'one', expires_in: 1 });
    expect(isNow(new Date(Date.parse(String(made.body['expires_at'])) - 24 * HOUR_MS))).toBe(true);
    await right.delete(db_id);
  });

  it('must open to a token until its end, on both', async () => {
    const [soon] = (await cluster.user('free')) as [ApiClient, ApiClient];
    await cluster.sql(
      `UPDATE tokens SET expires_at = now() + interval '30 minutes'
       WHERE user_id = (SELECT user_id FROM tokens ORDER BY created_at DESC LIMIT 1)`,
      [],
    );
    for (const api of cluster.clients(soon.token)) {
      await eventually(async () => expect((await api.call('GET', '/api/me')).status).toBe(200));
    }
  });
});
