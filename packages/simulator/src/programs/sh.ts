import { Errno } from '../errno';
import { Killed, type Process } from '../process';
import { BUILTINS } from '../shell/builtins';
import { parseScript, SyntaxFault } from '../shell/parser';
import { Leave } from '../shell/builtins';
import { Shell } from '../shell/shell';
import type { Program } from './program';

/** How much of a script is read. */
const MOST_SCRIPT = 4 * 1024 * 1024;

async function textFrom(process: Process, descriptor: number): Promise<string> {
  let text = '';
  for (let data = await process.read(descriptor); data; data = await process.read(descriptor)) {
    text += data.toString('latin1');
    if (text.length > MOST_SCRIPT) throw new Errno('EINVAL');
  }
  return text;
}

/** The shell: `-c`, a script's path, or its input; with a prompt where that is a terminal. */
export const sh: Program = async (process, args) => {
  const shell = new Shell(process);
  const words = [...args];
  let isCommand = false;
  let isInteractive = false;
  while (/^[-+][a-zA-Z]/.test(words[0] ?? '') || /^--[a-z]/.test(words[0] ?? '')) {
    const word = words.shift() ?? '';
    if (word.startsWith('--')) continue;
    for (const letter of word.slice(1)) {
      if (letter === 'c') isCommand = true;
      else if (letter === 'i') isInteractive = true;
      else if (letter === 'o') words.shift();
      else if (letter !== 'l' && letter !== 's') shell.options.add(letter);
    }
  }
  if (isCommand) {
    const [script = '', name = 'sh', ...positional] = words;
    shell.name = name;
    shell.positional = positional;
    return shell.main(script);
  }
  const [path, ...positional] = words;
  shell.positional = positional;
  if (path !== undefined) {
    shell.name = path;
    try {
      process.setFile(59, process.open(path, { read: true }));
      return await shell.main(await textFrom(process, 59));
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      await process.write(2, `sh: 0: cannot open ${path}: ${error.message}\n`);
      return 127;
    }
  }
  if (process.files.get(0)?.terminal || isInteractive) return shell.untilExit(() => interactive(shell));
  return shell.main(await textFrom(process, 0));
};

function promptOf(shell: Shell): string {
  const given = shell.variable('PS1');
  if (given !== undefined) return given;
  const { process } = shell;
  const home = shell.variable('HOME') ?? '';
  const shown =
    home !== '' && (process.cwd === home || process.cwd.startsWith(`${home}/`))
      ? `~${process.cwd.slice(home.length)}`
      : process.cwd;
  return `${process.uid === 0 ? 'root' : 'user'}@${process.table.hostname.slice(0, 12)}:${shown}${process.uid === 0 ? '#' : '$'} `;
}

/** Reads and runs what is typed. */
async function interactive(shell: Shell): Promise<number> {
  const { process } = shell;
  const { terminal } = process;
  shell.isInteractive = true;
  if (terminal) terminal.foreground = process.group;
  process.handlers.set('TERM', 'ignore');
  let typed = '';
  process.handlers.set('INT', () => {
    typed = '';
    shell.pending.length = 0;
    void process
      .file(2)
      .write(process, Buffer.from(`\n${promptOf(shell)}`, 'latin1'))
      .catch(() => undefined);
  });
  await process.write(2, promptOf(shell));
  for (;;) {
    const data = await process.read(0);
    if (!data) {
      await process.write(2, 'exit\n');
      return shell.status;
    }
    typed += data.toString('latin1');
    if (!typed.endsWith('\n')) continue;
    if (!isWhole(typed)) {
      await process.write(2, '> ');
      continue;
    }
    const script = typed;
    typed = '';
    await runTyped(shell, script);
    await process.write(2, promptOf(shell));
  }
}

function isWhole(script: string): boolean {
  try {
    parseScript(script);
    return true;
  } catch (error) {
    return !(error instanceof SyntaxFault && error.isIncomplete);
  }
}

async function runTyped(shell: Shell, script: string): Promise<void> {
  try {
    await shell.evaluate(script);
  } catch (error) {
    if (error instanceof Leave && error.what === 'exit') throw error;
    if (error instanceof Killed) throw error;
    shell.status = await shell.statusOf(error);
  }
}

/** What the shell does itself and is a program as well. */
export const SHELL_PROGRAMS: Readonly<Record<string, Program>> = {
  bash: sh,
  dash: sh,
  sh,
  ...Object.fromEntries(
    ['[', 'echo', 'kill', 'printf', 'pwd', 'test'].map((name): [string, Program] => [
      name,
      async (process, args) => {
        const shell = new Shell(process);
        return shell.untilExit(async () => (await BUILTINS.get(name)?.run(shell, args)) ?? 0);
      },
    ]),
  ),
};
