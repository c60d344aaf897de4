import type { ServerResponse } from 'node:http';
import { eventually } from '../../../test/support/eventually.ts';
import { CommandLine, type PersonsTerminal } from './command-line.ts';
import { CONTAINER, CONTAINER_ID, type Handler, ScriptedServer, STATS } from './scripted-server.ts';

jest.setTimeout(120_000);

const idOf = (number: number): string => `${String(number).padStart(8, '0')}-1111-4111-8111-111111111111`;
const container = (number: number, more: object = {}): typeof CONTAINER => ({
  ...CONTAINER,
  db_id: idOf(number) as typeof CONTAINER_ID,
  name: `c${String(number)}` as 'dev',
  ...more,
});
const listOf = (containers: readonly object[]): object => ({
  containers,
  count: containers.length,
  limit: 100,
  next_cursor: null,
  event_seq: 1,
});
const [ONE, TWO] = [container(1), container(2)];

describe('berth stats of several containers', () => {
  let built: CommandLine;
  /** The command line of this server's user. */
  let line: CommandLine;
  let server: ScriptedServer;
  let sockets: ReturnType<ScriptedServer['live']>;
  let terminal: PersonsTerminal | undefined;
  /** The open streams, with the containers that each has. */
  let streams: { readonly ids: readonly string[]; readonly response: ServerResponse }[];

  beforeAll(async () => (built = await CommandLine.build()));
  beforeEach(async () => {
    streams = [];
    server = await ScriptedServer.start({
      'GET /api/containers': listOf([ONE, TWO]),
      'GET /api/stats/stream': ((request, response) => {
        const ids = new URL(request.url ?? '', 'http://any').searchParams.get('ids')?.split(',') ?? [];
        streams.push({ ids, response });
        response.setHeader('content-type', 'text/event-stream').write(': open\n\n');
      }) satisfies Handler,
    });
    sockets = server.live();
    line = built.with({ BERTH_URL: server.url, BERTH_TOKEN: 'berth_mine' });
  });
  afterEach(async () => {
    terminal?.close();
    await server.stop();
  });
  afterAll(() => built.remove());

  const measure = (number: number, percent: number): void => {
    const stats = { ...STATS, db_id: idOf(number), cpu: { percent_of_limit: percent, throttled_percent: 0 } };
    for (const { ids, response } of streams) {
      if (ids.includes(stats.db_id)) response.write(`event: stats\ndata: ${JSON.stringify(stats)}\n\n`);
    }
  };
  const happens = (type: string, data: object, seq: number): void =>
    void sockets.emit(type, { type, seq, timestamp: CONTAINER.created_at, data });
  /** Statistics and events are followed. */
  const opened = (): Promise<void> =>
    eventually(() => {
      expect(streams).not.toHaveLength(0);
      expect(sockets.of('/').sockets.size).toBe(1);
    });
  const inTerminal = (...args: readonly string[]): PersonsTerminal => line.inTerminal('rows 24 cols 120', ...args);

  it('must take one connection for 50 containers, and draw one table', async () => {
    const all = Array.from({ length: 51 }, (_, index) => container(index + 1));
    server.on('GET /api/containers', listOf(all));
    const following = line.begin({}, 'stats', '-f');
    let shown = '';
    following.stdout?.on('data', (chunk: Buffer) => (shown += chunk.toString()));
    await eventually(() => expect(streams.map(({ ids }) => ids.length)).toEqual([50, 1]));
    expect(streams.flatMap(({ ids }) => ids)).toEqual(all.map(({ db_id: id }) => id));
    for (const [at] of all.entries()) measure(at + 1, 12.5);
    await eventually(() => expect(shown.match(/^c\d+ +12\.5% +64\.0 MB/gm)).toHaveLength(51));
    expect(server.requests.filter((path) => /containers\/.*stats/.test(path))).toEqual([]);
    following.kill('SIGINT');
    expect(await new Promise((resolve) => following.once('close', resolve))).toBe(130);
  });

  it('must show in the table which have stopped or were deleted, and end with the last one', async () => {
    terminal = inTerminal('stats');
    await opened();
    measure(1, 12.5);
    measure(2, 25);
    await terminal.shows(/c1 +12\.5% [^\n]*\n(?:[\s\S]*\n)?c2 +25\.0% /);
    happens('container_stopped', { ...ONE, status: 'stopped' }, 2);
    await terminal.shows(/.\[3A\r.\[JNAME .*\r\nc1 +\[container stopped\]\r\nc2 +25\.0% /);
    // What was measured before it stopped may come late.
    measure(1, 99);
    measure(2, 50);
    await terminal.shows(/c1 +\[container stopped\]\r\nc2 +50\.0% /);
    happens('container_deleted', { ...TWO, status: 'deleted' }, 3);
    await terminal.shows(/c2 +\[container deleted\][\s\S]*ended with 0/);
    expect(terminal.shown).not.toContain('99.0%');
  });

  it('must show one again that has started again', async () => {
    terminal = inTerminal('stats');
    await opened();
    happens('container_stopped', { ...ONE, status: 'stopped' }, 2);
    await terminal.shows(/c1 +\[container stopped\]/);
    happens('container_started', ONE, 3);
    // Of two connections, the second may be the faster one.
    await eventually(() => {
      measure(1, 75);
      expect(terminal?.shown).toMatch(/c1 +75\.0% /);
    });
    terminal.type('\u0003');
    await terminal.shows('ended with 130');
  });

  it('must say which of the named ones do not run or are not there, and follow the others', async () => {
    const stopped = container(3, { status: 'stopped' });
    server.on('GET /api/containers', listOf([ONE, stopped]));
    const { stderr, stdout, code } = await withEnd(['stats', 'c1', 'c3', 'nothing', '-f'], async () => {
      await opened();
      measure(1, 12.5);
    });
    expect(stdout).toMatch(/^NAME .*\nc1 +12\.5% [^\n]*\n$/);
    const host = new URL(server.url).host;
    expect(stderr.split('\n').toSorted()).toEqual([
      '',
      'berth: stats c3: container is not running. Start it: `berth start c3`',
      `berth: stats nothing: container not found on ${host}. \`berth ls\` lists containers; \`berth ls -s deleted\` lists those that can be restored.`,
    ]);
    expect(code).toBe(4);
    expect(streams.map(({ ids }) => ids)).toEqual([[idOf(1), idOf(3)]]);
  });

  it('must write a line of JSON for each message, with the name', async () => {
    const { stdout } = await withEnd(['stats', '-f', '--json'], async () => {
      await opened();
      measure(2, 12.5);
    });
    const messages = stdout
      .trim()
      .split('\n')
      .map((each) => JSON.parse(each) as object);
    expect(messages).toEqual([
      { type: 'stats', db_id: idOf(2), name: 'c2', ...STATS },
      { type: 'end', db_id: idOf(1), name: 'c1', reason: 'container_stopped' },
      { type: 'end', db_id: idOf(2), name: 'c2', reason: 'container_stopped' },
    ]);
  });

  it('must end with the error where the server refuses', async () => {
    server.on('GET /api/stats/stream', ((request, response) => {
      response.statusCode = 403;
      const refused = { error: 'not allowed', code: 'exec_not_allowed', request_id: 'r' };
      request.resume().once('end', () => response.end(JSON.stringify(refused)));
    }) satisfies Handler);
    expect(await line.berth('stats', '-f')).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(
        /^berth: stats: not allowed on .* Your tier does not include terminal and file access\.\n$/,
      ) as string,
    });
  });

  it('must fail with the exit code of the first error where they are shown once', async () => {
    server.on(`GET /api/containers/${idOf(1)}/stats`, STATS);
    expect(await line.berth('stats', 'c1', 'nothing')).toMatchObject({
      code: 4,
      stdout: expect.stringMatching(/^NAME .*\nc1 +12\.5% .*\n$/) as string,
      stderr: expect.stringMatching(/^berth: stats nothing: container not found .*\n$/) as string,
    });
  });

  /** Runs the command until it has shown what happens meanwhile, stops the containers, and waits for its end. */
  async function withEnd(
    args: readonly string[],
    meanwhile: () => Promise<void>,
  ): Promise<{ code: unknown; stdout: string; stderr: string }> {
    const following = line.begin({}, ...args);
    const texts = { stdout: '', stderr: '' };
    following.stdout?.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
    following.stderr?.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
    const ended = new Promise((resolve) => following.once('close', resolve));
    await meanwhile();
    await eventually(() => expect(texts.stdout).toMatch(/12\.5/));
    for (const [at, each] of [ONE, TWO].entries()) {
      happens('container_stopped', { ...each, status: 'stopped' }, at + 2);
    }
    return { code: await ended, ...texts };
  }
});
