import { rm } from 'node:fs/promises';
import { eventually } from '../../../test/support/eventually.ts';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { TcpProxy } from '../../../test/support/faults/tcp-proxy.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';
import { CommandLine, type PersonsTerminal } from './command-line.ts';

jest.setTimeout(120_000);

describe('berth, in terminals of a container', () => {
  let database: TestDatabase;
  let server: Server;
  let user: TestUser;
  let cable: TcpProxy;
  let line: CommandLine;
  let id: string;
  const terminals: PersonsTerminal[] = [];

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'cli-shell' };
    server = await Server.start({ database, environment });
    cable = await TcpProxy.before(server.url);
    user = await server.user('enterprise');
    const url = `http://${cable.host}`;
    line = await CommandLine.build({ BERTH_URL: url, BERTH_TOKEN: user.token });
    ({ db_id: id } = await user.api.running({ image: 'sandbox', custom_image: null, name: 'dev' }));
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

  function exec(...args: readonly string[]): PersonsTerminal {
    const terminal = line.inTerminal('rows 24 cols 100', 'exec', ...args);
    terminals.push(terminal);
    return terminal;
  }

  async function open(): Promise<unknown[]> {
    const { body } = await user.api.call('GET', `/api/containers/${id}/terminals`);
    return body['terminals'] as unknown[];
  }

  it('must be in the same shell after a connection that broke', async () => {
    const terminal = sh();
    terminal.type('kept=same; echo $((40+2))-shown\r');
    await terminal.shows('42-shown');
    await cable.down();
    await terminal.shows('connection lost, reconnecting');
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
      await terminal.shows(/Attach again with: berth sh dev --attach [0-9a-f-]+[\s\S]*ended with 0/);
    }
    const ids = (await line.berth('__complete', 'sh', 'dev', '--attach', '')).stdout.trim().split('\n');
    expect(ids).toHaveLength(2);
    const unnamed = await line.berth('sh', 'dev', '--attach');
    expect(unnamed).toMatchObject({ code: 4 });
    for (const each of ids) expect(unnamed.stderr).toContain(each);
    const first = /--attach ([0-9a-f-]+)/.exec(one.shown)?.[1] ?? '';
    const again = sh('--attach', first);
    await again.shows('first-44');
    const watcher = sh('--attach', first, '--watch');
    await watcher.shows(/first-44[\s\S]*another client has the input|another client has the input[\s\S]*first-44/);
    again.type('exit 0\r');
    for (const terminal of [again, watcher]) await terminal.shows('ended with 0');
    expect(await line.berth('sh', 'dev', '--attach', first)).toMatchObject({ code: 125 });
  });

  it('must run a command in a terminal: keys, size and its changes, and the exit code', async () => {
    const before = (await open()).length;
    const terminal = exec('-it', '-w', '/tmp', '-e', 'KEPT=yes', 'dev', '--', 'sh');
    terminal.type('stty size; pwd; echo kept-$KEPT\r');
    await terminal.shows(/24 100[\s\S]*\/tmp[\s\S]*kept-yes/);
    await terminal.resize('rows 22 cols 77');
    await eventually(() => {
      terminal.type('stty size\r');
      expect(terminal.shown).toMatch(/22 77/);
    });
    // Ctrl-C is the program's, and Ctrl-] too.
    terminal.type('sleep 1000\r');
    terminal.type('\u0003');
    terminal.type('echo still-$((40+2))\r');
    await terminal.shows('still-42');
    terminal.type('exit 7\r');
    await terminal.shows('ended with 7 in icanon');
    const whole = exec('-t', 'dev', '--', 'sh', '-c', 'stty size');
    // Its size follows its start.
    await whole.shows(/^\d+ \d+\s[\s\S]*ended with 0/);
    await eventually(async () => expect(await open()).toHaveLength(before));
  });

  it('must end the command of a terminal with itself, and leave its own terminal as it was', async () => {
    const before = (await open()).length;
    const terminal = exec('-it', 'dev', '--', 'sh');
    terminal.type('echo began-$((40+3))\r');
    await terminal.shows('began-43');
    await terminal.signal('SIGTERM');
    await terminal.shows('ended with 143 in icanon');
    await eventually(async () => expect(await open()).toHaveLength(before));
  });

  it('must refuse a program that the server does not accept', async () => {
    const terminal = exec('-it', '-u', 'no body', 'dev', '--', 'sh');
    await terminal.shows(/invalid parameters: user must be a name[\s\S]*ended with 125 in icanon/);
    const missing = exec('-it', 'dev', '--', 'no-such-program');
    await missing.shows(/ended with 12[57] in icanon/);
  });
});
