import { randomUUID } from 'node:crypto';
import { TokenService } from '../../src/auth';
import { StatsHistory } from '../../src/sandbox/stats/stats-history';
import { EventStreamClient, type StreamedEvent } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(60_000);

describe('statistics of several containers, and of the last hour', () => {
  const daemon = new FakeDaemon();
  let berth: Berth;
  let user: NewUser;
  const open: EventStreamClient[] = [];

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(daemon) });
    user = await berth.user();
  });
  afterEach(() => {
    for (const stream of open.splice(0)) stream.close();
  });
  afterAll(() => berth.stop());

  const follow = async (ids: readonly string[], token = user.token): Promise<EventStreamClient> => {
    const stream = await EventStreamClient.open({
      url: berth.url,
      token,
      path: `/api/stats/stream?ids=${ids.join(',')}`,
    });
    open.push(stream);
    return stream;
  };
  const idOf = ({ data }: StreamedEvent): string => (data as { db_id: string }).db_id;
  /** The containers that a stream has told of from its message `from` on. */
  const seen = ({ told }: EventStreamClient, from = 0): Set<string> => new Set(told.slice(from).map(idOf));

  it('must follow containers of the caller as they start, and leave out the rest', async () => {
    const [runs, starts] = [await user.api.running(), await user.api.running()];
    const foreign = await (await berth.user()).api.running();
    await user.api.stop(starts.db_id);
    const stream = await follow([runs.db_id, starts.db_id.toUpperCase(), foreign.db_id, randomUUID()]);
    expect(stream.status).toBe(200);
    await eventually(() => expect(seen(stream)).toEqual(new Set([runs.db_id])));
    expect(stream.told[0]).toMatchObject({
      name: 'stats',
      data: { db_id: runs.db_id, cpu: { percent_of_limit: expect.any(Number) }, memory: { used_bytes: 256 * 2 ** 20 } },
    });
    await user.api.start(starts.db_id);
    await eventually(() => expect(seen(stream)).toEqual(new Set([runs.db_id, starts.db_id])));
    await user.api.stop(runs.db_id);
    const from = stream.told.length;
    await eventually(() => expect(seen(stream, from)).toEqual(new Set([starts.db_id])), { timeoutMs: 15_000 });
    // It was stopped and comes back under the id that it has.
    await user.api.start(runs.db_id);
    await eventually(() => expect(seen(stream, from)).toContain(runs.db_id), { timeoutMs: 15_000 });
  });

  it('must read a container once for several clients that follow it', async () => {
    const { db_id } = await user.api.running();
    let reads = 0;
    const answer = daemon.onStats;
    daemon.onStats = (container) => {
      reads += 1;
      return answer(container);
    };
    const streams = [await follow([db_id]), await follow([db_id])];
    await eventually(() => expect(streams.map(({ told }) => told.length)).toEqual([1, 1]));
    expect(reads).toBe(2);
    daemon.onStats = answer;
  });

  it.each<[string, string]>([
    ['none', ''],
    ['a name', 'my-container'],
    ['one of many that is no id', `${randomUUID()},x`],
    ['more than 50', Array.from({ length: 51 }, () => randomUUID()).join(',')],
  ])('must be refused with ids that are %s', async (_what, ids) => {
    const answer = await user.api.call('GET', `/api/stats/stream?ids=${ids}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_parameters', details: [{ field: 'ids' }] } });
  });

  it('must end with the token, and be counted among the streams of the user', async () => {
    const { db_id } = await user.api.running();
    const other = await berth.app.get(TokenService).issue({
      userId: user.id,
      name: 'another',
      scopes: ['exec'],
      expiresAt: null,
    });
    const stream = await follow([db_id], other.text);
    await eventually(() => expect(stream.told.length).toBeGreaterThan(0));
    expect((await user.api.call('DELETE', `/api/tokens/${other.token.id}`)).status).toBe(200);
    await eventually(() => expect(stream.told.at(-1)).toMatchObject({ name: 'end', data: { reason: 'token_ended' } }));
    const streams = await Promise.all(Array.from({ length: 51 }, () => follow([db_id])));
    expect(streams.map(({ status }) => status).sort()).toEqual([...Array<number>(50).fill(200), 429]);
  });

  it('must have a sample for each interval, for those who may look inside, also once it is stopped', async () => {
    const { db_id } = await user.api.running();
    const history = berth.app.get(StatsHistory);
    const ask = (as = user) => as.api.call('GET', `/api/containers/${db_id}/stats/history`);
    expect(await ask()).toMatchObject({ status: 200, body: { interval_seconds: 30, samples: [] } });
    await history.measure();
    await eventually(async () => {
      await history.measure();
      expect((await ask()).body['samples']).not.toEqual([]);
    });
    await user.api.stop(db_id);
    expect((await ask()).body['samples']).toContainEqual({
      at: expect.any(String),
      cpu_percent_of_limit: expect.any(Number),
      memory_used_bytes: 256 * 2 ** 20,
      memory_limit_bytes: 256 * 2 ** 20,
      disk_used_bytes: null,
      rx_bytes_per_second: 0,
      tx_bytes_per_second: 0,
    });
    expect((await ask(await berth.user())).body).toMatchObject({ code: 'not_authorized' });
    await user.api.delete(db_id);
    expect((await ask()).status).toBe(404);
    await history.measure();
    expect(history.of(db_id).samples).toEqual([]);
  });

  it('must measure the disk use of a home while a client follows its container', async () => {
    const { db_id } = await user.api.running();
    await fetch(`${berth.url}/api/containers/${db_id}/files?path=/home/user/large`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${user.token}` },
      body: new Uint8Array(2 * 2 ** 20),
    });
    const stream = await EventStreamClient.open({
      url: berth.url,
      token: user.token,
      path: `/api/containers/${db_id}/stats`,
    });
    open.push(stream);
    await eventually(
      () => expect(stream.told.at(-1)).toMatchObject({ name: 'stats', data: { disk_used_bytes: 2 * 2 ** 20 } }),
      { timeoutMs: 15_000 },
    );
  });
});
