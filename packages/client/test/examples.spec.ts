import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { testImage } from '../../../test/support/clients/api-client.ts';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { FakeDaemon, FakeEngine } from '../../../test/support/fakes/fake-engine.ts';

const run = promisify(execFile);

describe('examples', () => {
  let server: Server;
  let user: TestUser;
  let folder: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-examples-'));
    server = await Server.start({ engine: new FakeEngine(new FakeDaemon()) });
    user = await server.user('enterprise');
  });
  afterAll(async () => {
    for (const child of children) child.kill();
    await server.stop();
    await rm(folder, { recursive: true });
  });

  const environment = (): NodeJS.ProcessEnv => ({
    PATH: process.env['PATH'],
    BERTH_URL: server.url,
    BERTH_TOKEN: user.token,
  });

  /** With the client as it is now, built or not. */
  async function bundle(example: string, external: readonly string[] = []): Promise<string> {
    const outfile = join(folder, `${example.replaceAll('/', '-')}.mjs`);
    await build({
      entryPoints: [`examples/${example}`],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      jsx: 'automatic',
      conditions: ['berth-source', 'node', 'import'],
      external: ['bufferutil', 'utf-8-validate', ...external],
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    return outfile;
  }

  it('the watcher for Node.js must show each change', async () => {
    const child = spawn(process.execPath, [await bundle('watch.mjs')], { env: environment() });
    children.push(child);
    let shown = '';
    child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()));
    await eventually(() => expect(shown).toContain('containers: none'));
    await user.api.running({ name: 'watched' });
    await eventually(() => expect(shown).toContain('container_started watched running'));
    child.kill('SIGINT');
    await new Promise((resolve) => child.once('close', resolve));
    expect(child.exitCode).toBe(0);
  });

  it('the session with curl must lead through the life of a container', async () => {
    const { stdout } = await run('sh', ['examples/session.sh', testImage()], { env: environment() });
    expect(stdout).toMatch(/^[0-9a-f-]{36} runs\n.*container stopped/);
  });

  it('the page with React must be what a bundler takes', async () => {
    const react = ['react', 'react-dom', 'react/jsx-runtime', 'react-dom/client'];
    await expect(bundle('react/page.jsx', react)).resolves.toMatch(/page/);
  });
});
