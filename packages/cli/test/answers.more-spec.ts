import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandLine, type Ended } from './command-line.ts';
import { CONTAINER, CONTAINER_ID as ID, type Handler, ME, ScriptedServer, STATS } from './scripted-server.ts';

jest.setTimeout(120_000);

/** The id of a process. */
const MAIN = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

const refusal = (status: number, code: string, error: string, more: object = {}): Handler => {
  return (request, response) => {
    response.statusCode = status;
    request.resume().once('end', () => response.end(JSON.stringify({ error, code, request_id: 'r', ...more })));
  };
};

/** Answers with Server-Sent Events. */
const events = (messages: readonly (readonly [type: string, data: object])[]): Handler => {
  return (_request, response) => {
    response.setHeader('content-type', 'text/event-stream');
    for (const [type, data] of messages) response.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
    response.end();
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
        response.end(JSON.stringify({ message: 'settings updated', restarted: true, container: CONTAINER }));
      });
    };
    server = await ScriptedServer.start({
      'GET /api/containers': { containers: [CONTAINER], count: 1, limit: 5, next_cursor: null, event_seq: 1 },
      [`GET /api/containers/${ID}`]: CONTAINER,
      'GET /api/me': ME,
      [`PATCH /api/containers/${ID}`]: taking,
      [`PUT /api/containers/${ID}/files`]: taking,
      [`POST /api/containers/${ID}/stop`]: { message: 'container stopped', name: 'dev' },
      'POST /api/containers/nothing/stop': refusal(404, 'container_not_found', 'container not found'),
      'POST /api/containers/other/stop': refusal(403, 'not_authorized', 'not authorized'),
    });
  });
  afterEach(() => server.stop());
  afterAll(() => line.remove());

  const host = (): string => new URL(server.url).host;
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
      stderr:
        'berth: cannot reach http://127.0.0.1:2 (connection refused): is the server running? ' +
        'Or check the address with `berth contexts`\n',
    });
  });

  it('must say of several containers which were not found, and do the others', async () => {
    expect(await berth('stop', 'nothing', 'dev', 'other')).toEqual({
      code: 4,
      stdout: '',
      stderr: `dev: container stopped
berth: stop nothing: container not found on ${host()}. \`berth ls\` lists containers; \`berth ls -s deleted\` lists those that can be restored.
berth: stop other: not authorized on ${host()}. It belongs to another user. \`berth whoami\` shows who you are.
`,
    });
    expect((await berth('stop', 'nothing')).stderr).toMatch(/^berth: stop nothing: container not found on [^\n]*\n$/);
    expect(await berth('stop', 'nothing', '--json')).toMatchObject({ code: 4, stdout: '' });
  });

  it('must say when a token ends, and that it ends with the one that made it', async () => {
    const made = (expires: string | null): object => ({ token: 'berth_new', expires_at: expires });
    server.on('POST /api/tokens', made('2026-12-06T00:00:00.000Z'));
    expect(await berth('tokens', 'create', 'ci')).toEqual({
      code: 0,
      stdout: 'berth_new\n',
      stderr: 'expires 2026-12-06T00:00:00.000Z, with the token that created it\n',
    });
    expect(await berth('tokens', 'create', 'ci', '--expires-in', '3')).toMatchObject({
      stderr: 'expires 2026-12-06T00:00:00.000Z\n',
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
          /Use --yes to confirm\n {2}Update dev\? .*will be recreated.*files outside \/home\/user may be lost/,
        ) as string,
      });
    }
    expect(sent).toEqual([]);
    expect(await berth('update', 'dev', '--memory', '1g', '--yes')).toMatchObject({
      code: 0,
      stderr: 'dev: settings updated, recreated\n',
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
      stderr: 'new: settings updated, recreated\n',
    });
    expect(await berth('update', 'dev', '--unset-label', 'team')).toMatchObject({ code: 0 });
    expect(sent.map((body) => JSON.parse(body) as unknown)).toEqual([
      { name: 'new', env: { A: 'b', C: null, D: null }, labels: { a: '1', b: null } },
      { labels: { team: null } },
    ]);
    expect(types).toEqual(['application/merge-patch+json', 'application/merge-patch+json']);
  });

  it('lists variables with masked values, reveals them on demand, sets and removes single ones', async () => {
    server.on(`GET /api/containers/${ID}/env`, { variables: [{ name: 'LEVEL' }, { name: 'TOKEN' }], count: 2 });
    server.on(`GET /api/containers/${ID}/env/LEVEL`, { name: 'LEVEL', value: 'debug' });
    server.on(`GET /api/containers/${ID}/env/TOKEN`, { name: 'TOKEN', value: 'hunter2' });
    const masked = await berth('env', 'ls', 'dev');
    expect(masked.stdout).toBe('NAME   VALUE\nLEVEL  ********\nTOKEN  ********\n');
    expect(server.requests.filter((each) => each.includes('/env/'))).toEqual([]);
    expect((await berth('env', 'ls', 'dev', '--reveal')).stdout).toContain('TOKEN  hunter2\n');
    expect(JSON.parse((await berth('env', 'ls', 'dev', '--json')).stdout)).toEqual([
      { name: 'LEVEL' },
      { name: 'TOKEN' },
    ]);
    expect(await berth('env', 'get', 'dev', 'TOKEN')).toEqual({ code: 0, stdout: 'hunter2\n', stderr: '' });
    expect(await berth('env', 'set', 'dev', 'A=1', 'B=x=y')).toMatchObject({
      code: 0,
      stderr: 'dev: settings updated\n',
    });
    expect(await berth('env', 'rm', 'dev', 'LEVEL', 'TOKEN')).toMatchObject({ code: 0 });
    expect(sent.map((each) => JSON.parse(each) as unknown)).toEqual([
      { env: { A: '1', B: 'x=y' } },
      { env: { LEVEL: null, TOKEN: null } },
    ]);
    expect(await berth('env', 'rm', 'dev', 'OTHER')).toMatchObject({
      code: 4,
      stderr: 'berth: env rm dev: no variable OTHER. `berth env ls` lists them\n',
    });
    expect(sent).toHaveLength(2);
  });

  it('takes 8 characters of any id for the id, where no other begins so', async () => {
    const [one, two] = [`${MAIN.slice(0, 8)}-0000-4000-8000-000000000001`, 'aaaaaaaa-0000-4000-8000-000000000002'];
    const all = [MAIN, one, two].map((id) => ({ id, name: 'x', created_at: CONTAINER.created_at }));
    const link = `/api/containers/${ID}/ports/80/links`;
    const lists = {
      '/api/tokens': 'tokens',
      '/api/me/ssh-keys': 'ssh_keys',
      '/api/webhooks': 'webhooks',
      [link]: 'links',
    };
    for (const [path, field] of Object.entries(lists)) {
      server.on(`GET ${path}`, { [field]: all, next_cursor: null });
      server.on(`DELETE ${path}/${two}`, { id: two, message: 'done' });
    }
    server.on('GET /api/snapshots', { snapshots: all, next_cursor: null });
    server.on(`GET /api/snapshots/${two}`, { id: two });
    const commands = [
      ['tokens', 'rm'],
      ['ssh-keys', 'rm'],
      ['webhooks', 'rm'],
      ['port', 'unlink', 'dev', '80'],
      ['snapshot', 'show', '--json'],
    ];
    for (const command of commands) {
      expect({ command, ...(await berth(...command, two.slice(0, 8))) }).toMatchObject({ command, code: 0 });
      const many = await berth(...command, MAIN.slice(0, 8));
      expect({ command, ...many }).toMatchObject({ command, code: 1, stdout: '' });
      expect(many.stderr).toContain(`2 ids match. Use more characters of one:\n  ${MAIN}\n  ${one}\n`);
    }
    expect(server.requests.filter((each) => each.startsWith('DELETE'))).toHaveLength(4);
  });

  it('ends with 1 where the delivery of a webhook failed, and with 127 where there is no such program', async () => {
    const path = `/api/webhooks/${MAIN}`;
    const delivery = { id: ID, type: 'webhook_test', status: 'failed', response_status: 500, error: null };
    server.on('GET /api/webhooks', { webhooks: [{ id: MAIN }], next_cursor: null });
    server.on(`GET ${path}/deliveries`, { deliveries: [{ id: ID }], next_cursor: null });
    for (const [status, code] of [
      ['failed', 1],
      ['pending', 1],
      ['delivered', 0],
    ] as const) {
      server.on(`POST ${path}/test`, { ...delivery, status });
      server.on(`POST ${path}/deliveries/${ID}/redeliver`, { ...delivery, status });
      for (const words of [
        ['test', MAIN],
        ['test', MAIN, '--json'],
        ['redeliver', MAIN, ID.slice(0, 8)],
      ]) {
        expect({ words, ...(await berth('webhooks', ...words)) }).toMatchObject({ words, code });
      }
    }
    for (const [error, code] of [
      ['command_not_started', 127],
      ['command_failed', 125],
    ] as const) {
      server.on(`POST /api/containers/${ID}/exec/stream`, refusal(422, error, 'command could not be started'));
      expect(await berth('exec', 'dev', '--', 'no-such-program')).toMatchObject({ code });
    }
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

  it('must say what failed, where, and what to do, on one line', async () => {
    const fields = (...names: readonly string[]): object => ({
      details: names.map((field) => ({ field, message: 'must be less' })),
    });
    const cases: readonly (readonly [number, string, string, object, string])[] = [
      [
        401,
        'unauthorized',
        'authentication required',
        {},
        `stop dev: authentication required on ${host()}. The token is wrong, revoked or expired. Log in again: \`berth login ${server.url}\`\n`,
      ],
      [
        409,
        'container_not_running',
        'container is not running',
        {},
        'stop dev: container is not running. Start it: `berth start dev`\n',
      ],
      [
        403,
        'container_limit_reached',
        'container limit reached',
        { current: 5, limit: 5, tier: 'free' },
        `stop dev: container limit reached on ${host()}. 5 of 5 on the tier free. Delete one with \`berth rm\`; stopping one is not enough.\n`,
      ],
      [
        400,
        'invalid_parameters',
        'invalid parameters',
        fields('memory_mb'),
        'stop dev: invalid parameters: --memory (memory_mb) must be less\n',
      ],
      [
        400,
        'invalid_parameters',
        'invalid parameters',
        fields('memory_mb', 'name'),
        'stop dev: invalid parameters\n  --memory (memory_mb) must be less\n  name must be less\n',
      ],
      [
        500,
        'stop_failed',
        'failed to stop container',
        {},
        "stop dev: failed to stop container (request r). Try again, or give the request id to the server's operator.\n",
      ],
      [400, 'of_a_newer_server', 'something new', {}, 'stop dev: something new\n'],
    ];
    for (const [status, code, error, more, said] of cases) {
      server.on(`POST /api/containers/${ID}/stop`, refusal(status, code, error, more));
      expect(await berth('stop', 'dev')).toMatchObject({ stdout: '', stderr: `berth: ${said}` });
    }
  });

  it('must suggest a command for one that it does not have, also for those of docker', async () => {
    for (const [word, meant] of [
      ['strat', 'start'],
      ['run', 'create'],
      ['commit', 'snapshot create'],
    ] as const) {
      expect(await line.berth(word)).toEqual({
        code: 2,
        stdout: '',
        stderr: `berth: unknown command '${word}'. Did you mean ${meant}?\nSee \`berth --help\`.\n`,
      });
    }
    expect(await line.berth('port', 'link', 'dev', '0')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^berth: .* Use a port from 1 to 65535\.\nSee `berth port link --help`\.\n$/,
      ) as string,
    });
  });

  it('must show a container in sections with units, and as the API has it for scripts', async () => {
    const { stdout } = await berth('show', 'dev');
    expect(stdout).not.toMatch(/null|undefined|\{|\[|"/);
    const facts = stdout.split('\n').map((each) => each.trim().replace(/ {2,}/, ': '));
    expect(facts).toEqual(
      expect.arrayContaining([
        'Container',
        'Status: running',
        'Labels: team=core, gpu',
        'Memory: 512 MB',
        'CPUs: 0.5',
        'Disk: 10 GB',
        'Access: only 203.0.113.7/32:443, 198.51.100.7/32:53/udp',
        'When idle: stops after 8h without use',
        'When stopped: is deleted after 7d',
        "Command: sh -c 'node server.js'",
        'Ready when: port 8080 is open, within 1m',
        'Ready: yes',
      ]),
    );
    expect(stdout).not.toMatch(/^ *(Role|Template|Address|Run ends)/m);
    expect(JSON.parse((await berth('show', 'dev', '--json')).stdout)).toEqual(CONTAINER);
  });

  it('must show who is logged in where, with limits, and the images', async () => {
    const { stdout } = await berth('whoami');
    expect(stdout).toMatch(/Name +ada\n/);
    expect(stdout).toContain(server.url);
    expect(stdout).toMatch(/Containers +1 of 5\n/);
    expect(stdout).toMatch(/Memory +256 MB to 2 GB\n/);
    expect(stdout).not.toMatch(/null|undefined/);
    expect(JSON.parse((await berth('whoami', '--json')).stdout)).toEqual({ server: server.url, context: null, ...ME });
    const image = { name: 'sandbox', reference: 'berth/sandbox:1', description: 'Debian', pull: 'never' };
    server.on('GET /api/images', { images: [{ ...image, default: true, available: true, template: null }] });
    expect((await berth('images')).stdout).toMatch(
      /^NAME +IMAGE .*\nsandbox \(default\) +berth\/sandbox:1 +yes +never +Debian\n$/,
    );
  });

  it('must open the console at a container, and print its address without a screen or where it is asked to', async () => {
    const url = `${server.url}/containers/${ID}`;
    expect(await berth('open', 'dev', '--print')).toEqual({ code: 0, stdout: `${url}\n`, stderr: '' });
    expect(await berth('open', 'dev')).toEqual({ code: 0, stdout: `${url}\n`, stderr: '' });
    expect(await berth('open')).toEqual({ code: 0, stdout: `${server.url}/\n`, stderr: '' });
    server.on('GET /api/containers', { containers: [], count: 0, limit: 5, next_cursor: null, event_seq: 1 });
    expect(await berth('open', 'other')).toMatchObject({ code: 4, stdout: '' });
    server.on('GET /api/containers', { containers: [CONTAINER], count: 1, limit: 5, next_cursor: null, event_seq: 1 });
    // The browser gets the address as a single argument, which no shell reads.
    const browser = join(line.folder, 'browser');
    await writeFile(browser, `#!/bin/sh\nprintf '%s\\n' "$@" > '${browser}.log'\n`, { mode: 0o755 });
    const environment = { BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine', BROWSER: browser };
    expect(await line.berthWith({ environment }, 'open', 'dev')).toEqual({
      code: 0,
      stdout: '',
      stderr: `opened ${url}\n`,
    });
    expect(await readFile(`${browser}.log`, 'utf8')).toBe(`${url}\n`);
    const broken = { ...environment, BROWSER: '/no/such/browser' };
    expect(await line.berthWith({ environment: broken }, 'open', 'dev')).toMatchObject({ code: 0, stdout: `${url}\n` });
  });

  it('must ask before snapshots are deleted', async () => {
    const snapshots = [
      { id: ID, name: 'ready' },
      { id: ID.replaceAll('1', '2'), name: 'old' },
    ];
    server.on('GET /api/snapshots', { snapshots, next_cursor: null });
    for (const { id, name } of snapshots) {
      server.on(`DELETE /api/snapshots/${id}`, { id, name, message: 'snapshot deleted' });
    }
    expect(await berth('snapshot', 'rm', 'ready', 'old')).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'berth: snapshot rm ready: confirmation needs a terminal. Use --yes to confirm\n' +
        '  Delete the snapshots ready, old? This cannot be undone.\n',
    });
    expect(server.requests.filter((each) => each.startsWith('DELETE'))).toEqual([]);
    expect(await berth('snapshot', 'rm', 'ready', 'old', '-y')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'ready: snapshot deleted\nold: snapshot deleted\n',
    });
    server.on(`DELETE /api/snapshots/${ID}`, refusal(404, 'snapshot_not_found', 'snapshot not found'));
    expect((await berth('snapshot', 'rm', 'old', 'ready', '--yes')).stderr).toMatch(
      /^old: snapshot deleted\nberth: snapshot rm ready: snapshot not found on \S+ `berth snapshot ls` lists snapshots.\n$/,
    );
  });

  it('must ask before a container is returned to a snapshot', async () => {
    server.on('GET /api/snapshots', { snapshots: [{ id: ID, name: 'ready' }], next_cursor: null });
    server.on(`POST /api/containers/${ID}/restore-snapshot`, { message: 'snapshot restored', name: 'dev', kept: 'k' });
    expect(await berth('snapshot', 'restore', 'dev', 'ready')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Restore dev to the snapshot ready? The container will be recreated') as string,
    });
    expect(await berth('snapshot', 'restore', 'dev', 'ready', '--yes')).toMatchObject({
      code: 0,
      stderr: 'dev: snapshot restored; saved as k\n',
    });
  });

  it('must show ports as they open and close, until the container stops', async () => {
    const url = 'http://3000-x.preview.localhost/';
    const port = { port: 3000, addresses: ['127.0.0.1'], access: 'private', url };
    const messages = [
      ['ports', { ports: [port] }],
      ['ports', { ports: [{ ...port, access: 'public' }] }],
      ['ports', { ports: [] }],
      ['end', { reason: 'container_stopped' }],
    ] as const;
    server.on(`GET /api/containers/${ID}/ports`, events(messages));
    expect(await berth('port', 'ls', 'dev', '--follow')).toEqual({
      code: 0,
      stdout: [
        `open     3000   127.0.0.1  private  ${url}`,
        `changed  3000   127.0.0.1  public  ${url}`,
        'closed   3000',
        '',
      ].join('\n'),
      stderr: '[container stopped]\n',
    });
    const { stdout } = await berth('port', 'ls', 'dev', '-f', '--json');
    expect(
      stdout
        .trim()
        .split('\n')
        .map((each) => (JSON.parse(each) as { type: string }).type),
    ).toEqual(['ports', 'ports', 'ports', 'end']);
  });

  it('must show the output of the start command, whole or its last lines, and follow it', async () => {
    const process = (id: string, start: boolean, day: number): object => ({
      id,
      start,
      program: 'sh',
      status: 'running',
      output_bytes: null,
      started_at: `2026-11-0${String(day)}T00:00:00.000Z`,
    });
    server.on(`GET /api/containers/${ID}/processes`, {
      processes: [process('old', true, 1), process(MAIN, true, 2), process('other', false, 3)],
    });
    const chunks = ['one\ntw', 'o\nthree\n', 'four'];
    const output = chunks.map((data, at) => ({ stream: 'stdout', offset: at * 10, data }));
    server.on(`GET /api/containers/${ID}/processes/${MAIN}/output`, ((request, response) => {
      const after = new URL(request.url ?? '/', 'http://any').searchParams.get('after');
      if (request.headers.accept === 'text/event-stream') {
        expect(after).toBe('30');
        events([
          ['output', { stream: 'stdout', offset: 30, data: ' five\n' }],
          ['exit', { exit_code: 0, reason: 'exited', exited_at: '2026-11-03T00:00:00.000Z' }],
        ])(request, response);
      } else {
        response.end(JSON.stringify({ output: after === '0' ? output : [], next: 30, gap: false, is_over: false }));
      }
    }) satisfies Handler);
    expect((await berth('top', 'dev')).stdout).toMatch(
      /^ID +KIND +STATUS +OUTPUT +AGE +COMMAND\nold +start .*\n7c9e6679 +start command +running +- +\d+d +sh\n/,
    );
    const shown = async (...args: readonly string[]) => (await berth('logs', 'dev', ...args)).stdout;
    expect(await shown()).toBe('one\ntwo\nthree\nfour');
    expect(await shown('7c9e6679')).toBe('one\ntwo\nthree\nfour');
    expect(await shown('-n', '0')).toBe('');
    expect(await shown('-n', '1')).toBe('four');
    expect(await shown('--tail', '3')).toBe('two\nthree\nfour');
    expect(await shown('--tail', '9')).toBe('one\ntwo\nthree\nfour');
    expect(await shown('-f', '-n', '2')).toBe('three\nfour five\n');
    // Each line has the time of its beginning.
    for (const [at, chunk] of output.entries()) Object.assign(chunk, { time: `2026-11-03T00:00:0${String(at)}.000Z` });
    const stamps = [0, 0, 1, 2].map((second) => `2026-11-03T00:00:0${String(second)}.000Z`);
    expect((await shown('-t')).split('\n')).toEqual(
      ['one', 'two', 'three', 'four'].map((line, at) => `${stamps[at] ?? ''} ${line}`),
    );
    expect(server.requests.at(-1)).toContain('times=true');
  });

  it('must show the use of all running containers, or of some, once without a terminal', async () => {
    server.on(`GET /api/containers/${ID}/stats`, STATS);
    for (const args of [[], ['dev'], ['dev', '--no-stream']]) {
      expect((await berth('stats', ...args)).stdout).toMatch(
        /^NAME +CPU +MEMORY +LIMIT .*\ndev +12\.5% +64\.0 MB +512\.0 MB +12\.5% +1\.0 KB +2\.0 KB +-\n$/,
      );
    }
    expect(JSON.parse((await berth('stats', 'dev', '--json')).stdout)).toEqual(STATS);
    expect(JSON.parse((await berth('stats', '--json')).stdout)).toEqual([{ db_id: ID, name: 'dev', ...STATS }]);
    server.on(
      `GET /api/containers/${ID}/stats`,
      events([
        ['stats', STATS],
        ['end', { reason: 'container_stopped' }],
      ]),
    );
    expect((await berth('stats', 'dev', '-f')).stdout).toMatch(/^NAME .*\ndev .*\n$/);
    server.on('GET /api/containers', { containers: [], count: 0, limit: 5, next_cursor: null, event_seq: 1 });
    expect(await berth('stats')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('no container is running') as string,
    });
  });

  it('must refuse a terminal for a command where there is none, and options that contradict each other', async () => {
    for (const args of [
      ['-it', 'dev', '--', 'sh'],
      ['-i', '-t', 'dev', '--', 'sh'],
      ['-d', '-i', 'dev', '--', 'sh'],
      ['-t', '--timeout', '5', 'dev', '--', 'sh'],
      ['-t', '--json', 'dev', '--', 'sh'],
    ]) {
      expect({ args, ...(await berth('exec', ...args)) }).toEqual({
        args,
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(/^berth: exec.*\n$/) as string,
      });
    }
  });

  it('must start a process in the background, and print its id', async () => {
    server.on(`POST /api/containers/${ID}/processes`, { id: 'p-1' });
    expect(await berth('exec', '-d', 'dev', '--', 'sleep', '9')).toEqual({ code: 0, stdout: 'p-1\n', stderr: '' });
  });

  it('must complete commands, names and the values of options', async () => {
    server.on('GET /api/snapshots', { snapshots: [{ id: ID, name: 'ready' }], next_cursor: null });
    server.on('GET /api/images', { images: [{ name: 'sandbox' }, { name: '$(touch PWNED)' }] });
    const complete = async (...words: readonly string[]) => (await berth('__complete', ...words)).stdout.split('\n');
    expect(await complete('o')).toEqual(['open', '']);
    expect(await complete('inspect', '')).toEqual(['dev', '']);
    expect(await complete('stats', 'd')).toEqual(['dev', '']);
    expect(await complete('snapshot', 'restore', 'dev', 'r')).toEqual(['ready', '']);
    expect(await complete('create', '')).toEqual(['sandbox', '']);
    expect(await complete('create', '--snapshot', '')).toEqual(['ready', '']);
    expect(await complete('ls', '--status', 'r')).toEqual(['running', '']);
    expect(await complete('update', 'dev', '--memory', '')).toEqual(['']);
    expect(await complete('exec', '--')).toEqual(expect.arrayContaining(['--tty', '--workdir', '--json']));
    expect(await complete('exec', '--c')).toEqual(['--context', '']);
  });
});
