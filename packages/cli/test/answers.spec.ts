import { readFile } from 'node:fs/promises';
import { CommandLine, type Ended } from './command-line.ts';
import { type Handler, ScriptedServer } from './scripted-server.ts';

jest.setTimeout(120_000);

const ID = '11111111-1111-4111-8111-111111111111';
const DEV = {
  id: 'a'.repeat(64),
  db_id: ID,
  name: 'dev',
  status: 'running',
  resources: { memory_mb: 512, cpu_shares: 500, disk_mb: 1024 },
};

const refusal = (status: number, code: string, error: string): Handler => {
  return (request, response) => {
    response.statusCode = status;
    request.resume().once('end', () => response.end(JSON.stringify({ error, code, request_id: 'r' })));
  };
};

describe('berth', () => {
  let line: CommandLine;
  let server: ScriptedServer;
  /** The bodies that were sent, in order. */
  let sent: string[];
  /** Their media types. */
  let types: (string | undefined)[];

  beforeAll(async () => (line = await CommandLine.build()));
  beforeEach(async () => {
    sent = [];
    types = [];
    const taking: Handler = (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.once('end', () => {
        sent.push(body);
        types.push(request.headers['content-type']);
        response.end(JSON.stringify({ message: 'settings updated', restarted: true, container: DEV }));
      });
    };
    server = await ScriptedServer.start({
      'GET /api/containers': { containers: [DEV], count: 1, limit: 5, next_cursor: null, event_seq: 1 },
      [`GET /api/containers/${ID}`]: DEV,
      [`PATCH /api/containers/${ID}`]: taking,
      [`PUT /api/containers/${ID}/files`]: taking,
      [`POST /api/containers/${ID}/stop`]: { message: 'container stopped', name: 'dev' },
      'POST /api/containers/nothing/stop': refusal(404, 'container_not_found', 'container not found'),
      'POST /api/containers/other/stop': refusal(403, 'not_authorized', 'not authorized'),
    });
  });
  afterEach(() => server.stop());
  afterAll(() => line.remove());

  const berth = (...args: readonly string[]): Promise<Ended> => berthWith('', ...args);
  const berthWith = (input: string, ...args: readonly string[]): Promise<Ended> =>
    line.berthWith({ input, environment: { BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' } }, ...args);

  it('must say its version', async () => {
    const { version } = JSON.parse(await readFile('packages/cli/package.json', 'utf8')) as { version: string };
    expect(await line.berth('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('must say which server could not be reached, and why', async () => {
    const environment = { BERTH_URL: 'http://127.0.0.1:2', BERTH_TOKEN: 'berth_mine' };
    expect(await line.berthWith({ environment }, 'stop', 'dev')).toEqual({
      code: 6,
      stdout: '',
      stderr: 'berth: 127.0.0.1:2 could not be reached: connect ECONNREFUSED 127.0.0.1:2\n',
    });
  });

  it('must say of several containers which were not found, and do the others', async () => {
    expect(await berth('stop', 'nothing', 'dev', 'other')).toEqual({
      code: 4,
      stdout: '',
      stderr: 'dev: container stopped\nberth: nothing: container not found\nberth: other: not authorized\n',
    });
    expect(await berth('stop', 'nothing')).toMatchObject({ stderr: 'berth: container not found\n' });
    expect(await berth('stop', 'nothing', '--json')).toMatchObject({ code: 4, stdout: '' });
  });

  it('must say when a token ends, and that it ends with the one that made it', async () => {
    const made = (expires: string | null): object => ({ token: 'berth_new', expires_at: expires });
    server.on('POST /api/tokens', made('2026-12-06T00:00:00.000Z'));
    expect(await berth('tokens', 'create', 'ci')).toEqual({
      code: 0,
      stdout: 'berth_new\n',
      stderr: 'it ends 2026-12-06T00:00:00.000Z, with the token that made it\n',
    });
    expect(await berth('tokens', 'create', 'ci', '--expires-in', '3')).toMatchObject({
      stderr: 'it ends 2026-12-06T00:00:00.000Z\n',
    });
    server.on('POST /api/tokens', made(null));
    expect(await berth('tokens', 'create', 'ci')).toMatchObject({ stdout: 'berth_new\n', stderr: '' });
  });

  it('must ask before it loses files by an update, and say what is lost', async () => {
    for (const change of [
      ['--memory', '1g'],
      ['--cpus', '1'],
      ['--disk', '2g'],
    ]) {
      expect({ change, ...(await berth('update', 'dev', ...change)) }).toEqual({
        change,
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(
          /--yes does it\n {2}update dev\? .*files outside \/home\/user are lost/,
        ) as string,
      });
    }
    expect(sent).toEqual([]);
    expect(await berth('update', 'dev', '--memory', '1g', '--yes')).toMatchObject({
      code: 0,
      stderr: 'dev: settings updated, restarted\n',
    });
    // Nothing is lost by these.
    expect(await berth('update', 'dev', '--memory', '512m', '--auto-stop', '1h')).toMatchObject({ code: 0 });
    expect(await berth('update', 'dev', '--env', 'A=b')).toMatchObject({ code: 0 });
    expect(sent).toHaveLength(3);
  });

  it('must send what an update changes in one request, without a look before it', async () => {
    server.on(`GET /api/containers/${ID}`, refusal(500, 'internal_error', 'not to be asked'));
    const changes = ['--name', 'new', '-e', 'A=b', '--unset-env', 'C', '--unset-env', 'D', '-l', 'a=1'];
    expect(await berth('update', 'dev', '--yes', ...changes, '--unset-label', 'b')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'new: settings updated, restarted\n',
    });
    expect(await berth('update', 'dev', '--unset-label', 'team')).toMatchObject({ code: 0 });
    expect(sent.map((body) => JSON.parse(body) as unknown)).toEqual([
      { name: 'new', env: { A: 'b', C: null, D: null }, labels: { a: '1', b: null } },
      { labels: { team: null } },
    ]);
    expect(types).toEqual(['application/merge-patch+json', 'application/merge-patch+json']);
  });

  it('must copy a file to standard output and from standard input', async () => {
    const bytes = Buffer.from([0, 255, 27, 10, 13, 200]);
    server.on(`GET /api/containers/${ID}/files/list`, refusal(400, 'path_not_directory', 'not a directory'));
    server.on(`GET /api/containers/${ID}/files`, ((_request, response) => response.end(bytes)) satisfies Handler);
    const reading = line.begin(
      { environment: { BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' } },
      'cp',
      'dev:f',
      '-',
    );
    const chunks: Buffer[] = [];
    reading.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
    expect(await new Promise((resolve) => reading.once('close', resolve))).toBe(0);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    expect(await berthWith('typed', 'cp', '-', 'dev:f')).toMatchObject({ code: 0, stdout: '' });
    expect(sent).toEqual(['typed']);
    server.on(`GET /api/containers/${ID}/files/list`, []);
    expect(await berthWith('typed', 'cp', '-', 'dev:')).toMatchObject({ code: 2 });
  });
});
