import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { ApiClient } from '../support/api-client';
import { RealDocker } from '../support/real-docker';

jest.setTimeout(300_000);

const run = promisify(execFile);
const INSTANCE = `test-artefact-${String(process.pid)}`;

describe('a server with nothing but dist and the production dependencies', () => {
  let folder: string;
  let environment: NodeJS.ProcessEnv;
  let server: ChildProcess;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-artefact-'));
    environment = {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      PORT: '0',
      LOG_LEVEL: 'fatal',
      DATABASE_URL: `sqlite:${join(folder, 'berth.sqlite')}`,
      DOCKER_HOST: process.env['DOCKER_HOST'],
      SANDBOX_RUNTIME: process.env['SANDBOX_RUNTIME'],
      SANDBOX_PROOF: 'off',
      INSTANCE_ID: INSTANCE,
      SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
    };
    const listed = await run('npm', ['ls', '--all', '--parseable', '--omit=dev', '--workspaces=false']);
    const packages = listed.stdout.split('\n').filter((path) => path.includes('node_modules'));
    for (const path of ['package.json', 'dist', ...packages.map((each) => relative(process.cwd(), each))]) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      // What is in a package for others alone is a package of its own in the list.
      const filter = (source: string): boolean =>
        source === path || !source.slice(path.length).includes('node_modules');
      await cp(path, join(folder, path), { recursive: true, filter });
    }
  });

  afterAll(async () => {
    server.kill('SIGKILL');
    await new RealDocker().removeInstance(INSTANCE);
    await rm(folder, { recursive: true });
  });

  it('must make tokens, serve, run containers, and end in good order', async () => {
    const program = join('dist', 'src', 'cli', 'token.js');
    const made = await run(process.execPath, [program, '--user', 'one', '--tier', 'pro'], {
      cwd: folder,
      env: environment,
    });
    server = spawn(process.execPath, ['dist/src/main.js'], {
      cwd: folder,
      env: environment,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const [{ url }] = (await once(server, 'message')) as [{ url: string }];
    const api = new ApiClient(url, made.stdout.trim());
    const { db_id } = await api.running();
    expect((await api.stop(db_id)).status).toBe(200);
    expect((await api.call('GET', '/api/openapi.json')).status).toBe(200);
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
  });
});
