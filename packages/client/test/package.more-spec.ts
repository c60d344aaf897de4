import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Berth as Server } from '../../../test/support/servers/berth.ts';
import { FakeEngine } from '../../../test/support/fakes/fake-engine.ts';

jest.setTimeout(120_000);

const run = promisify(execFile);
const TYPESCRIPT = 'node_modules/typescript/bin/tsc';

/** What a program of somebody else writes, with each kind of thing that the package exports. */
const PROGRAM = `
import { Berth, type BerthEvent, type ContainerView, isBerthError, type WatchSnapshot } from '@berth/client';

const { BERTH_URL: url = '', BERTH_TOKEN: token = '' } = ENVIRONMENT;
const berth = new Berth({ url, token, retries: 1 });
const watch = berth.watch();
await watch.ready;
const snapshot: WatchSnapshot = watch.getSnapshot();
watch.onEvent((event: BerthEvent) => console.log(event.seq));
watch.close();
const all: string[] = [];
for await (const { name } of berth.containers.list()) all.push(name);
try {
  const one: ContainerView = await berth.containers.get('no-such-container');
  console.log(one.resources.memory_mb);
} catch (error) {
  if (!isBerthError(error, 'container_not_found', 'container_limit_reached')) throw error;
  // @ts-expect-error -- no code says this
  error.fields.nothing;
  console.log(error.code, snapshot.seq, all.length);
}
`;

describe('the package, as it is published', () => {
  let folder: string;
  let server: Server;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-package-'));
    server = await Server.start({ engine: new FakeEngine() });
    const built = join(folder, 'built');
    await mkdir(built);
    for (const name of ['package.json', 'README.md']) await cp(join('packages/client', name), join(built, name));
    await run(process.execPath, ['packages/client/scripts/build.mjs', join(built, 'dist')]);
    const { stdout } = await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], {
      cwd: built,
    });
    // As npm would install it, without a registry: what it depends on is the project's.
    const modules = join(folder, 'node_modules');
    await mkdir(join(modules, '@berth', 'client'), { recursive: true });
    await mkdir(join(modules, '@types'));
    const strip = ['--strip-components=1', '-C', join(modules, '@berth', 'client')];
    await run('tar', ['-xzf', join(folder, stdout.trim()), ...strip]);
    const { default: manifest } = (await import('../package.json')) as { default: { dependencies: object } };
    for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
      await symlink(join(process.cwd(), 'node_modules', name), join(modules, name));
    }
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  });
  afterAll(async () => {
    await server.stop();
    await rm(folder, { recursive: true });
  });

  async function compile(program: string, options: readonly string[], file = 'program.ts'): Promise<void> {
    await writeFile(join(folder, file), program);
    const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false'];
    const args = [join(process.cwd(), TYPESCRIPT), file, ...strict, ...options];
    await run(process.execPath, args, { cwd: folder }).catch((error: unknown) => {
      throw new Error(String((error as { stdout?: string }).stdout), { cause: error });
    });
  }

  it('must have nothing in it but what is built', async () => {
    const files = await readdir(join(folder, 'node_modules', '@berth', 'client'), { recursive: true });
    const others = files.filter((file) => !/^dist(\/cjs)?(\/[a-z-]+(\.d\.ts|\.js))?$/.test(file));
    expect(others.toSorted()).toEqual(['README.md', 'dist/cjs/package.json', 'package.json']);
  });

  it('must be imported by an ES module in Node.js whose types are checked, and do its work', async () => {
    const program = PROGRAM.replace('ENVIRONMENT', 'process.env');
    await compile(program, ['--module', 'nodenext', '--types', 'node', '--target', 'es2022']);
    const { token } = await server.user();
    const env = { PATH: process.env['PATH'], BERTH_URL: server.url, BERTH_TOKEN: token };
    const { stdout } = await run(process.execPath, [join(folder, 'program.js')], { env });
    expect(stdout).toBe('container_not_found 0 0\n');
  });

  it('must have types for a page that a bundler takes', async () => {
    const program = PROGRAM.replace('ENVIRONMENT', '{} as Record<string, string>');
    await mkdir(join(folder, 'node_modules', '@types', 'none'));
    await writeFile(join(folder, 'node_modules', '@types', 'none', 'index.d.ts'), '');
    const lib = ['--types', 'none', '--target', 'es2022', '--lib', 'es2022,dom'];
    await compile(program, ['--module', 'esnext', '--moduleResolution', 'bundler', ...lib]);
  });

  it.each([
    ['node16', ['--module', 'node16']],
    ['bundler', ['--module', 'commonjs', '--moduleResolution', 'bundler']],
    ['node10', ['--module', 'commonjs', '--moduleResolution', 'node10', '--ignoreDeprecations', '6.0']],
  ])('must be required by a CommonJS module whose types are checked, as %s resolves it', async (_name, options) => {
    const program = `${PROGRAM.replace('ENVIRONMENT', 'process.env').replace(/^const/m, 'void (async () => {\nconst')}})();`;
    await compile(program, [...options, '--types', 'node', '--target', 'es2022'], 'required.cts');
    const { token } = await server.user();
    const env = { PATH: process.env['PATH'], BERTH_URL: server.url, BERTH_TOKEN: token };
    const { stdout } = await run(process.execPath, [join(folder, 'required.cjs')], { env });
    expect(stdout).toBe('container_not_found 0 0\n');
  });
});
