import { posix } from 'node:path';
import { Errno } from '../errno';
import { findPath } from '../programs/registry';
import { Killed, type Process, type Signal, signalOf } from '../process';
import { holds } from './conditions';
import { formatted, unescaped } from './printf';
import { ExpansionFault } from './expansion';
import { calculate } from './arithmetic';
import type { Command } from './syntax';

/** Leaves what runs: a loop, a function, the shell. */
export class Leave extends Error {
  override readonly name = 'Leave';

  constructor(
    readonly what: 'break' | 'continue' | 'return' | 'exit',
    /** How many loops, or the exit code. */
    readonly value: number,
  ) {
    super(what);
  }
}

/** What builtins see of the shell that runs them, and change in it. */
export interface ShellState {
  readonly process: Process;
  readonly variables: Map<string, string>;
  readonly exported: Set<string>;
  readonly functions: Map<string, Command>;
  readonly options: Set<string>;
  readonly traps: Map<Signal | 'EXIT', string>;
  readonly jobs: Map<number, Process>;
  positional: readonly string[];
  /** The exit code of the last command. */
  readonly status: number;
  /** Signals whose traps are to be run. */
  readonly pending: Signal[];
  /** Ends a wait that a trap interrupts. */
  wakeWait: (() => void) | null;
  /** Names that a function has for itself, with what they were before. */
  readonly locals: Map<string, string | undefined> | null;
  variable(name: string): string | undefined;
  assign(name: string, value: string): void;
  /** Runs a text in it. */
  evaluate(script: string): Promise<number>;
  complain(words: string): Promise<void>;
}

/** What the shell does itself. */
interface Builtin {
  /** Assignments before it stay. */
  readonly isSpecial?: true;
  run(shell: ShellState, args: readonly string[]): Promise<number> | number;
}

type Run = Builtin['run'];

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

const out = async (shell: ShellState, text: string): Promise<number> => {
  await shell.process.write(1, text);
  return 0;
};

const leave =
  (what: Leave['what']): Run =>
  async (shell, [given]) => {
    const isLoop = what === 'break' || what === 'continue';
    if (given !== undefined && !/^\d+$/.test(given)) {
      await shell.complain(`${what}: Illegal number: ${given}`);
      throw new Leave('exit', 2);
    }
    throw new Leave(what, given === undefined ? (isLoop ? 1 : shell.status) : Number(given));
  };

const echo: Run = async (shell, args) => {
  const words = [...args];
  let [newline, escapes] = [true, false];
  while (/^-[neE]+$/.test(words[0] ?? '')) {
    const flags = words.shift() ?? '';
    if (flags.includes('n')) newline = false;
    if (flags.includes('e')) escapes = true;
  }
  const text = words.join(' ');
  const { text: shown, isCut } = escapes ? unescaped(text) : { text, isCut: false };
  return out(shell, shown + (newline && !isCut ? '\n' : ''));
};

const test =
  (bracket: boolean): Run =>
  async (shell, args) => {
    try {
      if (bracket && args.at(-1) !== ']') throw new Error('missing ]');
      return holds(bracket ? args.slice(0, -1) : args, shell.process) ? 0 : 1;
    } catch (error) {
      if (error instanceof Killed) throw error;
      await shell.complain(`${bracket ? '[' : 'test'}: ${error instanceof Error ? error.message : ''}`);
      return 2;
    }
  };

const cd: Run = async (shell, args) => {
  const given = args.find((arg) => arg !== '-P' && arg !== '-L' && arg !== '--') ?? shell.variable('HOME') ?? '/';
  const path = given === '-' ? (shell.variable('OLDPWD') ?? '/') : given;
  const { process } = shell;
  try {
    const place = process.fs.place(process, path);
    if (!place.node) throw new Errno('ENOENT');
    if (place.node.kind !== 'directory') throw new Errno('ENOTDIR');
    const logical =
      args[0] === '-P' ? place.path : posix.normalize(path.startsWith('/') ? path : `${process.cwd}/${path}`);
    shell.assign('OLDPWD', process.cwd);
    process.cwd = process.fs.exists(process, logical) ? logical.replace(/(.)\/$/, '$1') : place.path;
    shell.assign('PWD', process.cwd);
    if (given === '-') await process.write(1, `${process.cwd}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    await shell.complain(`1: cd: can't cd to ${path}: ${error.message}`);
    return 2;
  }
};

const pwd: Run = async (shell, args) => {
  const { process } = shell;
  return out(shell, `${args.includes('-P') ? process.fs.place(process, process.cwd).path : process.cwd}\n`);
};

const exportNames: Run = async (shell, args) => {
  if (args.length === 0 || args[0] === '-p') {
    const lines = [...shell.exported].sort().map((name) => `export ${name}='${shell.variables.get(name) ?? ''}'\n`);
    return out(shell, lines.join(''));
  }
  for (const arg of args) {
    const [, name = arg, value] = /^([^=]*)=([^]*)$/.exec(arg) ?? [];
    if (!NAME.test(name)) {
      await shell.complain(`export: ${name}: bad variable name`);
      return 2;
    }
    if (value !== undefined) shell.assign(name, value);
    shell.exported.add(name);
  }
  return 0;
};

const local: Run = (shell, args) => {
  for (const arg of args.filter((each) => !each.startsWith('-'))) {
    const [, name = arg, value] = /^([^=]*)=([^]*)$/.exec(arg) ?? [];
    if (shell.locals && !shell.locals.has(name)) shell.locals.set(name, shell.variables.get(name));
    if (value !== undefined) shell.assign(name, value);
  }
  return 0;
};

const unset: Run = (shell, args) => {
  for (const name of args) {
    if (args[0] === '-f') shell.functions.delete(name);
    else {
      shell.variables.delete(name);
      shell.exported.delete(name);
    }
  }
  return 0;
};

const set: Run = async (shell, args) => {
  if (args.length === 0) {
    const lines = [...shell.variables].map(([name, value]) => `${name}='${value}'\n`).sort();
    return out(shell, lines.join(''));
  }
  const words = [...args];
  for (let word = words[0]; word !== undefined; word = words[0]) {
    if (word === '--') {
      shell.positional = words.slice(1);
      return 0;
    }
    if (!/^[-+][a-zA-Z]+$/.test(word)) {
      shell.positional = words;
      return 0;
    }
    words.shift();
    if (word.slice(1) === 'o') {
      words.shift();
      continue;
    }
    for (const option of word.slice(1)) {
      if (word.startsWith('-')) shell.options.add(option);
      else shell.options.delete(option);
    }
  }
  return 0;
};

const shift: Run = (shell, [count = '1']) => {
  if (Number(count) > shell.positional.length) return 1;
  shell.positional = shell.positional.slice(Number(count));
  return 0;
};

const read: Run = async (shell, args) => {
  const names = args.filter((arg) => !arg.startsWith('-'));
  const isRaw = args.some((arg) => /^-[a-z]*r/.test(arg));
  const { process } = shell;
  let line = '';
  let isWhole = false;
  const kept = new Set<number>();
  for (;;) {
    const byte = await process.read(0, 1);
    if (!byte) break;
    const char = byte.toString('latin1');
    if (char === '\n') {
      isWhole = true;
      break;
    }
    if (char === '\0') continue;
    if (char === '\\' && !isRaw) {
      const next = (await process.read(0, 1))?.toString('latin1') ?? '';
      if (next === '\n') continue;
      kept.add(line.length);
      line += next;
    } else line += char;
    if (line.length % 256 === 0) await process.point();
  }
  for (const [name, value] of assigned(line, { names, kept, separators: shell.variable('IFS') ?? ' \t\n' })) {
    shell.assign(name, value);
  }
  return isWhole ? 0 : 1;
};

/** A line's fields for some names; the last has all that is left. */
function assigned(
  line: string,
  { names, kept, separators }: { names: readonly string[]; kept: ReadonlySet<number>; separators: string },
): [string, string][] {
  const isSeparator = (at: number): boolean => at < line.length && !kept.has(at) && separators.includes(line[at] ?? '');
  const isBlank = (at: number): boolean => isSeparator(at) && ' \t\n'.includes(line[at] ?? '');
  let at = 0;
  let end = line.length;
  while (isBlank(at)) at += 1;
  while (end > at && isBlank(end - 1)) end -= 1;
  return (names.length > 0 ? names : ['REPLY']).map((name, index, all): [string, string] => {
    const from = at;
    if (index === all.length - 1) {
      const rest = line.slice(from, end);
      // One separator at the end of a last field that is whole belongs to no field.
      const isOnly =
        rest !== '' &&
        isSeparator(end - 1) &&
        !rest
          .slice(0, -1)
          .split('')
          .some((_each, offset) => isSeparator(from + offset));
      return [name, isOnly ? rest.slice(0, -1) : rest];
    }
    while (at < end && !isSeparator(at)) at += 1;
    const value = line.slice(from, at);
    while (at < end && isBlank(at)) at += 1;
    if (at < end && isSeparator(at) && !isBlank(at)) at += 1;
    while (at < end && isBlank(at)) at += 1;
    return [name, value];
  });
}

const trap: Run = async (shell, args) => {
  const [action, ...names] = args[0] === '--' ? args.slice(1) : args;
  if (action === undefined) {
    return out(shell, [...shell.traps].map(([name, text]) => `trap -- '${text}' ${name}\n`).join(''));
  }
  const isReset = action === '-' || (names.length === 0 && signalOf(action) !== null);
  for (const name of names.length === 0 ? [action] : names) {
    const signal = name === 'EXIT' || name === '0' ? 'EXIT' : signalOf(name);
    if (!signal) {
      await shell.complain(`trap: ${name}: bad trap`);
      return 1;
    }
    if (isReset) shell.traps.delete(signal);
    else shell.traps.set(signal, action);
    if (signal !== 'EXIT') handle(shell, signal, isReset ? null : action);
  }
  return 0;
};

function handle(shell: ShellState, signal: Signal, action: string | null): void {
  const { handlers } = shell.process;
  if (action === null) handlers.delete(signal);
  else if (action === '') handlers.set(signal, 'ignore');
  else {
    handlers.set(signal, () => {
      if (!shell.pending.includes(signal)) shell.pending.push(signal);
      shell.wakeWait?.();
    });
  }
}

const wait: Run = async (shell, args) => {
  const wanted = args.length === 0 ? [...shell.jobs.values()] : args.map((arg) => jobOf(shell, arg));
  let status = 0;
  for (const job of wanted) {
    if (!job) {
      status = 127;
      continue;
    }
    const ended = shell.pending.length > 0 ? null : await shell.process.waitFor(job, (wake) => (shell.wakeWait = wake));
    shell.wakeWait = null;
    if (ended === null) return 143;
    shell.jobs.delete(job.pid);
    status = ended;
  }
  return args.length === 0 ? 0 : status;
};

function jobOf(shell: ShellState, text: string): Process | null {
  if (!text.startsWith('%')) return shell.jobs.get(Number(text)) ?? null;
  return [...shell.jobs.values()][Number(text.slice(1) || shell.jobs.size) - 1] ?? null;
}

const kill: Run = async (shell, args) => {
  const words = [...args];
  let signal: Signal | null = 'TERM';
  const [first = ''] = words;
  if (first === '-l') return out(shell, 'HUP INT QUIT KILL USR1 USR2 PIPE TERM CONT STOP WINCH\n');
  if (first === '-s' || first === '-n') {
    signal = signalOf(words[1] ?? '');
    words.splice(0, 2);
  } else if (/^-./.test(first) && first !== '--') {
    signal = first === '-0' ? null : signalOf(first.slice(1));
    if (!signal && first !== '-0') {
      await shell.complain(`kill: Illegal option ${first}`);
      return 2;
    }
    words.shift();
  }
  if (words[0] === '--') words.shift();
  let status = 0;
  for (const word of words) {
    const targets = targetsOf(shell, word);
    if (targets.length === 0) {
      await shell.complain(`kill: No such process`);
      status = 1;
    }
    for (const target of targets) {
      if (shell.process.uid !== 0 && target.uid !== shell.process.uid) {
        await shell.complain(`kill: Operation not permitted`);
        status = 1;
      } else if (signal) target.signal(signal);
    }
  }
  await shell.process.point();
  return status;
};

function targetsOf(shell: ShellState, word: string): readonly Process[] {
  const { process } = shell;
  if (word.startsWith('%')) return [jobOf(shell, word)].filter((each) => each !== null);
  const pid = Number(word);
  if (pid === -1) return process.table.all.filter((each) => each !== process);
  if (pid < 0) return process.table.all.filter(({ group }) => group === -pid);
  if (pid === 0) return process.table.all.filter(({ group }) => group === process.group);
  return [process.table.get(pid)].filter((each) => each !== null);
}

const jobs: Run = async (shell) => {
  let text = '';
  for (const [index, job] of [...shell.jobs.values()].entries()) {
    const isRunning = shell.process.table.get(job.pid) !== null;
    text += `[${String(index + 1)}] ${isRunning ? 'Running' : 'Done'} ${String(job.pid)}\n`;
    if (!isRunning) shell.jobs.delete(job.pid);
  }
  return out(shell, text);
};

const commandBuiltin: Run = async (shell, args) => {
  const isAsked = args[0] === '-v' || args[0] === '-V';
  const words = args.filter((arg, index) => index > 0 || !/^-[vVp]$/.test(arg));
  const [name] = words;
  if (name === undefined) return 0;
  if (!isAsked) return shell.evaluate(words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' '));
  if (shell.functions.has(name) || BUILTINS.has(name)) return out(shell, `${name}\n`);
  const path = findPath(shell.process, name, shell.variables.get('PATH') ?? '');
  return path === null ? 127 : out(shell, `${path}\n`);
};

const type: Run = async (shell, args) => {
  let status = 0;
  for (const name of args) {
    const path = findPath(shell.process, name, shell.variables.get('PATH') ?? '');
    const what = BUILTINS.has(name) ? 'is a shell builtin' : shell.functions.has(name) ? 'is a shell function' : path;
    if (what === null) status = 127;
    await out(shell, `${name}${what === null ? ': not found' : what === path ? ` is ${path}` : ` ${what}`}\n`);
  }
  return status;
};

const source: Run = async (shell, [path = '', ...args]) => {
  const { process } = shell;
  const found = path.includes('/') ? path : (findPath(process, path, '.') ?? path);
  const file = process.open(found, { read: true });
  let text = '';
  try {
    for (let data = await file.read(process, 65_536); data; data = await file.read(process, 65_536)) {
      text += data.toString('latin1');
    }
  } finally {
    file.close();
  }
  const { positional } = shell;
  if (args.length > 0) shell.positional = args;
  try {
    return await shell.evaluate(text);
  } catch (error) {
    if (error instanceof Leave && error.what === 'return') return error.value;
    throw error;
  } finally {
    shell.positional = positional;
  }
};

const umask: Run = (shell, [mode]) => {
  if (mode === undefined) return out(shell, `${shell.process.umask.toString(8).padStart(4, '0')}\n`);
  shell.process.umask = Number.parseInt(mode, 8) & 0o777;
  return 0;
};

const letBuiltin: Run = (shell, args) => {
  let value = 0;
  for (const arg of args) {
    try {
      value = calculate(arg, { get: (name) => shell.variable(name), set: (name, text) => shell.assign(name, text) });
    } catch (error) {
      throw new ExpansionFault(error instanceof Error ? error.message : '', { cause: error });
    }
  }
  return value === 0 ? 1 : 0;
};

const plain = (run: Run): Builtin => ({ run });
const special = (run: Run): Builtin => ({ run, isSpecial: true });

/** The commands that are the shell's own. */
export const BUILTINS: ReadonlyMap<string, Builtin> = new Map([
  [':', special(() => 0)],
  ['true', plain(() => 0)],
  ['false', plain(() => 1)],
  ['.', special(source)],
  ['source', special(source)],
  ['[', plain(test(true))],
  ['test', plain(test(false))],
  ['break', special(leave('break'))],
  ['continue', special(leave('continue'))],
  ['return', special(leave('return'))],
  ['exit', special(leave('exit'))],
  ['cd', plain(cd)],
  ['command', plain(commandBuiltin)],
  ['echo', plain(echo)],
  ['eval', special((shell, args) => shell.evaluate(args.join(' ')))],
  ['exec', special(() => 0)],
  ['export', special(exportNames)],
  ['readonly', special(exportNames)],
  ['hash', plain(() => 0)],
  ['jobs', plain(jobs)],
  ['kill', plain(kill)],
  ['let', plain(letBuiltin)],
  ['local', plain(local)],
  ['declare', plain(local)],
  ['printf', plain(async (shell, args) => out(shell, formatted(args)))],
  ['pwd', plain(pwd)],
  ['read', plain(read)],
  ['set', special(set)],
  ['shift', special(shift)],
  ['shopt', plain(() => 0)],
  ['trap', special(trap)],
  ['type', plain(type)],
  ['ulimit', plain(() => 0)],
  ['umask', plain(umask)],
  ['unset', special(unset)],
  ['wait', plain(wait)],
]);
