import type { Command } from 'commander';
import { openSession } from './session.ts';

/** Of a shell, what asks `berth __complete` for the words that may come. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_berth() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(berth __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _berth berth
`,
  zsh: `#compdef berth
_berth() {
  local -a found
  found=("\${(@f)$(berth __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a found
}
compdef _berth berth
`,
  fish: `complete -c berth -f -a '(berth __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
};

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('prints the script for a shell: eval "$(berth completion bash)"')
    .argument('<shell>', Object.keys(SCRIPTS).join(', '))
    .action((shell: string, _: unknown, command: Command) => {
      const script = SCRIPTS[shell];
      if (script === undefined) command.error(`no such shell: ${shell}`, { exitCode: 2 });
      else process.stdout.write(script);
    });
  program
    .command('__complete [words...]', { hidden: true })
    .passThroughOptions()
    .allowUnknownOption()
    .action(async (words: readonly string[], _: unknown, command: Command) => {
      const found = await candidates(program, words, command);
      process.stdout.write(found.map((word) => `${word}\n`).join(''));
    });
}

/** @returns the words that may come in the place of the last one */
async function candidates(program: Command, words: readonly string[], self: Command): Promise<string[]> {
  const typed = words.at(-1) ?? '';
  let at = program;
  for (const word of words.slice(0, -1)) at = at.commands.find((each) => each.name() === word) ?? at;
  const options = [...program.options, ...at.options].flatMap(({ long }) => (long === undefined ? [] : [long]));
  const names = at.commands.map((each) => each.name()).filter((name) => !name.startsWith('_'));
  const takesContainer = at.registeredArguments.some((each) => ['container', 'from', 'to'].includes(each.name()));
  const containers =
    takesContainer && !typed.startsWith('-') ? await containerNames(self, at.name() === 'restore') : [];
  const all = typed.startsWith('-') ? options : [...names, ...containers];
  return all.filter((word) => word.startsWith(typed));
}

async function containerNames(self: Command, isDeleted: boolean): Promise<string[]> {
  const { berth } = await openSession(self);
  const found = await berth.containers.list(isDeleted ? { status: 'deleted' } : {}).page();
  return found.items.map(({ name }) => name);
}
