import type { Command, Option } from 'commander';
import { readConfig } from './config.ts';
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

/** `bash, zsh or fish` */
const SHELLS = new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(Object.keys(SCRIPTS));

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('Print the completion script for a shell')
    .argument('<shell>', `Shell: ${SHELLS}`)
    .action((shell: string, _: unknown, command: Command) => {
      const script = SCRIPTS[shell];
      if (script === undefined) command.error(`error: unknown shell '${shell}'. Use ${SHELLS}`, { exitCode: 2 });
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
  const before = words.at(-2) ?? '';
  let at = program;
  for (const word of words.slice(0, -1)) {
    at = at.commands.find((each) => each.name() === word || each.aliases().includes(word)) ?? at;
  }
  const known = [...program.options, ...at.options];
  const option = known.find(({ short, long }) => before === short || before === long);
  if (option && !option.isBoolean() && !typed.startsWith('-')) {
    const values = await valuesOf(option, { at, words, self });
    if (values) return plainWords(values, typed);
    if (option.required) return [];
  }
  const options = known.flatMap(({ long, hidden }) => (long === undefined || hidden ? [] : [long]));
  if (typed.startsWith('-')) return [...new Set(options)].filter((word) => word.startsWith(typed));
  const commands = at.commands.map((each) => each.name()).filter((name) => !name.startsWith('_'));
  return [...commands.filter((word) => word.startsWith(typed)), ...plainWords(await names(at, self), typed)];
}

function plainWords(words: readonly string[], typed: string): string[] {
  return words.filter((word) => PLAIN_WORD.test(word) && word.startsWith(typed));
}

interface Place {
  readonly at: Command;
  readonly words: readonly string[];
  readonly self: Command;
}

/** @returns the values that an option may have; null if they are unknown */
async function valuesOf(option: Option, { at, words, self }: Place): Promise<readonly string[] | null> {
  if (option.argChoices) return option.argChoices;
  switch (option.long) {
    case '--attach':
      return terminals(self, words);
    case '--context':
      return Object.keys((await readConfig()).contexts);
    case '--container':
      return containers(self);
    case '--snapshot':
      return snapshots(self);
    case '--image':
      return images(self);
    case '--network':
      return at.name() === 'ls' ? ['internet', 'none', 'allow'] : ['internet', 'none'];
    case '--role':
      return (await (await openSession(self)).berth.account.roles()).map(({ name }) => name);
    default:
      return null;
  }
}

/** Names from the server or the configuration, if the command takes one. */
async function names(at: Command, self: Command): Promise<readonly string[]> {
  const taken = new Set(at.registeredArguments.map((each) => each.name()));
  if (taken.has('node')) return (await (await openSession(self)).berth.admin.nodes()).map(({ name }) => name);
  if (taken.has('context')) return Object.keys((await readConfig()).contexts);
  if (taken.has('shell')) return Object.keys(SCRIPTS);
  const found: string[] = [];
  if (['container', 'containers', 'from', 'to'].some((name) => taken.has(name))) {
    found.push(...(await containers(self, at.name() === 'restore' && !taken.has('snapshot'))));
  }
  if (taken.has('snapshot')) found.push(...(await snapshots(self)));
  if (taken.has('image')) found.push(...(await images(self)));
  return found;
}

async function containers(self: Command, areDeleted = false): Promise<string[]> {
  const { berth } = await openSession(self);
  const found = await berth.containers.list(areDeleted ? { status: 'deleted' } : {}).page();
  return found.items.map(({ name }) => name);
}

async function snapshots(self: Command): Promise<string[]> {
  const { berth } = await openSession(self);
  return (await berth.snapshots.list().page()).items.map(({ name }) => name);
}

async function images(self: Command): Promise<string[]> {
  const { berth } = await openSession(self);
  return (await berth.account.images()).map(({ name }) => name);
}

/** The open terminals of the given container: `berth sh dev --attach`. */
async function terminals(self: Command, words: readonly string[]): Promise<string[]> {
  const container = words.slice(1, -1).find((word) => !word.startsWith('-'));
  if (container === undefined) return [];
  const session = await openSession(self);
  return (await session.berth.terminals.list(await findId(session, container))).map(({ id }) => id);
}
