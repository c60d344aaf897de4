import { Command, CommanderError, Option } from 'commander';
import { addAccountCommands } from './account.ts';
import { addAdminCommands } from './admin.ts';
import { addCompletion } from './completion.ts';
import { addContainerCommands } from './containers.ts';
import { exitCodeOf, linesOf, USAGE } from './exit.ts';
import { addWatchCommand } from './follow.ts';
import { addInsideCommands } from './inside.ts';
import { note } from './output.ts';
import { addPortCommands } from './ports.ts';
import { Interrupted, listenForInterrupts } from './session.ts';
import { addSnapshotCommands } from './snapshots.ts';
import { addWebhookCommands } from './webhooks.ts';
import { addSshCommands } from './ssh.ts';

/** The version of packages/cli/package.json, set by the build. */
declare const VERSION: string;

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not allowed, 4 not found, 5 in conflict, 6 server not reached,
130 interrupted; of exec and sh the program's own, and 125 where it was not run.`;

function createProgram(): Command {
  const program = new Command('berth')
    .description('Sandboxed containers with data that stays')
    .version(VERSION, '-V, --version', 'shows its version')
    .option('--json', 'writes JSON, for scripts')
    .option('--context <name>', 'another context than the current one; takes precedence over BERTH_URL')
    .addHelpText('after', EXIT_CODES)
    .enablePositionalOptions()
    .showHelpAfterError('(--help says more)')
    // Usage errors have an exit code of their own.
    .exitOverride((error) => {
      throw error;
    });
  addContainerCommands(program);
  addSnapshotCommands(program);
  addInsideCommands(program);
  addSshCommands(program);
  addPortCommands(program);
  addWatchCommand(program);
  addAccountCommands(program);
  addWebhookCommands(program);
  addAdminCommands(program);
  addCompletion(program);
  // Global options are also accepted after the command, where people write them: `berth ls --json`.
  for (const command of allCommands(program)) {
    command.addOption(new Option('--json').hideHelp()).addOption(new Option('--context <name>').hideHelp());
  }
  return program;
}

function allCommands(program: Command): Command[] {
  return program.commands.flatMap((command) => [command, ...allCommands(command)]);
}

async function main(): Promise<void> {
  listenForInterrupts();
  // `berth ls | head` ends silently.
  process.stdout.on('error', () => process.exit(0));
  try {
    await createProgram().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : USAGE;
    } else if (error instanceof Interrupted) {
      process.exitCode = 130;
    } else {
      const [sentence, ...more] = linesOf(error);
      note(`berth: ${sentence}`, ...more);
      process.exitCode ??= exitCodeOf(error);
    }
  }
}

void main();
