import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { build } from 'esbuild';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { ConsoleBrowser } from '../../../test/support/clients/console-browser.ts';
import { freePort } from '../../../test/support/free-port.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';

jest.setTimeout(120_000);

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript' };

describe('the pages in examples/, in a browser', () => {
  let folder: string;
  let site: HttpServer;
  let database: TestDatabase;
  let server: Server;
  let user: TestUser;
  let browser: ConsoleBrowser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-page-'));
    await cp('examples/page', folder, { recursive: true });
    await build({
      entryPoints: ['packages/client/src/index.ts'],
      bundle: true,
      format: 'esm',
      outfile: join(folder, 'berth.js'),
    });
    await buildReact(join(folder, 'react.js'));
    await writeFile(
      join(folder, 'react.html'),
      '<!doctype html><div id="page"></div><script type="module" src="react.js"></script>',
    );
    site = createServer(({ url = '/' }, response) => {
      const name = new URL(url, 'http://any').pathname;
      const file = join(folder, name === '/' ? 'index.html' : name);
      readFile(file).then(
        (content) => response.setHeader('content-type', TYPES[extname(file)] ?? 'text/plain').end(content),
        () => response.writeHead(404).end(),
      );
    });
    const port = await freePort();
    await new Promise<void>((resolve) => site.listen(port, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${String((site.address() as AddressInfo).port)}`;
    database = await openTestDatabase();
    const simulated = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'example-page' };
    server = await Server.start({ database, environment: { CORS_ORIGINS: origin, ...simulated } });
    user = await server.user('free');
    browser = await ConsoleBrowser.launch(origin);
  });
  afterAll(async () => {
    await browser.close();
    site.close();
    await server.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
    await rm(folder, { recursive: true });
  });

  it("without a framework must show the user's containers as they are, act on them, and say what was refused", async () => {
    const page = await (await browser.context()).newPage();
    await page.goto(`/?url=${server.url}`);
    await page.getByLabel('Token').fill(user.token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('live', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Create' }).click();
    const row = page.locator('#containers tr');
    await row.filter({ hasText: 'running' }).waitFor();
    // What another client does is seen as well, and what is named by others is text.
    const { body } = await user.api.call('GET', '/api/containers');
    const [{ db_id: id }] = body['containers'] as [{ db_id: string }];
    const resources = { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 };
    expect((await user.api.update(id, { name: 'renamed', ...resources })).status).toBe(200);
    await row.filter({ hasText: 'renamed' }).waitFor();
    await row.getByRole('button', { name: 'Stop' }).click();
    await row.filter({ hasText: 'stopped' }).waitFor();
    await row.getByRole('button', { name: 'Start' }).click();
    await row.filter({ hasText: 'running' }).waitFor();
    for (;;) {
      if ((await user.api.create()).status !== 202) break;
    }
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText(/No more than \d+ containers\./).waitFor();
    await row.filter({ hasText: 'renamed' }).getByRole('button', { name: 'Delete' }).click();
    await row.filter({ hasText: 'renamed' }).waitFor({ state: 'detached' });
    // It is signed in again when it is loaded again, until its token has ended.
    await page.reload();
    await page.getByText('live', { exact: true }).waitFor();
    const { body: tokens } = await user.api.call('GET', '/api/tokens');
    for (const token of tokens['tokens'] as { id: string }[]) await user.api.call('DELETE', `/api/tokens/${token.id}`);
    await page.getByText('The token is not valid, or has ended.').waitFor();
    expect(browser.complaints).toEqual([]);
  });

  it("with React must show the user's containers as they are, and act on them", async () => {
    const other = await server.user('free');
    const page = await (await browser.context()).newPage();
    // The page's own address of a server is the one that `npm start` has.
    const script = (await readFile(join(folder, 'react.js'), 'utf8')).replaceAll('http://127.0.0.1:8080', server.url);
    await writeFile(join(folder, 'react.js'), script);
    await page.addInitScript(`sessionStorage.setItem('token', '${other.token}')`);
    await page.goto('/react.html');
    await page.getByText('live', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Create' }).click();
    const row = page.locator('li');
    await row.filter({ hasText: 'running' }).waitFor();
    await row.getByRole('button', { name: 'Stop' }).click();
    await row.filter({ hasText: 'stopped' }).waitFor();
    await row.getByRole('button', { name: 'Delete' }).click();
    await row.waitFor({ state: 'detached' });
    expect(browser.complaints).toEqual([]);
  });
});

/** With Preact, which takes React's place in the console as well: a library that only an example needs is none. */
async function buildReact(outfile: string): Promise<void> {
  await build({
    entryPoints: ['examples/react/page.jsx'],
    outfile,
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    conditions: ['berth-source', 'browser', 'import'],
    alias: {
      'react/jsx-runtime': 'preact/jsx-runtime',
      'react-dom/client': 'preact/compat/client',
      'react-dom': 'preact/compat',
      react: 'preact/compat',
    },
  });
}
