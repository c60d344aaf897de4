import { Command, Help, Option } from 'commander';
import { addAccountCommands } from './account.ts';
import { addAdminCommands } from './admin.ts';
import { doing } from './advice.ts';
import { addCompletion } from './completion.ts';
import { addContainerCommands } from './containers.ts';
import { addWatchCommand } from './follow.ts';
import { addHelp, meantBy, pathOf } from './help.ts';
import { addInsideCommands } from './inside.ts';
import { addMcpCommand } from './mcp.ts';
import { addOpenCommand } from './open.ts';
import { printable } from './output.ts';
import { addPortCommands } from './ports.ts';
import { addRunCodeCommand } from './run-code.ts';
import { addSnapshotCommands } from './snapshots.ts';
import { addSshCommands } from './ssh.ts';
import { addStatsCommand } from './stats.ts';
import { addVariableCommands } from './variables.ts';
import { addWebhookCommands } from './webhooks.ts';

/** The whole command line. Usage errors are thrown as a CommanderError, after a line on stderr. */
export function createProgram(version: string): Command {
  const program = new Command('berth')
    .description('Sandboxed containers with persistent data')
    .version(version, '-V, --version', 'Show the version')
    .helpOption('-h, --help', 'Show help')
    .addHelpCommand(new Command('help').argument('[command]').description('Show help for a command').helpGroup('More:'))
    .option('--json', 'Write JSON, for scripts')
    .option('--context <name>', 'Use this context; takes precedence over BERTH_URL')
    .enablePositionalOptions()
    .configureHelp({
      showGlobalOptions: true,
      visibleGlobalOptions: globalOptionsOf,
      subcommandTerm: termOf,
      // Commander has `Global Options:`.
      styleTitle: (title) => title.replace('Global O', 'Global o'),
    })
    .configureOutput({ outputError: (text, write) => write(usageError(text)) })
    // Usage errors have an exit code of their own.
    .exitOverride((error) => {
      throw error;
    })
    .hook('preAction', (_, command) => {
      doing.command = pathOf(command);
    });
  addContainerCommands(program);
  addVariableCommands(program);
  addInsideCommands(program);
  addRunCodeCommand(program);
  addStatsCommand(program);
  addOpenCommand(program);
  addPortCommands(program);
  addSnapshotCommands(program);
  addSshCommands(program);
  addAccountCommands(program);
  addWatchCommand(program);
  addMcpCommand(program);
  addWebhookCommands(program);
  addAdminCommands(program);
  addCompletion(program);
  addHelp(program);
  // Global options are also accepted after the command, where people write them: `berth ls --json`.
  for (const command of allCommands(program)) {
    command.addOption(new Option('--json').hideHelp()).addOption(new Option('--context <name>').hideHelp());
  }
  return program;
}

/** All commands below another, at any depth. */
export function allCommands(program: Command): Command[] {
  return program.commands.flatMap((command) => [command, ...allCommands(command)]);
}

/** The options of every command; the version is the program's alone. */
function globalOptionsOf(command: Command): Option[] {
  return new Help().visibleGlobalOptions
    .call({ showGlobalOptions: true } as Help, command)
    .filter(({ long }) => long !== '--version');
}

/** Such as `ls, ps` in the program's help, and `link <container> <port>` in that of a command. */
function termOf(command: Command): string {
  const names = [command.name(), ...command.aliases()].join(', ');
  if (!command.parent?.parent) return names;
  const placeholders = command.registeredArguments.map((each) => {
    const name = `${each.name()}${each.variadic ? '...' : ''}`;
    return each.required ? `<${name}>` : `[${name}]`;
  });
  return [names, ...placeholders].join(' ');
}

/** Commander's message on one line, in this program's form, with commands of other tools translated. */
function usageError(text: string): string {
  const message = text.replace(/^error: /, '').trimEnd();
  const [sentence = '', suggestion] = message.split('\n');
  const word = /^unknown command '(.+)'$/.exec(sentence)?.[1];
  const meant = word === undefined ? undefined : meantBy(word);
  const end = meant === undefined ? suggestion?.replace(/^\((.*)\)$/, '$1') : `Did you mean ${meant}?`;
  return `${printable(`berth: ${sentence}${end === undefined ? '' : `. ${end}`}`)}\n`;
}
