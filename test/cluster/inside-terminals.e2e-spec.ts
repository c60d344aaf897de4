import type { NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

describe('terminals of several processes', () => {
  let database: TestDatabase;
  let here: Berth;
  let there: Berth;
  let user: TestUser;
  let container: NewContainer;
  const daemon = new FakeDaemon();

  beforeAll(async () => {
    database = await openTestDatabase();
    // A shell that echoes.
    daemon.onProgram = async ({ stdin, write }) => {
      for await (const chunk of stdin) write('stdout', String(chunk));
      return 0;
    };
    const options = () => ({ database, engine: new FakeEngine(daemon) });
    [here, there] = await Promise.all([Berth.start(options()), Berth.start(options())]);
    user = await here.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
  });

  afterAll(async () => {
    await Promise.all([here.stop(), there.stop()]);
    await database.drop();
  });

  const connect = (berth: Berth, auth: object = {}): TerminalClient =>
    new TerminalClient(berth.url, { token: user.token, container: container.db_id, ...auth });

  it('must be listed, entered and ended through any of them, with one writer', async () => {
    const client = await connect(here).opened();
    client.type('echoed');
    await client.says('echoed');
    const { session: id } = client;
    const path = `/api/containers/${container.db_id}/terminals`;
    const { api } = there.as(user);
    expect((await api.call('GET', path)).body).toEqual({
      terminals: [{ id, started_at: expect.any(String), clients: 1, programs: null }],
    });
    const other = await connect(there, { session: id }).opened();
    await other.says('echoed');
    expect(other.attached?.role).toBe('watcher');
    client.type(' again');
    await other.says('echoed again');
    client.socket.disconnect();
    other.socket.emit('takeover');
    await eventually(() => expect(other.roles).toEqual(['writer']));
    other.type(' there');
    await other.says('echoed again there');
    expect((await here.as(user).api.call('DELETE', `${path}/${id}`)).status).toBe(200);
    await eventually(() => expect(other.exit).toMatchObject({ reason: 'exited' }));
    await eventually(async () => expect((await api.call('GET', path)).body).toEqual({ terminals: [] }));
    expect((await api.call('DELETE', `${path}/${id}`)).body).toMatchObject({ code: 'terminal_not_found' });
  });

  it('must be told why their container ended, whoever ended it', async () => {
    const client = await connect(here).opened();
    expect((await there.as(user).api.stop(container.db_id)).status).toBe(200);
    await eventually(() => expect(client.exit).toEqual({ code: null, reason: 'container_stopped' }));
  });
});
