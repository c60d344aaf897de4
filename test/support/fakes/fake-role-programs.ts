import type { FakeCommand, FakeDaemon } from './fake-daemon';

/** The behaviour of an installation; the default succeeds at once. @returns the exit code */
type FakeInstallation = (command: FakeCommand) => Promise<number> | number;

/** The programs that install roles in a {@link FakeDaemon}'s containers. They remember installed roles. */
export class FakeRolePrograms {
  /** The Docker id of each begun installation's container, in order. */
  readonly begun: string[] = [];
  /** The Docker ids of containers that have the role. */
  readonly present = new Set<string>();
  installation: FakeInstallation = () => 0;

  constructor(private readonly daemon: FakeDaemon) {
    daemon.onExec = (command) => this.run(command);
  }

  /** How many installations run in a container now. */
  runningIn(engineId: string): number {
    return this.running(engineId).filter(({ request }) => request.command[3] === 'berth-role-install').length;
  }

  private running(engineId: string): { readonly request: { readonly command: readonly string[] } }[] {
    return [...(this.daemon.programs.get(engineId) ?? [])];
  }

  private async run(command: FakeCommand): Promise<number> {
    const { engineId } = command.container;
    const [, , , name, ...words] = command.command;
    switch (name) {
      case 'berth-role-probe':
        if (this.present.has(engineId)) return 0;
        command.write('stdout', `${words.join('\n')}\n`);
        return 1;
      case 'berth-role-install':
        return this.install(command);
      default:
        command.write('stdout', `${command.command.join(' ')}\n`);
        return 0;
    }
  }

  private async install(command: FakeCommand): Promise<number> {
    const { engineId } = command.container;
    this.begun.push(engineId);
    command.write('stdout', 'berth:family:apt\nberth:step:update\n');
    const exitCode = await this.installation(command);
    // One that was killed meanwhile has installed nothing.
    const isRunning =
      !command.killed.aborted && this.running(engineId).some((program) => program === (command as object));
    if (exitCode === 0 && isRunning) this.present.add(engineId);
    return exitCode;
  }
}
