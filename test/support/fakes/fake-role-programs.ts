import type { FakeCommand, FakeDaemon } from './fake-daemon';

/** The behaviour of an installation; the default succeeds at once. @returns the exit code */
type FakeInstallation = (command: FakeCommand) => Promise<number> | number;

/**
 * The programs that install roles in a {@link FakeDaemon}'s containers. They remember installed roles, and a new
 * installation ends a running one.
 */
export class FakeRolePrograms {
  /** The Docker id of each begun installation's container, in order. */
  readonly begun: string[] = [];
  /** The Docker ids of containers that have the role. */
  readonly present = new Set<string>();
  installation: FakeInstallation = () => 0;
  private readonly running = new Map<string, Map<string, () => void>>();

  constructor(daemon: FakeDaemon) {
    daemon.onExec = (command) => this.run(command);
  }

  /** How many installations run in a container now. */
  runningIn(dockerId: string): number {
    return this.running.get(dockerId)?.size ?? 0;
  }

  private async run(command: FakeCommand): Promise<number> {
    const { dockerId } = command.container;
    const [, , , name, ...words] = command.command;
    switch (name) {
      case 'berth-role-probe':
        if (this.present.has(dockerId)) return 0;
        command.write('stdout', `${words.join('\n')}\n`);
        return 1;
      case 'berth-role-install':
        return this.install(command);
      case 'berth-role-end':
        this.endOthers(dockerId);
        return 0;
      default:
        command.write('stdout', `${command.command.join(' ')}\n`);
        return 0;
    }
  }

  private async install(command: FakeCommand): Promise<number> {
    const { dockerId } = command.container;
    this.endOthers(dockerId);
    this.begun.push(dockerId);
    const attempt = command.env['BERTH_ROLE_ATTEMPT'] ?? '';
    const here = this.running.get(dockerId) ?? new Map<string, () => void>();
    this.running.set(dockerId, here);
    const ended = new Promise<number>((resolve) => here.set(attempt, () => resolve(143)));
    command.killed.addEventListener('abort', () => here.delete(attempt));
    command.write('stdout', 'berth:family:apt\nberth:step:update\n');
    const exitCode = await Promise.race([ended, this.installation(command)]);
    here.delete(attempt);
    if (exitCode === 0 && !command.killed.aborted) this.present.add(dockerId);
    return exitCode;
  }

  private endOthers(dockerId: string): void {
    const here = this.running.get(dockerId);
    for (const end of here?.values() ?? []) end();
    here?.clear();
  }
}
