import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { READ_FILE, READING, REMOVE, SMALL, WRITE_FILE } from './scripts';

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
