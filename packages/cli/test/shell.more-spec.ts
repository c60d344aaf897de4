import { rm } from 'node:fs/promises';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { TcpProxy } from '../../../test/support/faults/tcp-proxy.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';
import { CommandLine, type PersonsTerminal } from './command-line.ts';

jest.setTimeout(120_000);

describe('berth sh', () => {
  let database: TestDatabase;
  let server: Server;
  let user: TestUser;
  let cable: TcpProxy;
  let line: CommandLine;
  const terminals: PersonsTerminal[] = [];

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'cli-shell' };
    server = await Server.start({ database, environment });
    cable = await TcpProxy.before(server.url);
    user = await server.user('enterprise');
    const url = `http://${cable.host}`;
    line = await CommandLine.build({ BERTH_URL: url, BERTH_TOKEN: user.token });
    await user.api.running({ image: 'sandbox', custom_image: null, name: 'dev' });
  });
  afterEach(() => {
    for (const terminal of terminals.splice(0)) terminal.close();
  });
  afterAll(async () => {
    await cable.down();
    await server.stop();
    await line.remove();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
  });

  function sh(...args: readonly string[]): PersonsTerminal {
    const terminal = line.inTerminal('rows 24 cols 100', 'sh', 'dev', ...args);
    terminals.push(terminal);
    return terminal;
  }

  it('must be in the same shell after a connection that broke', async () => {
    const terminal = sh();
    terminal.type('kept=same; echo $((40+2))-shown\r');
    await terminal.shows('42-shown');
    await cable.down();
    await terminal.shows('the connection broke');
    await cable.up();
    terminal.type('echo $kept-$((40+3)); exit 6\r');
    await terminal.shows(/same-43[\s\S]*ended with 6/);
    expect(terminal.shown.match(/42-shown/g)).toHaveLength(1);
  });

  it('must come back to a terminal that was left open, and want its name where there are several', async () => {
    const [one, other] = [sh(), sh()];
    one.type('echo first-$((40+4))\r');
    await one.shows('first-44');
    other.type('echo second-$((40+5))\r');
    await other.shows('second-45');
    for (const terminal of [one, other]) {
      terminal.type('\u001d');
      await terminal.shows(/left open: berth sh dev --attach [0-9a-f-]+[\s\S]*ended with 0/);
    }
    const ids = (await line.berth('__complete', 'sh', 'dev', '--attach', '')).stdout.trim().split('\n');
    expect(ids).toHaveLength(2);
    const unnamed = await line.berth('sh', 'dev', '--attach');
    expect(unnamed).toMatchObject({ code: 4 });
    for (const id of ids) expect(unnamed.stderr).toContain(id);
    const id = /--attach ([0-9a-f-]+)/.exec(one.shown)?.[1] ?? '';
    const again = sh('--attach', id);
    await again.shows('first-44');
    const watcher = sh('--attach', id, '--watch');
    await watcher.shows(/first-44[\s\S]*another client writes|another client writes[\s\S]*first-44/);
    again.type('exit 0\r');
    for (const terminal of [again, watcher]) await terminal.shows('ended with 0');
    expect(await line.berth('sh', 'dev', '--attach', id)).toMatchObject({ code: 125 });
  });
});
