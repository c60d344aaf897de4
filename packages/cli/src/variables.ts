import type { Command } from 'commander';
import { CliError } from './exit.ts';
import { note, say, sayJson, sayTable } from './output.ts';
import { findId, openSession, type Session } from './session.ts';
import { pair } from './values.ts';

/** Stands for a value that was not asked for; its length says nothing. */
const MASK = '********';

type Pairs = Readonly<Record<string, string>>;

/** The environment variables of a container. */
export function addVariableCommands(program: Command): void {
  const env = program.command('env').description('Environment variables of a container');
  env
    .command('ls <container>')
    .description('List variables, with masked values')
    .option('--reveal', 'Show the values')
    .action(async (name: string, { reveal }: { readonly reveal?: boolean }, command: Command) =>
      list(await openSession(command), name, { isRevealed: reveal === true }),
    );
  env
    .command('get <container> <variable>')
    .description('Print the value of a variable')
    .action(async (name: string, variable: string, _: unknown, command: Command) => {
      const session = await openSession(command);
      const { berth, isJson, signal } = session;
      const value = await berth.containers.variable(await findId(session, name), variable, { signal });
      if (isJson) sayJson({ name: variable, value });
      else say(value);
    });
  env
    .command('set <container>')
    .argument('<NAME=VALUE...>', 'Variables', (text: string, before: Pairs | undefined) => pair(text, before))
    .description('Set variables; others stay unchanged, and running programs keep theirs')
    .action(async (name: string, variables: Pairs, _: unknown, command: Command) =>
      change(await openSession(command), name, variables),
    );
  env
    .command('rm <container> <variable...>')
    .description('Remove variables')
    .action(async (name: string, variables: readonly string[], _: unknown, command: Command) => {
      const session = await openSession(command);
      const known = new Set(await session.berth.containers.variables(await findId(session, name), session));
      const unknown = variables.find((each) => !known.has(each));
      if (unknown !== undefined) throw new CliError(`no variable ${unknown}. \`berth env ls\` lists them`, 4);
      await change(session, name, Object.fromEntries(variables.map((each) => [each, null])));
    });
}

async function list(session: Session, name: string, { isRevealed }: { readonly isRevealed: boolean }): Promise<void> {
  const { berth, isJson, signal } = session;
  const id = await findId(session, name);
  const rows: { readonly name: string; readonly value?: string }[] = [];
  for (const each of await berth.containers.variables(id, { signal })) {
    rows.push({ name: each, ...(isRevealed && { value: await berth.containers.variable(id, each, { signal }) }) });
  }
  if (isJson) sayJson(rows);
  else
    sayTable(
      ['NAME', 'VALUE'],
      rows.map((each) => [each.name, each.value ?? MASK]),
      'No environment variables. Set one: berth env set NAME KEY=value',
    );
}

async function change(session: Session, name: string, env: Readonly<Record<string, string | null>>): Promise<void> {
  const { berth, isJson, signal } = session;
  const { container, ...updated } = await berth.containers.update(await findId(session, name), { env }, { signal });
  if (isJson) sayJson({ ...updated, container });
  else note(`${container.name}: ${updated.message}`);
}
