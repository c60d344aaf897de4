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

describe('a command that takes too long', () => {
  it('must be ended', async () => {
    const { end, run } = setUp();
    await expect(run(10)).resolves.toMatchObject({ timedOut: true, exitCode: 143 });
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
