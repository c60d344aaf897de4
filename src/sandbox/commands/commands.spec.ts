import type { ContainersService } from '../../containers';
import type { ContainerEngine, ContainerProcess, ExecOutput } from '../../engine';
import { type CommandEnd, Commands } from './commands';

const CALLER = { userId: 'user', tier: 'free', sessionExpiresAt: null, boundTo: null };

/** A promise that is settled from outside. */
class Later<T> {
  resolve: (value: T) => void = () => undefined;
  readonly promise = new Promise<T>((resolve) => (this.resolve = resolve));
}

/** A command that ends when it is ended or `end` says so. */
class Program implements ContainerProcess {
  readonly id = 'entry';
  readonly pid = 2;
  readonly startedAt = 0;
  readonly from = 0;
  readonly to = 0;
  readonly end = new Later<void>();
  readonly output = this.read();
  readonly stdin = null;
  resize = (): Promise<void> => Promise.resolve();
  exit = (): Promise<{ exitCode: number }> => Promise.resolve({ exitCode: 143 });
  close = (): void => this.end.resolve();

  private async *read(): AsyncGenerator<ExecOutput> {
    await this.end.promise;
    yield { stream: 'stdout', data: Buffer.from('over') };
  }
}

function setUp(): {
  program: Program;
  end: jest.Mock;
  start: jest.Mock;
  run: (timeoutMs?: number) => Promise<CommandEnd>;
} {
  const program = new Program();
  const end = jest.fn(() => {
    program.end.resolve();
    return Promise.resolve('ended' as const);
  });
  const start = jest.fn(() => Promise.resolve(program));
  const containers = {
    enter: (_caller: unknown, id: string) => {
      const container = { id, userId: 'user', engineId: 'docker', environment: () => ({}) };
      const run = (work: (inside: object) => unknown) => work(container);
      return Promise.resolve({ container, run, leave: () => Promise.resolve() });
    },
  } as unknown as ContainersService;
  const engine = {
    programs: { start, end },
    containers: { inspect: () => Promise.resolve({ state: 'exited' }) },
  } as unknown as ContainerEngine;
  const commands = new Commands(containers, engine, {} as never);
  const run = (timeoutMs = 60_000): Promise<CommandEnd> =>
    commands.run(
      CALLER,
      'container',
      { command: ['true'], timeoutMs, maxOutputBytes: 1 },
      { signal: new AbortController().signal, onOutput: () => undefined },
    );
  return { program, end, start, run };
}

describe('a command that takes too long', () => {
  it('must be ended', async () => {
    const { end, run } = setUp();
    await expect(run(10)).resolves.toMatchObject({ timedOut: true, exitCode: 143 });
    expect(end).toHaveBeenCalledTimes(1);
  });
});

describe('the commands of a container', () => {
  it('must be sixteen at once, and others once these have ended', async () => {
    const { program, run } = setUp();
    const running = Array.from({ length: 16 }, () => run());
    await expect(run()).rejects.toMatchObject({ kind: 'too_many_commands' });
    program.exit = () => Promise.resolve({ exitCode: 0 });
    program.end.resolve();
    await Promise.all(running);
    await expect(run()).resolves.toMatchObject({ exitCode: 0 });
  });
});
