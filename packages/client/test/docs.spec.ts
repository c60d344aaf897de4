import { rm } from 'node:fs/promises';
import { Berth as Server } from '../../../test/support/servers/berth.ts';
import { blocksOf } from '../../../test/support/clients/document-blocks.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';
import { Berth, isBerthError, type Terminal } from '../src/index.ts';

jest.setTimeout(120_000);

type Scope = Readonly<Record<string, unknown>>;

const BLOCKS = blocksOf('docs/client.md').filter(({ language }) => language === 'js');

/** Runs a block of the document in a function whose parameters are what the text around it takes for granted. */
async function runBlock(heading: string, which: number, scope: Scope): Promise<void> {
  const text = BLOCKS.filter((block) => block.heading === heading)[which]?.text;
  if (text === undefined) throw new Error(`docs/client.md has no such block below ${heading}`);
  const body = text.replace(/^import .*$/gm, '').replace("'http://127.0.0.1:8080'", 'url');
  const AsyncFunction = runBlock.constructor as new (...args: string[]) => (...values: unknown[]) => Promise<void>;
  // A block of its own: what it declares may have the name of a parameter.
  await new AsyncFunction(...Object.keys(scope), `{ ${body} }`)(...Object.values(scope));
}

describe('what docs/client.md shows', () => {
  let database: TestDatabase;
  let server: Server;
  let berth: Berth;
  let id: string;
  let shown: unknown[][];
  const console = { log: (...said: unknown[]) => void shown.push(said) };

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'client-docs' };
    server = await Server.start({ database, environment });
    berth = new Berth({ url: server.url, token: (await server.user('free')).token });
    id = (await berth.containers.create({ image: 'sandbox', name: 'kept' })).db_id;
    await berth.containers.wait(id, 'running');
    await berth.files.makeDirectory(id, '/home/user/project');
  });
  beforeEach(() => (shown = []));
  afterAll(async () => {
    await server.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
  });

  it('must make, use and delete a container', async () => {
    const process = { env: { BERTH_TOKEN: (await server.user()).token } };
    await runBlock('The client', 0, { Berth, isBerthError, process, console, url: server.url });
    expect(shown).toEqual([['dev', 'running']]);
  });

  it('must tell errors apart', async () => {
    const said: string[] = [];
    const scope = {
      berth,
      isBerthError,
      ask: (what: string) => said.push(what),
      say: (what: string) => said.push(what),
    };
    await runBlock('Errors', 0, { ...scope, name: 'kept' });
    while ((await berth.account.me()).usage.containers < (await berth.account.me()).limits.containers) {
      await berth.containers.create({ image: 'sandbox' });
    }
    await runBlock('Errors', 0, { ...scope, name: 'another' });
    expect(said).toEqual(['another name', expect.stringMatching(/^\d+ are the most$/)]);
    await expect(runBlock('Errors', 0, { ...scope, name: '?' })).rejects.toMatchObject({ code: 'invalid_parameters' });
  });

  it('must follow a process to its end, and statistics until they are no longer wanted', async () => {
    const leaving = new AbortController();
    let output = '';
    const looking = {
      log: (bytes: unknown) => {
        shown.push([bytes]);
        leaving.abort(new Error('seen enough'));
      },
    };
    const process = { stdout: { write: (text: string) => (output += text) } };
    const scope = { berth, id, process, console: looking, signal: leaving.signal };
    await expect(runBlock('Following', 0, scope)).rejects.toThrow('seen enough');
    expect(output).toContain('make');
    expect(shown).toEqual([[expect.any(Number)]]);
  });

  it('must watch', async () => {
    let watch: ReturnType<Berth['watch']> | undefined;
    const watching = { watch: () => (watch = berth.watch()) };
    await runBlock('Watching', 0, { berth: watching, console });
    await berth.containers.setLabels(id, { seen: 'yes' });
    await new Promise<void>((resolve) => watch?.subscribe(resolve));
    watch?.close();
    expect(shown).toContainEqual([expect.any(Number), 'container_updated']);
    expect(shown).toContainEqual(['live', expect.arrayContaining(['kept running'])]);
  });

  it('must open a terminal, and come back to it', async () => {
    let text = '';
    const decoder = new TextDecoder();
    const screen = {
      write: (bytes: Uint8Array, done?: () => void) => {
        text += decoder.decode(bytes, { stream: true });
        done?.();
      },
      reset: () => undefined,
      onData: (type: (keys: string) => void) => type('stty size; exit\r'),
      onResize: (resize: (size: object) => void) => resize({ cols: 100, rows: 30 }),
    };
    await runBlock('Terminals', 0, { berth, id, screen });
    expect(text).toMatch(/(40 120|30 100)/);

    const opened: Terminal[] = [];
    const terminal = berth.terminal(id, { onOutput: () => undefined });
    const { session } = await terminal.opened;
    terminal.detach();
    const attaching = {
      terminals: {
        list: (container: string) => berth.terminals.list(container),
        attach: (...asked: Parameters<typeof berth.terminals.attach>) => {
          const again = berth.terminals.attach(...asked);
          opened.push(again);
          return again;
        },
      },
    };
    await runBlock('Terminals', 1, { berth: attaching, id, terminal, screen, console });
    expect(await opened[0]?.opened).toMatchObject({ session, role: 'writer' });
    expect(shown).toContainEqual([session, expect.any(Number)]);
    opened[0]?.detach();
  });
});
