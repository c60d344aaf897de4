import { execFile } from 'node:child_process';
import { lstat, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

jest.setTimeout(180_000);

const run = promisify(execFile);

const DOCUMENTS = ['README.md', 'docs/guide.md', 'docs/inside.md', 'docs/cli.md', 'examples/session.sh'];

describe('berth, as it is shipped', () => {
  let folder: string;
  let version: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-cli-package-'));
    ({ version } = JSON.parse(await readFile('packages/cli/package.json', 'utf8')) as { version: string });
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('must be installed in another folder, from nothing but what is packed', async () => {
    const { stdout } = await run('npm', ['pack', '--silent', '-w', '@berth/cli', '--pack-destination', folder]);
    await writeFile(join(folder, 'package.json'), '{ "private": true }');
    const install = ['install', '--offline', '--no-audit', '--no-fund', join(folder, stdout.trim())];
    await run('npm', install, { cwd: folder });
    const program = join(folder, 'node_modules', '.bin', 'berth');
    expect((await run(program, ['--version'], { cwd: folder })).stdout).toBe(`${version}\n`);
    expect((await run(program, ['--help'], { cwd: folder })).stdout).toContain('Sandboxed containers');
    expect(await readFile(join(folder, 'node_modules/@berth/cli/README.md'), 'utf8')).toContain('npx berth');
  });

  it('must be what npx runs in the project, as npm start has built it', async () => {
    const ensure = "import('./scripts/lib/command-line.mjs').then((it) => it.ensureCommandLine())";
    await run(process.execPath, ['-e', ensure]);
    const { stdout } = await run('npx', ['--no-install', 'berth', '--version']);
    expect(stdout).toBe(`${version}\n`);
    // Built and linked once.
    const { mtimeMs } = await lstat('node_modules/.bin/berth');
    await run(process.execPath, ['-e', ensure]);
    expect((await lstat('node_modules/.bin/berth')).mtimeMs).toBe(mtimeMs);
  });

  it.each(DOCUMENTS)('must not be shadowed by a shell function of %s', async (document) => {
    expect(await readFile(document, 'utf8')).not.toMatch(/^\s*(function +)?berth *\(\)|^\s*berth (GET|POST|PATCH) /m);
  });
});
