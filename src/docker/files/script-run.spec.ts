import { PassThrough, Readable } from 'node:stream';
import type { FilesCall } from '../port/engine-files';
import type { EnginePrograms } from '../port/engine-programs';
import type { ContainerProcess } from '../port/container-process';
import { ScriptRun } from './script-run';
import { REMOVE } from './scripts';

const REQUEST = { script: REMOVE, args: ['/tmp/x', '', '/home/user'] };
const CALL: FilesCall = { dockerId: 'id', signal: new AbortController().signal, endLater: () => undefined };

describe('a script in a container', () => {
  // Streams go by ticks.
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] }));
  afterEach(() => jest.useRealTimers());

  it('must be given up soon if the shell does not begin with it, though that cannot be ended either', async () => {
    const { programs, shell, ended } = aContainer();
    const outcome = ScriptRun.words(programs, CALL, REQUEST).catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(10_000);
    expect(await outcome).toMatchObject({ code: 'tools_failed' });
    expect([shell.destroyed, ended]).toEqual([true, ['TERM']]);
  });

  it('must be given up at once if the shell says anything else first, without an end', async () => {
    const { programs, shell } = aContainer();
    const outcome = ScriptRun.words(programs, CALL, REQUEST).catch((error: unknown) => error);
    shell.write({ stream: 'stdout', data: Buffer.from('y\ny\n') });
    expect(await outcome).toMatchObject({ code: 'tools_failed' });
    expect(shell.destroyed).toBe(true);
  });

  it('must be given up where it complains without end, and says nothing else', async () => {
    const { programs, shell, ended } = aContainer();
    const outcome = ScriptRun.start(programs, CALL, { ...REQUEST, stdin: true }).then((run) => run.line());
    const failed = outcome.catch((error: unknown) => error);
    shell.write({ stream: 'stdout', data: Buffer.from('begun\n') });
    await new Promise(setImmediate);
    for (let seconds = 0; seconds < 60; seconds += 20) {
      shell.write({ stream: 'stderr', data: Buffer.from('no!') });
      await jest.advanceTimersByTimeAsync(20_000);
    }
    expect(await Promise.race([failed, Promise.resolve('goes on')])).toMatchObject({ code: 'tools_failed' });
    expect(ended).toEqual([]);
  });

  it('must be fed at its own pace, and with nothing more once it has ended', async () => {
    const { programs, shell, stdin } = aContainer();
    const run = await begun(programs, shell);
    const content = endless();
    const fed = run.feed(content);
    await jest.advanceTimersByTimeAsync(30_000);
    expect(stdin.writableLength).toBeLessThan(3 * 2 ** 20);
    shell.end();
    expect(await fed).toBeNull();
    expect(content.destroyed).toBe(true);
  });

  it('must be fed more before it has taken all that it was given', async () => {
    const { programs, shell, stdin } = aContainer();
    const run = await begun(programs, shell);
    const content = endless();
    const fed = run.feed(content);
    while (!content.isPaused()) await new Promise(setImmediate);
    const waiting = stdin.writableLength;
    while (content.isPaused()) if (stdin.read() === null) await new Promise(setImmediate);
    expect(stdin.writableLength).toBeGreaterThan(waiting / 2);
    shell.end();
    expect(await fed).toBeNull();
  });

  it.each([
    ['free what it was fed, if that is nobody else’s', true, [0, 64 * 1024, 3]],
    ['leave it in memory where its input passes the same memory on', false, [64 * 1024, 64 * 1024, 3]],
  ])('must %s', async (_what, isInputCopied, lengths) => {
    const { programs, shell, stdin } = aContainer({ isInputCopied });
    const run = await begun(programs, shell);
    const [owned, shared, small] = [Buffer.alloc(64 * 1024, 1), Buffer.alloc(64 * 1024, 2), Buffer.from('abc')];
    stdin.resume();
    await run.feed(Readable.from([owned, small], { objectMode: false }), { isOwned: true });
    await run.feed(Readable.from([shared], { objectMode: false }));
    await new Promise((resolve) => stdin.end(resolve));
    expect([owned, shared, small].map(({ length }) => length)).toEqual(lengths);
  });

  it('must not be waited for once it has taken nothing for a minute', async () => {
    const { programs, shell } = aContainer();
    const run = await begun(programs, shell);
    const failed = run.feed(endless()).catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(await failed).toMatchObject({ code: 'tools_failed' });
  });

  it('must be fed no more where its content fails, or is refused', async () => {
    const { programs, shell, stdin } = aContainer();
    const run = await begun(programs, shell);
    const broken = new PassThrough();
    const failed = run.feed(broken).catch((error: unknown) => error);
    broken.write('abc');
    await new Promise(setImmediate);
    broken.destroy(new Error('gone'));
    expect(await failed).toMatchObject({ message: 'gone' });
    const refuse = (): void => {
      throw new Error('too large');
    };
    await expect(run.feed(Readable.from([Buffer.from('def')]), { onBytes: refuse })).rejects.toThrow('too large');
    expect(String(stdin.read())).toBe('abc');
  });

  it('must fail where it says less than it is read for, and be let go of where it says more', async () => {
    const { programs, shell } = aContainer();
    const run = await begun(programs, shell);
    let told = 0;
    const whole = run.bytes(5, (bytes) => (told += bytes)).toArray();
    shell.write({ stream: 'stdout', data: Buffer.from('123') });
    shell.write({ stream: 'stdout', data: Buffer.from('4567') });
    expect(Buffer.concat(await whole).toString()).toBe('12345');
    expect(told).toBe(5);
    const another = aContainer();
    const short = (await begun(another.programs, another.shell)).bytes(5, () => undefined).toArray();
    another.shell.end({ stream: 'stdout', data: Buffer.from('123') });
    await expect(short).rejects.toMatchObject({ code: 'tools_failed' });
  });

  it('may work for minutes once it has begun', async () => {
    const { programs, shell } = aContainer();
    const outcome = ScriptRun.words(programs, CALL, REQUEST);
    shell.write({ stream: 'stdout', data: Buffer.from('begun\n') });
    await new Promise(setImmediate);
    await jest.advanceTimersByTimeAsync(10 * 60_000);
    shell.end({ stream: 'stdout', data: Buffer.from('done') });
    expect(await outcome).toBe('done');
  });
});

async function begun(programs: EnginePrograms, shell: PassThrough): Promise<ScriptRun> {
  const starting = ScriptRun.start(programs, CALL, { ...REQUEST, stdin: true, most: Infinity });
  shell.write({ stream: 'stdout', data: Buffer.from('begun\n') });
  return starting;
}

/** Content without an end. */
function endless(): Readable {
  return new Readable({
    read() {
      this.push(Buffer.alloc(64 * 1024));
    },
  });
}

/** One whose shell writes what a test writes; what is to end it never does. */
function aContainer({ isInputCopied = false } = {}): {
  programs: EnginePrograms;
  shell: PassThrough;
  stdin: PassThrough;
  ended: string[];
} {
  const stdin = new PassThrough();
  const shell = new PassThrough({ objectMode: true });
  const program: ContainerProcess = {
    output: shell,
    stdin,
    id: 'a-program',
    pid: 2,
    startedAt: 0,
    from: 0,
    to: 0,
    resize: () => Promise.resolve(),
    exit: () => Promise.resolve({ exitCode: 0 }),
    close: () => void shell.destroy(),
    ...(isInputCopied && { isInputCopied }),
  };
  const ended: string[] = [];
  const programs: Pick<EnginePrograms, 'start' | 'end'> = {
    start: () => Promise.resolve(program),
    end: (_dockerId, { signal }) => {
      ended.push(signal);
      return new Promise(() => undefined);
    },
  };
  return { programs: programs as EnginePrograms, shell, stdin, ended };
}
