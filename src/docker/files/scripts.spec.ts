import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FILE_SHELL, LIST, MOVE, READ_FILE, READING, REMOVE, SMALL, WRITE_FILE } from './scripts';

/** With this machine's own shell, in the place of an image's. */
describe('a script that asks before it changes a file', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-scripts-'));
    path = join(folder, 'file');
    await writeFile(path, 'old');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('must let one of many writers win that have seen the same file', async () => {
    const writers = Array.from({ length: 6 }, (_each, index) => write(`new-${String(index)}`));
    const states = await Promise.all(writers.map(({ asked }) => asked));
    expect(new Set(states).size).toBe(1);
    const codes = await Promise.all(writers.map(({ goOn }) => goOn()));
    expect(codes.filter((code) => code === 0)).toHaveLength(1);
    expect(codes.filter((code) => code === 17)).toHaveLength(5);
    expect(await readFile(path, 'utf8')).toBe(`new-${String(codes.indexOf(0))}`);
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('must let one of many make the file that was not there', async () => {
    await rm(path);
    const writers = Array.from({ length: 4 }, (_each, index) => write(String(index)));
    expect(await Promise.all(writers.map(({ asked }) => asked))).toEqual(writers.map(() => 'file nothing'));
    const codes = await Promise.all(writers.map(({ goOn }) => goOn()));
    expect(codes.filter((code) => code === 0)).toHaveLength(1);
  });

  it('must not remove what was changed since, and what was not', async () => {
    const one = script(REMOVE, [path, '', '/home/user', 'conditional']);
    await one.asked;
    await writeFile(path, 'newer');
    expect(await one.goOn()).toBe(17);
    const another = script(REMOVE, [path, '', '/home/user', 'conditional']);
    await another.asked;
    expect(await another.goOn()).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });

  it('must change nothing where it is told nothing', async () => {
    const writer = write('new');
    await writer.asked;
    expect(await writer.goOn('')).toBe(1);
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('must take the lock of a process that has ended', async () => {
    await mkdir('/dev/shm', { recursive: true });
    await symlink('/proc/999999999', '/dev/shm/.berth-files').catch(() => undefined);
    const writer = write('new');
    await writer.asked;
    expect(await writer.goOn()).toBe(0);
    expect(await readFile(path, 'utf8')).toBe('new');
  });

  function write(text: string): ReturnType<typeof script> {
    return script(WRITE_FILE, [path, String(text.length), 'conditional'], text);
  }
});

describe('a path whose `..` follows a link', () => {
  let folder: string;
  let home: string;
  const run = (script: string, ...args: string[]): { status: number | null; stdout: string } => {
    const { status, stdout } = spawnSync('sh', ['-c', script, 'berth', ...args]);
    return { status, stdout: stdout.toString() };
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-scripts-'));
    home = join(folder, 'home/user');
    await mkdir(join(home, 't'), { recursive: true });
    await symlink('.', join(home, 't/self'));
    await writeFile(join(home, 'kept'), 'kept');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it.each(['t/self/../../user', 't/self/../../../home', 't/self/self/../../user'])(
    'is refused by its place in the tree, where it leads to the protected directory: %s',
    async (path) => {
      expect(run(REMOVE, `${home}/${path}`, 'recursive', home, '').status).toBe(15);
      expect(run(MOVE, `${home}/${path}`, join(folder, 'moved'), home).status).toBe(15);
      const shell = spawnSync('sh', ['-c', FILE_SHELL, 'berth', 'token', home], {
        input: `rename ${home}/${path} ${folder}/moved -\n`,
      });
      expect(shell.stdout.toString()).toMatch(/token015$/);
      expect(await readFile(join(home, 'kept'), 'utf8')).toBe('kept');
    },
  );

  it('is listed by its place in the tree', () => {
    expect(run(LIST, `${home}/t/self/..`).stdout).toMatch(/ \.\/kept\/\n/);
  });

  it('is moved to its place in the tree, also if it leads through the source', async () => {
    const to = `${home}/t/self/../moved`;
    expect(run(MOVE, `${home}/t`, to, '/data')).toMatchObject({ status: 0, stdout: expect.stringMatching(/./) });
    expect((await readdir(home)).sort()).toEqual(['kept', 'moved']);
  });
});

describe('a script that reads a file', () => {
  it.each([
    ['a small file at once', 'small', '', 'small'],
    ['as much of a large one as asked', 'x'.repeat(SMALL + 1), READING.bytes(1, 2), 'xx'],
    ['as much of a file without a size as asked', '', READING.most(5), ''],
  ])('must print %s', async (_what, content, asked, printed) => {
    const folder = await mkdtemp(join(tmpdir(), 'berth-scripts-'));
    try {
      await writeFile(join(folder, 'file'), content);
      const { stdout, status } = spawnSync('sh', ['-c', READ_FILE, 'berth', join(folder, 'file')], { input: asked });
      const [begun, state, ...rest] = stdout.toString().split('\n');
      expect([begun, state?.split(' ')[1], rest.join('\n'), status]).toEqual([
        'begun',
        String(content.length),
        printed,
        0,
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

interface Asking {
  /** What it says is there. */
  readonly asked: Promise<string>;
  /** @returns its exit code */
  goOn(answer?: string): Promise<number | null>;
}

function script(text: string, args: readonly string[], input = ''): Asking {
  const child = spawn('sh', ['-c', text, 'berth', ...args], {
    env: { ...process.env, BERTH_SESSION: randomUUID() },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let said = '';
  const asked = new Promise<string>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      said += data.toString();
      const [, state, rest] = said.split('\n');
      if (state !== undefined && rest !== undefined) resolve(state);
    });
  });
  return {
    asked,
    goOn: (answer = 'go\n') => {
      child.stdin.on('error', () => undefined).end(answer + (answer === '' ? '' : input));
      return ended;
    },
  };
}

/** With this machine's own shells, in the place of an image's. */
describe.each(['sh', 'bash'])('the shell of an SFTP session: %s', (shell) => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-shell-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** @returns the exit code and the output of each request */
  function answers(...requests: readonly string[]): [code: number, output: string][] {
    const token = '0123456789abcdef';
    const args = ['-c', FILE_SHELL, 'berth', token, '/home/user'];
    const { stdout } = spawnSync(shell, args, { cwd: folder, input: requests.join('') });
    const [first, ...said] = stdout.toString().split(token);
    expect(first).toBe(`begun\n${folder}\n`);
    // Each code is followed by the next output.
    return said.slice(1).map((part, at) => [Number(part.slice(0, 3)), (said[at] ?? '').slice(3)]);
  }

  it('must write in place and read what it wrote', () => {
    const file = join(folder, 'file');
    const got = answers(
      `create ${file} refuse 600\n`,
      `create ${file} refuse 600\n`,
      `write ${file} 0 0 0 5\nhello`,
      `write ${file} 0 3 0 4\nXY\n\n`,
      `read ${file} 0 1 1\n`,
      `resize ${file} 2\n`,
      `read ${file} 0 0 1\n`,
      `read ${file} 1 0 1\n`,
      `lstat ${file}\n`,
    );
    expect(got.map(([code]) => code)).toEqual([0, 11, 0, 0, 0, 0, 0, 0, 0]);
    expect([got[4], got[6], got[7]]).toEqual([
      [0, 'elXY\n\n'],
      [0, 'he'],
      [0, ''],
    ]);
    expect(got[8]?.[1]).toMatch(/^8180 2 /);
  });

  it('must write blocks with a rest behind them, at any offset', async () => {
    const file = join(folder, 'file');
    const bytes = 'x'.repeat(2 * 65_536 + 7);
    const got = answers(
      `create ${file} empty -\n`,
      `write ${file} 1 0 2 7\n${bytes}`,
      `write ${file} 0 7 2 7\n${bytes}`,
    );
    expect(got.map(([code]) => code)).toEqual([0, 0, 0]);
    expect(await readFile(file, 'utf8')).toBe('\0'.repeat(7) + 'x'.repeat(3 * 65_536));
  });

  it('must go on after what failed, and say why', async () => {
    await mkdir(join(folder, 'there'));
    const got = answers(
      `create ${folder}/missing/file empty -\n`,
      `read ${folder}/missing 0 0 1\n`,
      `create ${folder}/there empty -\n`,
      `remove ${folder}/there\n`,
      `rename ${folder}/missing ${folder}/x -\n`,
      `list ${folder}/missing\n`,
      'unknown x\n',
      `list ${folder}\n`,
    );
    expect(got.map(([code]) => code)).toEqual([1, expect.any(Number), 12, 12, 1, 1, 97, 0]);
    for (const at of [0, 1, 4, 5]) expect(got[at]?.[1]).toMatch(/No such file|Directory nonexistent/);
    expect(got[7]?.[1]).toMatch(/^41ed .* \.\/there\/\n$/);
  });

  it('must not take what could not be written for requests', async () => {
    const file = join(folder, 'kept');
    await writeFile(file, 'kept');
    const payload = `remove ${file}\n`;
    const got = answers(`write ${folder}/missing/file 0 0 0 ${String(payload.length)}\n${payload}`, `remove ${file}\n`);
    expect(got).toHaveLength(1);
    expect(await readFile(file, 'utf8')).toBe('kept');
  });

  it('must move over what is there only if it is asked to, and never into it', async () => {
    await writeFile(join(folder, 'from'), 'from');
    await mkdir(join(folder, 'directory'));
    await symlink(join(folder, 'directory'), join(folder, 'link'));
    const move = (to: string, how: string): string => `rename ${folder}/from ${folder}/${to} ${how}\n`;
    const got = answers(move('link', '-'), move('directory', 'replace'), move('link', 'replace'));
    expect(got.map(([code]) => code)).toEqual([11, 12, 0]);
    expect(await readFile(join(folder, 'link'), 'utf8')).toBe('from');
    expect(await readdir(join(folder, 'directory'))).toEqual([]);
  });
});
