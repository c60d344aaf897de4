import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandLine, type Ended } from './command-line.ts';
import { CONTAINER, CONTAINER_ID as ID, type Handler, ScriptedServer } from './scripted-server.ts';

jest.setTimeout(120_000);

/** An error on one line, which begins with what failed and where. */
const said = (text: string, code: number): Ended => ({ code, stdout: '', stderr: `berth: ${text}\n` });

const refusal = (status: number, code: string, error: string): Handler => {
  return (request, response) => {
    response.statusCode = status;
    request.resume().once('end', () => response.end(JSON.stringify({ error, code, request_id: 'r' })));
  };
};

describe('an error of berth', () => {
  let line: CommandLine;
  let server: ScriptedServer;

  beforeAll(async () => {
    server = await ScriptedServer.start({
      'GET /api/containers': { containers: [CONTAINER], count: 1, limit: 5, next_cursor: null, event_seq: 1 },
      [`GET /api/containers/${ID}`]: CONTAINER,
      [`GET /api/containers/${ID}/processes`]: { processes: [] },
      [`GET /api/containers/${ID}/terminals`]: { terminals: [] },
    });
    line = await CommandLine.build({ BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' });
  });
  afterAll(async () => {
    await server.stop();
    await line.remove();
  });

  it('must begin with the command and its container also where the server is not at fault', async () => {
    for (const [args, text, code] of [
      [['logs', 'dev'], 'logs dev: no start command or process has run there. Start one with `berth exec -d`', 4],
      [['sh', 'dev', '--attach'], 'sh dev: no terminal is open there. Omit --attach to open one', 4],
      [['exec', '-d', '-t', 'dev', 'ls'], 'exec: -d does not work with -i or -t', 2],
      [['cp', 'here', 'there'], 'cp: exactly one of the two paths must be in a container, as NAME:PATH', 2],
      [['cp', '/no/such', 'dev:'], 'cp dev: /no/such: no such file or directory', 4],
      [
        ['create', 'node:24', '--snapshot', 'ready'],
        'create: an image and --snapshot are mutually exclusive. Use only one of them',
        2,
      ],
      [['login', 'berth'], 'login: berth is not a valid URL. Use one such as https://berth.example.org', 2],
      [['use', 'other'], 'use: no context "other". Run `berth login URL`', 2],
      [
        ['ssh-keys', 'add', '/no/such.pub'],
        'ssh-keys add: cannot read /no/such.pub: no such file or directory. Choose another file',
        1,
      ],
    ] as const) {
      expect({ args, ...(await line.berth(...args)) }).toEqual({ args, ...said(text, code) });
    }
  });

  it('must name the one of several things that was refused', async () => {
    server.on('GET /api/me/ssh-keys', { ssh_keys: [] });
    server.on('GET /api/tokens', { tokens: [] });
    server.on('GET /api/webhooks', { webhooks: [], next_cursor: null });
    const host = new URL(server.url).host;
    for (const [route, args, text] of [
      ['DELETE /api/me/ssh-keys/one', ['ssh-keys', 'rm', 'one'], 'ssh-keys rm one'],
      ['DELETE /api/tokens/one', ['tokens', 'rm', 'one'], 'tokens rm one'],
      ['DELETE /api/webhooks/one', ['webhooks', 'rm', 'one'], 'webhooks rm one'],
      ['DELETE /api/admin/templates/one', ['admin', 'templates', 'rm', 'one', '-y'], 'admin templates rm one'],
      ['POST /api/admin/nodes/one/drain', ['admin', 'nodes', 'drain', 'one', '-y'], 'admin nodes drain one'],
      ['POST /api/admin/containers/one/move', ['admin', 'move', 'one', '-y'], 'admin move one'],
    ] as const) {
      server.on(route, refusal(404, 'path_exists', 'not found'));
      const { stderr } = await line.berth(...args);
      expect({ args, stderr }).toEqual({
        args,
        stderr: `berth: ${text}: not found on ${host}. Choose another path, or delete the existing file or directory.\n`,
      });
    }
  });

  it('must say what is wrong with the address or the file of the contexts, and what to do', async () => {
    const file = join(line.folder, 'contexts.json');
    await writeFile(file, '{');
    const folder = join(line.folder, 'folder');
    await mkdir(folder);
    const correct = 'Correct the file, or name another with BERTH_CONFIG';
    for (const [environment, text] of [
      [{ BERTH_URL: 'berth' }, 'ls: BERTH_URL, berth, is not a valid URL. Use one such as https://berth.example.org'],
      [{ BERTH_CONFIG: file }, `ls: cannot read the contexts in ${file}: it is not JSON. ${correct}`],
      [
        { BERTH_CONFIG: folder },
        `ls: cannot read the contexts in ${folder}: illegal operation on a directory. ${correct}`,
      ],
    ] as const) {
      expect({ environment, ...(await line.berthWith({ environment }, 'ls')) }).toEqual({
        environment,
        ...said(text, 2),
      });
    }
  });

  it('must refuse text where a number is wanted', async () => {
    for (const [args, what] of [
      [['exec', '--timeout', 'long', 'dev', 'ls'], 'Use a number above 0.'],
      [['tokens', 'create', 'ci', '--expires-in', 'soon'], 'Use a whole number of 1 or more.'],
      [['admin', 'audit', '-n', 'all'], 'Use a whole number of 1 or more.'],
      [['watch', '--after', 'now'], 'Use a whole number of 0 or more.'],
    ] as const) {
      expect({ args, ...(await line.berth(...args)) }).toMatchObject({
        args,
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(new RegExp(`^berth: option .* is invalid\\. ${what}\\n`)) as string,
      });
    }
  });
});
