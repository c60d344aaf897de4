import type { Command } from 'commander';
import { findId, openSession } from './session.ts';

/**
 * Completion scripts, which ask `berth __complete` for candidates. Candidates are data, some of them the server's:
 * none of these scripts lets the shell expand them, as bash's `compgen -W` would.
 */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_berth() {
  local word
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("$word")
  done < <(berth __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _berth berth
`,
  zsh: `#compdef berth
_berth() {
  local word
  local -a found
  while IFS= read -r word; do
    found+=("$word")
  done < <(berth __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)
  compadd -a found
}
compdef _berth berth
`,
  fish: `complete -c berth -f -a '(berth __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
};

/**
 * A shell may put a candidate on the command line unquoted, and run it with the line. So only words are offered that
 * need no quoting in any shell. Container names never need any; other words have to be typed.
 */
const PLAIN_WORD = /^[A-Za-z0-9_][A-Za-z0-9_.:@/+-]*$/;

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

/** @returns the candidates for the last word */
async function candidates(program: Command, words: readonly string[], self: Command): Promise<string[]> {
  const typed = words.at(-1) ?? '';
  let at = program;
  for (const word of words.slice(0, -1)) at = at.commands.find((each) => each.name() === word) ?? at;
  const options = [...program.options, ...at.options].flatMap(({ long }) => (long === undefined ? [] : [long]));
  const commands = at.commands.map((each) => each.name()).filter((name) => !name.startsWith('_'));
  const all = typed.startsWith('-')
    ? options
    : [...commands, ...(await names(at, words, self)).filter((name) => PLAIN_WORD.test(name))];
  return all.filter((word) => word.startsWith(typed));
}

/** Names from the server, if the command takes one. */
async function names(at: Command, words: readonly string[], self: Command): Promise<string[]> {
  const taken = new Set(at.registeredArguments.map((each) => each.name()));
  if (at.name() === 'sh' && ['-a', '--attach'].includes(words.at(-2) ?? '')) return terminals(self, words);
  if (taken.has('node')) {
    const { berth } = await openSession(self);
    return (await berth.admin.nodes()).map(({ name }) => name);
  }
  if (!['container', 'from', 'to'].some((name) => taken.has(name))) return [];
  const { berth } = await openSession(self);
  const found = await berth.containers.list(at.name() === 'restore' ? { status: 'deleted' } : {}).page();
  return found.items.map(({ name }) => name);
}

/** The open terminals of the given container: `berth sh dev --attach`. */
async function terminals(self: Command, words: readonly string[]): Promise<string[]> {
  const container = words.slice(1, -1).find((word) => !word.startsWith('-'));
  if (container === undefined) return [];
  const session = await openSession(self);
  return (await session.berth.terminals.list(await findId(session, container))).map(({ id }) => id);
}
