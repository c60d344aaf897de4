import type { FakeCommand, FakeDaemon } from './fake-daemon';

/** What an installation does once it runs; the default succeeds at once. @returns the exit code */
type FakeInstallation = (command: FakeCommand) => Promise<number> | number;

/**
 * The programs that install roles, as a {@link FakeDaemon}'s containers have them: they remember, and end each other.
 */
export class FakeRolePrograms {
  /** Every installation that began, by the Docker id of its container. */
  readonly begun: string[] = [];
  /** The Docker ids of containers in which the role is. */
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
