import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { examplesOf, pathOf } from '../src/help.ts';
import { allCommands, createProgram } from '../src/program.ts';

/** The words of a line as a shell has them: it knows double quotes, and ends at a pipe or a redirection. */
function wordsOf(line: string): string[] {
  const inner = /^eval "\$\((.*)\)"$/.exec(line)?.[1];
  const words = (inner ?? line).match(/"[^"]*"|[^\s"]+/g) ?? [];
  const end = words.findIndex((word) => ['|', '<', '>', '>>'].includes(word));
  return (end < 0 ? words : words.slice(0, end)).map((word) => word.replaceAll('"', ''));
}

/** Parses a line without running it. @returns the path of its command */
async function commandOf(line: string): Promise<string | undefined> {
  const program = createProgram('0.0.0');
  let ran: string | undefined;
  for (const command of [program, ...allCommands(program)]) {
    command.configureOutput({ writeErr: () => undefined });
    if (command.commands.length === 0) command.action(() => void (ran = pathOf(command)));
  }
  const [name, ...words] = wordsOf(line);
  expect(name).toBe('berth');
  await program.parseAsync(words, { from: 'user' }).catch((error: unknown) => {
    throw new Error(`${line}: ${String(error)}`);
  });
  return ran;
}

/** Commands that do something themselves. */
const runnable = (program: Command): Command[] =>
  allCommands(program).filter((command) => command.commands.length === 0 && !command.name().startsWith('_'));

describe('the help of berth', () => {
  it('must have an example for each command, which the program understands', async () => {
    const program = createProgram('0.0.0');
    const paths = runnable(program).map(pathOf);
    for (const path of paths) {
      const examples = examplesOf(path);
      expect({ path, count: [1, 2, 3].includes(examples.length) }).toEqual({ path, count: true });
      for (const [line] of examples) {
        expect({ line, ran: await commandOf(line) }).toEqual({ line, ran: expectedOf(path, line) });
      }
    }
  });

  /** An example may show another command that belongs to it. */
  const expectedOf = (path: string, line: string): string => (line === 'berth ls -s deleted' ? 'ls' : path);

  it('must have examples also in the help of commands that only have others below them', () => {
    const program = createProgram('0.0.0');
    for (const command of allCommands(program).filter(({ commands }) => commands.length > 0)) {
      let shown = '';
      command.configureOutput({ writeOut: (text) => (shown += text) }).outputHelp();
      expect(shown).toMatch(new RegExp(`\nExamples?:\n(?:.*\n)*.*berth ${pathOf(command)}`));
    }
  });

  it('must describe each command and each option, and have each command in a group', () => {
    const program = createProgram('0.0.0');
    for (const command of allCommands(program).filter((each) => !each.name().startsWith('_'))) {
      const shown = command.options.filter(({ hidden }) => !hidden).map(({ description }) => description);
      const placeholders = command.registeredArguments.map(({ description }) => description).filter(Boolean);
      for (const text of [command.description(), ...shown, ...placeholders]) expect(text).toMatch(/^[A-Z].*[^.]$/);
      // Headings are in sentence case too.
      expect(command.helpInformation()).not.toMatch(/^\w+ [A-Z]\w*:$/m);
    }
    expect(program.helpInformation()).not.toMatch(/^Commands:/m);
  });

  it('must understand what docs/cli.md has in place of commands of docker', async () => {
    const document = readFileSync('docs/cli.md', 'utf8');
    const rows = document.split('\n').filter((row) => row.startsWith('| `docker '));
    expect(rows.length).toBeGreaterThan(20);
    for (const row of rows) {
      const lines = [...(row.split('|')[2] ?? '').matchAll(/`([^`]+)`/g)].map(([, line]) => line ?? '');
      expect({ row, count: lines.length > 0 }).toEqual({ row, count: true });
      for (const line of lines) expect(await commandOf(line)).toBeDefined();
    }
  });
});
