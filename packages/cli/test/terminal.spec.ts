import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { CommandLine, type PersonsTerminal } from './command-line.ts';
import { CONTAINER, CONTAINER_ID as ID, type Handler, ME, ScriptedServer, STATS } from './scripted-server.ts';

jest.setTimeout(120_000);

const MIB = 2 ** 20;

const refused: Handler = (request, response) => {
  response.statusCode = 400;
  const answer = { error: 'not a directory', code: 'path_not_directory', request_id: 'r' };
  request.resume().once('end', () => response.end(JSON.stringify(answer)));
};

describe('berth at a terminal', () => {
  let server: ScriptedServer;
  let line: CommandLine;
  let terminal: PersonsTerminal | undefined;

  beforeAll(async () => {
    server = await ScriptedServer.start({
      'GET /api/containers': { containers: [CONTAINER], count: 1, limit: 5, next_cursor: null, event_seq: 1 },
      [`GET /api/containers/${ID}`]: CONTAINER,
      [`GET /api/containers/${ID}/files/list`]: refused,
    });
    line = await CommandLine.build({ BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' });
  });
  afterEach(() => terminal?.close());
  afterAll(async () => {
    await server.stop();
    await line.remove();
  });

  it('must show how far a copy is, how fast, and how long it takes, and nothing of that without a terminal', async () => {
    let finish = (): void => undefined;
    server.on(`GET /api/containers/${ID}/files`, ((_request, response) => {
      response.setHeader('content-length', 4 * MIB);
      response.write(Buffer.alloc(MIB));
      // The rate of the first second says little about the rest.
      setTimeout(() => response.write(Buffer.alloc(MIB)), 1_200);
      finish = () => response.end(Buffer.alloc(2 * MIB));
    }) satisfies Handler);
    const file = join(line.folder, 'big.bin');
    terminal = line.inTerminal('rows 24 cols 160', 'cp', 'dev:big.bin', file);
    await terminal.shows(/\[#+\.+\] \d\d% \S+big\.bin {2}[\d.]+ MB of 4\.0 MB {2}[\d.]+ [KM]B\/s {2}\ds left/);
    finish();
    await terminal.shows(/\r.\[K\S+big\.bin: 4\.0 MB\r\n[\s\S]*ended with 0/);
    server.on(`GET /api/containers/${ID}/files`, ((_request, response) =>
      response.end(Buffer.alloc(4 * MIB))) satisfies Handler);
    expect(await line.berth('cp', 'dev:big.bin', file)).toEqual({ code: 0, stdout: '', stderr: `${file}: 4.0 MB\n` });
  });

  it('must redraw the table of statistics, and leave it at Ctrl-C', async () => {
    server.on(`GET /api/containers/${ID}/stats`, ((_request, response) => {
      response.setHeader('content-type', 'text/event-stream');
      const send = (percent: number): void => {
        const stats = { ...STATS, cpu: { percent_of_limit: percent, throttled_percent: 0 } };
        response.write(`event: stats\ndata: ${JSON.stringify(stats)}\n\n`);
      };
      send(12.5);
      setTimeout(() => send(50), 200);
    }) satisfies Handler);
    terminal = line.inTerminal('rows 24 cols 120', 'stats');
    await terminal.shows(/NAME +CPU .*\r\ndev +12\.5% [\s\S]*.\[2A\r.\[JNAME .*\r\ndev +50\.0% /);
    terminal.type('\u0003');
    await terminal.shows('ended with 130 in icanon');
    expect(terminal.shown.match(/NAME/g)).toHaveLength(2);
  });

  it('must cut the commands of processes to its width, and show them whole to a program', async () => {
    const process = (id: string, command: readonly string[] | null): object => ({
      id,
      program: 'sh',
      ...(command && { command }),
      start: false,
      status: 'running',
      reason: null,
      exit_code: null,
      output_bytes: 10,
      started_at: '2026-11-01T00:00:00.000Z',
    });
    const text = `echo ${'long '.repeat(20)}\u{1f600}`;
    const processes = [process('p-1', ['sh', '-c', text]), process('p-2', null)];
    server.on(`GET /api/containers/${ID}/processes`, { processes });
    terminal = line.inTerminal('rows 24 cols 60', 'top', 'dev');
    await terminal.shows('ended with 0');
    const shown = stripVTControlCharacters(terminal.shown);
    const [, head = '', first = '', second = ''] = /(ID .*)\r\n(.*)\r\n(.*)\r\nended/.exec(shown) ?? [];
    expect(head).toMatch(/^ID +KIND +STATUS +OUTPUT +AGE +COMMAND$/);
    expect(Array.from(first)).toHaveLength(60);
    expect(first).toMatch(/^p-1 +process +running +10 B +\d+d +sh -c 'echo long .*…$/);
    expect(second).toMatch(/^p-2 .* sh$/);
    const { stdout } = await line.berth('top', 'dev');
    expect(stdout).toContain(` sh -c '${text}'\n`);
    // Where the emoji is at the edge, it is left out whole.
    const edge = stdout.split('\n')[1]?.indexOf('\u{1f600}') ?? 0;
    terminal.close();
    terminal = line.inTerminal(`rows 24 cols ${String(edge + 1)}`, 'top', 'dev');
    await terminal.shows(/long …\r\n[\s\S]*ended with 0/);
  });

  it('must ask before a snapshot is deleted', async () => {
    server.on('GET /api/snapshots', { snapshots: [{ id: ID, name: 'ready' }], next_cursor: null });
    server.on(`DELETE /api/snapshots/${ID}`, { id: ID, name: 'ready', message: 'snapshot deleted' });
    terminal = line.inTerminal('rows 24 cols 120', 'snapshot', 'rm', 'ready');
    await terminal.shows('Delete the snapshot ready? This cannot be undone. [y/N] ');
    terminal.type('n\r');
    await terminal.shows(/berth: snapshot rm ready: cancelled, nothing was changed\r\n[\s\S]*ended with 1/);
    expect(server.requests.filter((each) => each.startsWith('DELETE'))).toEqual([]);
    terminal.close();
    terminal = line.inTerminal('rows 24 cols 120', 'snapshot', 'rm', 'ready');
    await terminal.shows('[y/N] ');
    terminal.type('y\r');
    await terminal.shows(/ready: snapshot deleted\r\n[\s\S]*ended with 0/);
  });

  it('must have bold headings and coloured statuses, but not with NO_COLOR, nor in a pipe', async () => {
    const green = '\u001b[32mrunning\u001b[39m';
    server.on('GET /api/me', ME);
    terminal = line.inTerminal('rows 50 cols 120', 'whoami');
    await terminal.shows('ended with 0');
    expect(terminal.shown).toContain('\u001b[1mUser\u001b[22m');
    terminal.close();
    terminal = line.inTerminal('rows 50 cols 160', 'ls');
    await terminal.shows('ended with 0');
    expect(terminal.shown).toContain(green);
    terminal.close();
    terminal = line.with({ NO_COLOR: '1' }).inTerminal('rows 50 cols 160', 'ls');
    await terminal.shows(/dev +running [\s\S]*ended with 0/);
    expect(terminal.shown).not.toContain('\u001b[');
    const [piped, forced] = [await line.berth('ls'), await line.with({ FORCE_COLOR: '1' }).berth('ls')];
    expect(piped.stdout).not.toContain('\u001b[');
    expect(forced.stdout).toContain(green);
    expect(stripVTControlCharacters(forced.stdout)).toBe(piped.stdout);
  });

  it('must say what to do next where a list is empty, and write an empty table in a pipe', async () => {
    server.on('GET /api/snapshots', { snapshots: [], next_cursor: null });
    terminal = line.inTerminal('rows 24 cols 120', 'snapshot', 'ls');
    await terminal.shows('No snapshots yet. Create one: berth snapshot create NAME\r\n');
    const piped = await line.berth('snapshot', 'ls');
    expect(piped).toMatchObject({ code: 0, stderr: '' });
    expect(piped.stdout).toMatch(/^ID +NAME .*\n$/);
  });

  it('must take a start command without a shell, and say how to use one', async () => {
    const faulty: readonly (readonly [text: string, advice: string])[] = [
      ['npm start | tee log', 'It runs without a shell. Use --start "sh -c '],
      ["echo 'it", 'A quotation mark is not closed.'],
      [' ', 'Enter a command.'],
    ];
    for (const [text, advice] of faulty) {
      const { code, stderr } = await line.berth('create', '--start', text);
      expect([code, stderr]).toEqual([2, expect.stringContaining(advice)]);
    }
  });
});
