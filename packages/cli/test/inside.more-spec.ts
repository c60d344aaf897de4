import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { CommandLine, type PersonsTerminal } from './command-line.ts';

jest.setTimeout(180_000);

describe('berth, inside a container', () => {
  let server: Server;
  let user: TestUser;
  let line: CommandLine;
  let terminal: PersonsTerminal | undefined;

  beforeAll(async () => {
    server = await Server.start();
    user = await server.user('enterprise');
    line = await CommandLine.build({ BERTH_URL: server.url, BERTH_TOKEN: user.token });
    await user.api.running({ name: 'dev', start: { command: ['sh', '-c', 'echo begun; exec sleep 1000'] } });
  });
  afterEach(() => terminal?.close());
  afterAll(async () => {
    await user.api.delete('dev');
    await line.berth('rm', 'dev');
    await server.stop();
    await line.remove();
  });

  it('must run a command with its input, its bytes and its exit code', async () => {
    const script = 'cat; printf "\\377" >&2; exit 7';
    const ended = await line.berthWith({ input: 'typed' }, 'exec', '-i', 'dev', '--', 'sh', '-c', script);
    expect(ended).toEqual({ code: 7, stdout: 'typed', stderr: '\u{fffd}' });
    expect(await line.berth('exec', 'dev', '--', 'no-such-program')).toMatchObject({ code: 127 });
    expect(JSON.parse((await line.berth('exec', '--json', 'dev', 'echo', '-n', 'x')).stdout)).toMatchObject({
      stdout: 'x',
    });
  });

  /** Runs it with bytes as its input. @returns how it ended, and what it wrote as a digest */
  async function piped(input: Buffer, ...args: readonly string[]): Promise<{ code: number; digest: string }> {
    const child = line.begin({}, ...args);
    const hash = createHash('sha256');
    child.stdout?.on('data', (chunk: Buffer) => hash.update(chunk));
    // Nothing reads the rest of an input once its command has ended.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
    const code = await new Promise<number>((resolve) => child.once('close', (ended) => resolve(ended ?? -1)));
    return { code, digest: hash.digest('hex') };
  }

  const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

  it.each([300_000, 50_000_000])('must stream %i bytes to a command and from it, and end with it', async (length) => {
    const bytes = randomBytes(length);
    expect(await piped(bytes, 'exec', '-i', 'dev', '--', 'cat')).toEqual({ code: 0, digest: digestOf(bytes) });
    const script = `head -c 1000 | wc -c; exit 9`;
    expect(await piped(bytes, 'exec', '-i', 'dev', '--', 'sh', '-c', script)).toEqual({
      code: 9,
      digest: digestOf(Buffer.from('1000\n')),
    });
    const zeros = await piped(Buffer.alloc(0), 'exec', 'dev', '--', 'head', '-c', String(length), '/dev/zero');
    expect(zeros).toEqual({ code: 0, digest: digestOf(Buffer.alloc(length)) });
  });

  it('must end with its command though standard input does not', async () => {
    const child = line.begin({}, 'exec', '-i', 'dev', '--', 'sh', '-c', 'exit 3');
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(3);
  });

  it('must copy files and directories there and back, whole', async () => {
    const tree = join(line.folder, 'tree');
    await mkdir(join(tree, 'below'), { recursive: true });
    const content = Buffer.alloc(300_000, 'berth');
    await writeFile(join(tree, 'below', 'a.bin'), content);
    expect(await line.berth('cp', join(tree, 'below', 'a.bin'), 'dev:')).toMatchObject({ code: 0, stdout: '' });
    expect(await line.berth('cp', 'dev:a.bin', join(line.folder, 'back.bin'))).toMatchObject({ code: 0 });
    expect((await readFile(join(line.folder, 'back.bin'))).equals(content)).toBe(true);
    expect(await line.berth('cp', tree, 'dev:/home/user/tree')).toMatchObject({ code: 0 });
    expect(await line.berth('cp', 'dev:tree', join(line.folder, 'again'))).toMatchObject({ code: 0 });
    expect((await readFile(join(line.folder, 'again', 'below', 'a.bin'))).equals(content)).toBe(true);
    expect(await line.berth('cp', 'dev:nothing', line.folder)).toMatchObject({ code: 4 });
  });

  it('must be a real terminal: keys, size and its changes, detached and attached again, and the exit code', async () => {
    terminal = line.inTerminal('rows 33 cols 91', 'sh', 'dev');
    terminal.type('kept=before; stty size\n');
    await terminal.shows(/33 91/);
    await terminal.resize('rows 22 cols 77');
    terminal.type('sleep 0; stty size\n');
    await terminal.shows(/22 77/);
    // Ctrl-C is the shell's, and not this program's. Between two commands the shell itself would get it, and go on.
    terminal.type(`sh -c 'echo sleeps-$0; sleep 1000' $kept\n`);
    await terminal.shows(/sleeps-before/);
    terminal.type('\u0003');
    terminal.type('echo still-$kept\n');
    await terminal.shows(/still-before/);
    terminal.type('\u001d');
    await terminal.shows(/Attach again with: berth sh dev --attach [\s\S]*ended with 0/);
    terminal = line.inTerminal('rows 22 cols 77', 'sh', 'dev', '--attach');
    terminal.type('echo again-$kept; exit 5\n');
    await terminal.shows(/again-before[\s\S]*ended with 5/);
  });

  it('must run a command in a terminal, as another user, in another directory, with its exit code', async () => {
    const script = 'read go; stty size; id -un; pwd; exit 4';
    const options = ['-it', '-u', 'root', '-w', '/tmp'];
    terminal = line.inTerminal('rows 33 cols 91', 'exec', ...options, 'dev', '--', 'sh', '-c', script);
    terminal.type('go\n');
    await terminal.shows(/33 91[\s\S]*root[\s\S]*\/tmp[\s\S]*ended with 4 in icanon/);
  });

  it('must show what a process wrote, and what the container uses', async () => {
    expect(await line.berth('logs', 'dev')).toEqual({ code: 0, stdout: 'begun\n', stderr: '' });
    expect((await line.berth('stats', 'dev')).stdout).toMatch(
      /^NAME +CPU +MEMORY .*\ndev +[\d.]+% +[\d.]+ MB +256\.0 MB/,
    );
  });
});
