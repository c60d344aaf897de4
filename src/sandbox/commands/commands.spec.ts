import type { ContainersService } from '../../containers';
import type { ContainerEngine, ContainerProcess, ExecOutput } from '../../docker';
import { DomainError } from '../../errors';
import type { ProgramRegistry } from '../program-registry';
import { type CommandEnd, Commands } from './commands';

const CALLER = { userId: 'user', tier: 'free', sessionExpiresAt: null };

/** A promise that is settled from outside. */
class Later<T> {
  resolve: (value: T) => void = () => undefined;
  readonly promise = new Promise<T>((resolve) => (this.resolve = resolve));
}

/** A command that has started when `started` says so, and ends when it is ended or `end` says so. */
class Program implements ContainerProcess {
  readonly started = new Later<boolean>();
  readonly end = new Later<void>();
  readonly output = this.read();
  readonly stdin = null;
  looks = 0;
  resize = (): Promise<void> => Promise.resolve();
  exit = (): Promise<{ exitCode: number }> => Promise.resolve({ exitCode: 143 });
  isGone = (): Promise<boolean> => Promise.resolve(true);
  close = (): void => this.end.resolve();

  hasStarted(): Promise<boolean> {
    this.looks += 1;
    return this.started.promise;
  }

  private async *read(): AsyncGenerator<ExecOutput> {
    await this.end.promise;
    yield { stream: 'stdout', data: Buffer.from('over') };
  }
}

function setUp(): {
  program: Program;
  end: jest.Mock;
  start: jest.Mock;
  release: jest.Mock;
  run: (timeoutMs?: number) => Promise<CommandEnd>;
} {
  const program = new Program();
  const end = jest.fn(() => {
    program.end.resolve();
    return Promise.resolve('ended' as const);
  });
  const start = jest.fn(() => Promise.resolve({ entry: { id: 'entry', runAs: null, dockerId: 'docker' }, program }));
  const release = jest.fn();
  const containers = {
    inside: (_caller: unknown, id: string, work: (container: object) => unknown) =>
      work({ id, userId: 'user', dockerId: 'docker' }),
  } as unknown as ContainersService;
  const engine = {
    programs: { end },
    containers: { inspect: () => Promise.resolve({ state: 'exited' }) },
  } as unknown as ContainerEngine;
  const commands = new Commands(containers, engine, { start, release } as unknown as ProgramRegistry, {} as never);
  const run = (timeoutMs = 60_000): Promise<CommandEnd> =>
    commands.run(
      CALLER,
      'container',
      { command: ['true'], timeoutMs, maxOutputBytes: 1 },
      { signal: new AbortController().signal, onOutput: () => undefined },
    );
  return { program, end, start, release, run };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a command whose start is not waited for', () => {
  it('must be looked at no more than its end takes, if it ends soon', async () => {
    const { program, run } = setUp();
    const running = run();
    program.exit = () => Promise.resolve({ exitCode: 0 });
    program.end.resolve();
    await expect(running).resolves.toMatchObject({ exitCode: 0, timedOut: false });
    expect(program.looks).toBe(0);
  });

  it('must have its time from its start, and be ended only then', async () => {
    const { program, end, run } = setUp();
    const running = run(10);
    while (program.looks === 0) await turn();
    const since = performance.now();
    while (performance.now() - since < 50) await turn();
    expect(end).not.toHaveBeenCalled();
    program.started.resolve(true);
    await expect(running).resolves.toMatchObject({ timedOut: true });
    expect(end).toHaveBeenCalledTimes(1);
  });
});

describe('a command that has ended', () => {
  it('must be answered before the end of its entry is written, and take no place', async () => {
    const { program, start, release, run } = setUp();
    program.end.resolve();
    program.exit = () => Promise.resolve({ exitCode: 0 });
    await expect(run()).resolves.toMatchObject({ exitCode: 0 });
    expect(release).toHaveBeenCalledWith(expect.objectContaining({ id: 'entry' }));
    start.mockRejectedValueOnce(new DomainError('too_many_commands', { fields: { limit: 16 } }));
    await expect(run()).rejects.toMatchObject({ kind: 'too_many_commands' });
  });
});
