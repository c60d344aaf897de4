import { PassThrough } from 'node:stream';
import type { ContainerEngine, ContainerProcess } from '../../docker';
import { type ScriptHost, ScriptRun } from './script-run';
import { REMOVE } from './scripts';

const REQUEST = { script: REMOVE, args: ['/tmp/x', '', '/home/user'] };

describe('a script in a container', () => {
  // Streams go by ticks.
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] }));
  afterEach(() => jest.useRealTimers());

  it('must be given up soon if the shell does not begin with it, though that cannot be ended either', async () => {
    const { host, shell, ended } = aContainer();
    const outcome = ScriptRun.words(host, 'id', REQUEST).catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(10_000);
    expect(await outcome).toMatchObject({ code: 'tools_failed' });
    expect([shell.destroyed, ended]).toEqual([true, ['TERM']]);
  });

  it('must be given up at once if the shell says anything else first, without an end', async () => {
    const { host, shell } = aContainer();
    const outcome = ScriptRun.words(host, 'id', REQUEST).catch((error: unknown) => error);
    shell.write({ stream: 'stdout', data: Buffer.from('y\ny\n') });
    expect(await outcome).toMatchObject({ code: 'tools_failed' });
    expect(shell.destroyed).toBe(true);
  });

  it('must be given up where it complains without end, and says nothing else', async () => {
    const { host, shell, ended } = aContainer();
    const outcome = ScriptRun.start(host, 'id', { ...REQUEST, stdin: true }).then((run) => run.line());
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

  it('may work for minutes once it has begun', async () => {
    const { host, shell } = aContainer();
    const outcome = ScriptRun.words(host, 'id', REQUEST);
    shell.write({ stream: 'stdout', data: Buffer.from('begun\n') });
    await new Promise(setImmediate);
    await jest.advanceTimersByTimeAsync(10 * 60_000);
    shell.end({ stream: 'stdout', data: Buffer.from('done') });
    expect(await outcome).toBe('done');
  });
});

/** One whose shell writes what a test writes; what is to end it never does. */
function aContainer(): { host: ScriptHost; shell: PassThrough; ended: string[] } {
  const shell = new PassThrough({ objectMode: true });
  const program: ContainerProcess = {
    output: shell,
    stdin: null,
    hasStarted: () => Promise.resolve(true),
    resize: () => Promise.resolve(),
    exit: () => Promise.resolve({ exitCode: 0 }),
    close: () => void shell.destroy(),
  };
  const ended: string[] = [];
  const engine: Pick<ContainerEngine, 'startProcess' | 'endProcesses'> = {
    startProcess: () => Promise.resolve(program),
    endProcesses: (_dockerId, { signal }) => {
      ended.push(signal);
      return new Promise(() => undefined);
    },
  };
  return { host: { engine: engine as ContainerEngine, endLater: () => undefined }, shell, ended };
}
