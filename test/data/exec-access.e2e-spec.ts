import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { Berth, TestUser } from '../support/servers/berth';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

describe('users who are moved to a tier that lets nobody into containers', () => {
  const daemon = new FakeDaemon();
  const folder = mkdtempSync(join(tmpdir(), 'berth-tiers-'));
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let admin: TestUser;

  /** @param later whether users of the tier `later` may work in their containers */
  const begin = ({ later }: { later: boolean }): Promise<Berth> => {
    const { pro } = DEFAULT_TIERS.tiers;
    const closed = Object.assign({ exec: false }, pro);
    const tiers = { ...DEFAULT_TIERS.tiers, closed, later: later ? pro : closed };
    const environment = { TIERS_FILE: join(folder, 'tiers.json'), INSTANCE_ID: 'exec-access' };
    writeFileSync(environment.TIERS_FILE, JSON.stringify({ ...DEFAULT_TIERS, tiers }));
    return Berth.start({ engine: new FakeEngine(daemon), database, environment });
  };

  beforeAll(async () => {
    daemon.onProgram = () => new Promise(() => undefined);
    database = await openTestDatabase();
    berth = await begin({ later: true });
    [user, admin] = [await berth.user('pro'), await berth.user('pro', ['admin'])];
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    rmSync(folder, { recursive: true });
  });

  const running = (engineId: string): unknown[] =>
    [...(daemon.programs.get(engineId) ?? [])].map(({ request }) => request.command[0]).sort();
  /** The processes that are told of as ended. */
  const ended = async (): Promise<unknown[]> => {
    const { body } = await user.api.call('GET', '/api/events?limit=100');
    const events = body['events'] as { data: { program?: string; reason?: string } }[];
    return events.flatMap(({ data: { program, reason } }) => (reason === 'ended' ? [program] : [])).sort();
  };
  const move = async (tier: string): Promise<unknown> =>
    (await admin.api.call('PATCH', `/api/admin/users/${user.id}`, { tier })).status;

  it('must be told so at once by all that they have open, which ends, and their start commands wait', async () => {
    const { db_id, id } = await user.api.running({ start: { command: ['server'] } });
    const inside = `/api/containers/${db_id}`;
    const { url, token } = user.api;
    const stream = (path: string, body?: object): Promise<EventStreamClient> =>
      EventStreamClient.open({ url, token, path: `${inside}${path}`, ...(body && { body }) });
    const terminal = await new TerminalClient(url, { token, container: db_id }).opened();
    const command = user.api.call('POST', `${inside}/exec`, { command: ['command'] });
    const commandStream = await stream('/exec', { command: ['streamed'] });
    const kept = await user.api.call('POST', `${inside}/processes`, { command: ['kept'] });
    const followed = await stream(`/processes/${String(kept.body['id'])}/output`);
    const statistics = await stream('/stats');
    await eventually(() => expect(running(id)).toEqual(['/bin/sh', 'command', 'kept', 'server', 'streamed']));

    expect(await move('closed')).toBe(200);
    expect(await command).toMatchObject({ status: 403, body: { code: 'exec_not_allowed', tier: 'closed' } });
    await eventually(() => {
      expect(terminal.exit).toEqual({ code: null, reason: 'ended', detail: 'exec_not_allowed' });
      const failed = { name: 'failed', data: { code: 'exec_not_allowed' } };
      expect(commandStream.told.at(-1)).toMatchObject(failed);
      expect(statistics.told.at(-1)).toMatchObject({ name: 'end', data: { reason: 'exec_not_allowed' } });
      expect([commandStream, statistics, followed].map(({ ending }) => ending)).toEqual(Array(3).fill('complete'));
      expect(running(id)).toEqual([]);
    });
    await eventually(async () => expect(await ended()).toEqual(['kept', 'server']));

    expect((await user.api.stop(db_id)).status).toBe(200);
    expect((await user.api.start(db_id)).status).toBe(200);
    const other = await (await berth.user('pro')).api.running({ start: { command: ['other'] } });
    await eventually(() => expect(running(other.id)).toEqual(['other']));
    expect(running(id)).toEqual([]);
    expect(await move('pro')).toBe(200);
    await eventually(() => expect(running(id)).toEqual(['server']));
  });

  it('must lose terminals without a client too: at the move, and after a restart with another tier table', async () => {
    const owners = { moved: await berth.user('pro'), later: await berth.user('later'), open: await berth.user('pro') };
    const detached = async ({ api }: TestUser): Promise<string> => {
      const { id, db_id } = await api.running();
      const terminal = await new TerminalClient(api.url, { token: api.token, container: db_id }).opened();
      terminal.socket.io.engine.close();
      await eventually(() => expect(daemon.listPrograms(id)).toMatchObject([{ readers: 0, exit: null }]));
      return id;
    };
    const [moved, later, open] = [
      await detached(owners.moved),
      await detached(owners.later),
      await detached(owners.open),
    ];

    expect((await admin.api.call('PATCH', `/api/admin/users/${owners.moved.id}`, { tier: 'closed' })).status).toBe(200);
    await eventually(() => expect(running(moved)).toEqual([]));
    expect([later, open].map(running)).toEqual([['/bin/sh'], ['/bin/sh']]);

    await berth.stop();
    berth = await begin({ later: false });
    await eventually(() => expect(running(later)).toEqual([]));
    expect(running(open)).toEqual(['/bin/sh']);
  });
});
