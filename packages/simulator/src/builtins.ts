import { ShellFault } from './arithmetic';
import { calculated, parsed, type Surroundings } from './expansion';
import { Errno, errnoOf } from './files';
import { type Process, type Signal, signalOf } from './process';
import { findPath, readScript, runLibrary } from './library';

/** Thrown to leave a loop, a function or the shell. */
export class Leave extends Error {
  override readonly name = 'Leave';

  constructor(
    readonly what: 'break' | 'continue' | 'return' | 'exit',
    /** The number of loops, or the exit code. */
    readonly value: number,
  ) {
    super(what);
  }
}

/** What builtins read and change of their shell. */
export interface ShellState extends Surroundings {
  readonly variables: Map<string, string>;
  readonly exported: Set<string>;
  readonly functions: Map<string, unknown>;
  readonly options: Set<string>;
  readonly traps: Map<Signal | 'EXIT', string>;
  readonly jobs: Map<number, Process>;
  positional: readonly string[];
  /** The exit code of the last command. */
  readonly status: number;
  /** Signals whose traps have to run. */
  readonly pending: Signal[];
  /** Ends a `wait` that a trap interrupts. */
  wakeWait: (() => void) | null;
  /** The local variables of a function, with their values outside. */
  readonly locals: Map<string, string | undefined> | null;
  evaluate(script: string): Promise<number>;
  complain(words: string): Promise<void>;
}

type Builtin = (shell: ShellState, args: readonly string[]) => Promise<number> | number;

const say = async (shell: ShellState, text: string): Promise<number> => {
  await shell.process.write(1, text);
  return 0;
};

const leave =
  (what: Leave['what']): Builtin =>
  async (shell, [given]) => {
    if (given !== undefined && !/^\d+$/.test(given)) {
      await shell.complain(`${what}: Illegal number: ${given}`);
      throw new Leave('exit', 2);
    }
    throw new Leave(
      what,
      given === undefined ? (what.endsWith('e') || what === 'break' ? 1 : shell.status) : Number(given),
    );
  };

const echo: Builtin = async (shell, args) => {
  if (/^-[neE]*e/.test(args[0] ?? '')) return runLibrary('echo', shell.process, args);
  const isBare = args[0] === '-n';
  return say(shell, `${args.slice(isBare ? 1 : 0).join(' ')}${isBare ? '' : '\n'}`);
};

const UNARY = /^-[bcdefghkLnprsStuwxz]$/;
const BINARY = /^(?:==?|!=|<|>|-(?:eq|ne|lt|le|gt|ge|nt|ot|ef))$/;

/** Evaluates the arguments of `test`. @throws Error */
async function isTrue(args: readonly string[], process: Process): Promise<boolean> {
  for (const operator of ['-o', '-a']) {
    const at = args.length > 3 ? args.lastIndexOf(operator) : -1;
    if (at <= 0 || BINARY.test(args[at - 1] ?? '')) continue;
    const [left, right] = [await isTrue(args.slice(0, at), process), await isTrue(args.slice(at + 1), process)];
    return operator === '-o' ? left || right : left && right;
  }
  const [first = '', second = '', third = ''] = args;
  if (args.length === 3 && BINARY.test(second)) return isRelated(first, { operator: second, right: third, process });
  if (first === '!' && args.length > 1) return !(await isTrue(args.slice(1), process));
  if (first === '(' && args.at(-1) === ')') return isTrue(args.slice(1, -1), process);
  if (args.length < 2) return first !== '';
  if (args.length === 2 && UNARY.test(first)) return hasProperty(first, second, process);
  throw new Error(`${args.length === 2 ? first : second}: unexpected operator`);
}

async function hasProperty(operator: string, text: string, process: Process): Promise<boolean> {
  if (operator === '-n' || operator === '-z') return (text === '') === (operator === '-z');
  if (operator === '-t') return process.files.get(Number(text))?.isTerminal === true;
  const path = process.resolve(text);
  const isLink = operator === '-L' || operator === '-h';
  const found = text === '' ? null : await (isLink ? process.fs.lstat(path) : process.fs.stat(path)).catch(() => null);
  if (!found) return false;
  const isDevice = path.startsWith('/dev/') && found.isFile;
  switch (operator) {
    case '-f':
      return found.isFile && !isDevice;
    case '-d':
      return found.isDirectory;
    case '-L':
    case '-h':
      return found.isSymbolicLink;
    case '-c':
      return isDevice;
    case '-s':
      return found.size > 0;
    case '-x':
      return found.isDirectory || (found.mode & 0o111) !== 0;
    default:
      return 'erw'.includes(operator.slice(1));
  }
}

async function isRelated(
  left: string,
  { operator, right, process }: { operator: string; right: string; process: Process },
): Promise<boolean> {
  if (/^-[no]t$/.test(operator)) {
    const times = [left, right].map((path) =>
      process.fs.stat(process.resolve(path)).then(
        ({ mtime }) => Number(mtime),
        () => 0,
      ),
    );
    const [one = 0, other = 0] = await Promise.all(times);
    return operator === '-nt' ? one > other : one < other;
  }
  if (operator === '=' || operator === '==') return left === right;
  if (operator === '!=') return left !== right;
  if (!operator.startsWith('-')) return operator === '<' ? left < right : left > right;
  for (const each of [left, right]) if (!/^\s*[-+]?\d+\s*$/.test(each)) throw new Error(`Illegal number: ${each}`);
  const difference = Number(left) - Number(right);
  const holds = { '-eq': difference === 0, '-ne': difference !== 0, '-lt': difference < 0, '-le': difference <= 0 };
  return operator in holds
    ? holds[operator as keyof typeof holds]
    : operator === '-gt'
      ? difference > 0
      : difference >= 0;
}

const test =
  (isBracket: boolean): Builtin =>
  async (shell, args) => {
    try {
      if (isBracket && args.at(-1) !== ']') throw new Error('missing ]');
      return Number(!(await isTrue(isBracket ? args.slice(0, -1) : args, shell.process)));
    } catch (error) {
      shell.process.check();
      await shell.complain(`${isBracket ? '[' : 'test'}: ${error instanceof Error ? error.message : ''}`);
      return 2;
    }
  };

const cd: Builtin = async (shell, args) => {
  const { process } = shell;
  const given = args.find((arg) => !/^-[PL-]$/.test(arg)) ?? shell.variable('HOME') ?? '/';
  const path = process.resolve(given === '-' ? (shell.variable('OLDPWD') ?? '/') : given);
  try {
    if (!(await errnoOf(process.fs.stat(path))).isDirectory) throw new Errno('ENOTDIR');
    shell.assign('OLDPWD', process.cwd);
    process.cwd = args[0] === '-P' ? await process.fs.realpath(path) : path;
    shell.assign('PWD', process.cwd);
    return given === '-' ? await say(shell, `${process.cwd}\n`) : 0;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    await shell.complain(`1: cd: can't cd to ${given}: ${error.message}`);
    return 2;
  }
};

const exportNames: Builtin = async (shell, args) => {
  if (args.length === 0 || args[0] === '-p') {
    const lines = [...shell.exported].sort().map((name) => `export ${name}='${shell.variables.get(name) ?? ''}'\n`);
    return say(shell, lines.join(''));
  }
  for (const arg of args) {
    const [, name = arg, value] = /^([^=]*)=([^]*)$/.exec(arg) ?? [];
    if (!/^[A-Za-z_]\w*$/.test(name)) throw new ShellFault(`export: ${name}: bad variable name`);
    if (value !== undefined) shell.assign(name, value);
    shell.exported.add(name);
  }
  return 0;
};

const local: Builtin = (shell, args) => {
  for (const arg of args.filter((each) => !each.startsWith('-'))) {
    const [, name = arg, value] = /^([^=]*)=([^]*)$/.exec(arg) ?? [];
    if (shell.locals && !shell.locals.has(name)) shell.locals.set(name, shell.variables.get(name));
    if (value !== undefined) shell.assign(name, value);
  }
  return 0;
};

const unset: Builtin = (shell, args) => {
  for (const name of args) {
    if (args[0] === '-f') shell.functions.delete(name);
    else for (const names of [shell.variables, shell.exported]) names.delete(name);
  }
  return 0;
};

const set: Builtin = async (shell, args) => {
  if (args.length === 0)
    return say(
      shell,
      [...shell.variables]
        .map(([name, value]) => `${name}='${value}'\n`)
        .sort()
        .join(''),
    );
  const words = [...args];
  while (/^[-+][a-zA-Z]+$/.test(words[0] ?? '')) {
    const word = words.shift() ?? '';
    if (word.slice(1) === 'o') words.shift();
    else for (const option of word.slice(1)) shell.options[word.startsWith('-') ? 'add' : 'delete'](option);
  }
  if (words[0] === '--') shell.positional = words.slice(1);
  else if (words.length > 0) shell.positional = words;
  return 0;
};

const shift: Builtin = (shell, [count = '1']) => {
  if (Number(count) > shell.positional.length) return 1;
  shell.positional = shell.positional.slice(Number(count));
  return 0;
};

/** Stands for a separator that was escaped, while a line is split. */
const ESCAPED = '\ue000';

const read: Builtin = async (shell, args) => {
  const names = args.filter((arg) => !arg.startsWith('-'));
  const isRaw = args.some((arg) => /^-[a-z]*r/.test(arg));
  const bytes: number[] = [];
  let isWhole = false;
  for (
    let byte = await shell.process.read(0, 1);
    byte && !isWhole;
    byte = isWhole ? null : await shell.process.read(0, 1)
  ) {
    const [code = 0] = byte;
    isWhole = code === 10 && (isRaw || bytes.at(-1) !== 92);
    if (code === 10 && !isWhole) bytes.pop();
    else if (code !== 0 && !isWhole) bytes.push(code);
  }
  const text = Buffer.from(bytes).toString();
  const line = isRaw ? text : text.replace(/\\([^])/g, `${ESCAPED}$1`);
  for (const [name, value] of splitLine(line, names.length > 0 ? names : ['REPLY'], shell.variable('IFS') ?? ' \t\n')) {
    shell.assign(name, value.replaceAll(ESCAPED, ''));
  }
  return isWhole ? 0 : 1;
};

/** Splits a line for some names; the last gets the rest. */
function splitLine(line: string, names: readonly string[], separators: string): [string, string][] {
  if (separators === '') return names.map((name, index) => [name, index === 0 ? line : '']);
  const escape = (text: string): string => text.replace(/[\\\]^-]/g, '\\$&');
  const blanks = separators
    .split('')
    .filter((each) => ' \t\n'.includes(each))
    .join('');
  const blank = blanks === '' ? '(?:)' : `[${escape(blanks)}]*`;
  const others = separators
    .split('')
    .filter((each) => !blanks.includes(each))
    .join('');
  const separator =
    others === '' ? `[${escape(blanks)}]+` : `(?:${blank}[${escape(others)}]${blank}|[${escape(separators)}]+)`;
  const field = new RegExp(`^((?:${ESCAPED}[^]|[^${escape(separators)}])*)(?:${separator}|$)`);
  let rest = line.replace(new RegExp(`^${blank}`), '').replace(new RegExp(`(?<!${ESCAPED})${blank}$`), '');
  return names.map((name, index): [string, string] => {
    const [whole = '', value = ''] = field.exec(rest) ?? [];
    // One separator behind a last field is no part of it.
    if (index === names.length - 1) return [name, whole === rest ? value : rest];
    rest = rest.slice(whole.length);
    return [name, value];
  });
}

const trap: Builtin = async (shell, args) => {
  const [action, ...names] = args[0] === '--' ? args.slice(1) : args;
  if (action === undefined)
    return say(shell, [...shell.traps].map(([name, text]) => `trap -- '${text}' ${name}\n`).join(''));
  const isReset = action === '-' || (names.length === 0 && signalOf(action) !== null);
  for (const name of names.length === 0 ? [action] : names) {
    const signal = name === 'EXIT' || name === '0' ? 'EXIT' : signalOf(name);
    if (!signal) throw new ShellFault(`trap: ${name}: bad trap`);
    if (isReset) shell.traps.delete(signal);
    else shell.traps.set(signal, action);
    if (signal === 'EXIT') continue;
    const { handlers } = shell.process;
    const note = (): void => {
      if (!shell.pending.includes(signal)) shell.pending.push(signal);
      shell.wakeWait?.();
    };
    if (isReset) handlers.delete(signal);
    else handlers.set(signal, action === '' ? 'ignore' : note);
  }
  return 0;
};

function jobOf(shell: ShellState, text: string): Process | null {
  if (!text.startsWith('%')) return shell.jobs.get(Number(text)) ?? null;
  return [...shell.jobs.values()][Number(text.slice(1) || shell.jobs.size) - 1] ?? null;
}

const wait: Builtin = async (shell, args) => {
  let status = 0;
  for (const job of args.length === 0 ? shell.jobs.values() : args.map((arg) => jobOf(shell, arg))) {
    status = 127;
    if (!job) continue;
    const trapped = new Promise<null>((resolve) => (shell.wakeWait = () => resolve(null)));
    const ended = shell.pending.length > 0 ? null : await shell.process.until(Promise.race([job.ended, trapped]));
    shell.wakeWait = null;
    if (ended === null) return 143;
    shell.jobs.delete(job.pid);
    status = ended;
  }
  return args.length === 0 ? 0 : status;
};

const kill: Builtin = async (shell, args) => {
  const [, given, operands] = /^-(?:[sn]$)?(.*)$/.test(args[0] ?? '') ? parseKill(args) : [null, 'TERM', [...args]];
  if (given === 'l') return say(shell, 'HUP INT QUIT KILL USR1 USR2 PIPE TERM CONT STOP WINCH\n');
  const signal = signalOf(given);
  if (!signal && given !== '0') {
    await shell.complain(`kill: Illegal option -${given}`);
    return 2;
  }
  let status = 0;
  for (const operand of operands) {
    const targets = targetsOf(shell, operand);
    const isAllowed = ({ uid }: Process): boolean => shell.process.uid === 0 || uid === shell.process.uid;
    if (targets.length === 0 || !targets.every(isAllowed)) {
      await shell.complain(`kill: ${targets.length === 0 ? 'No such process' : 'Operation not permitted'}`);
      status = 1;
    }
    if (signal) for (const target of targets.filter(isAllowed)) target.signal(signal);
  }
  await shell.process.point();
  return status;
};

function parseKill([first = '', ...rest]: readonly string[]): [null, string, string[]] {
  const isNamed = first === '-s' || first === '-n';
  const given = first === '--' ? 'TERM' : isNamed ? (rest.shift() ?? '') : first.slice(1);
  return [null, given, rest[0] === '--' ? rest.slice(1) : rest];
}

function targetsOf(shell: ShellState, word: string): readonly Process[] {
  const { process } = shell;
  const pid = Number(word);
  const isTarget = (each: Process): boolean =>
    pid === -1 ? each !== process : pid > 0 ? each.pid === pid : each.group === (-pid || process.group);
  return word.startsWith('%')
    ? [jobOf(shell, word)].filter((each) => each !== null)
    : process.table.all.filter(isTarget);
}

const jobs: Builtin = async (shell) => {
  let text = '';
  for (const [index, job] of [...shell.jobs.values()].entries()) {
    const isRunning = shell.process.table.get(job.pid) !== null;
    text += `[${String(index + 1)}] ${isRunning ? 'Running' : 'Done'} ${String(job.pid)}\n`;
    if (!isRunning) shell.jobs.delete(job.pid);
  }
  return say(shell, text);
};

const command: Builtin = async (shell, args) => {
  const isAsked = /^-[vV]$/.test(args[0] ?? '');
  const words = args.filter((arg, index) => index > 0 || !/^-[vVp]$/.test(arg));
  if (!isAsked) return shell.evaluate(words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' '));
  let status = 0;
  for (const name of words) {
    const isOwn = shell.functions.has(name) || BUILTINS.has(name);
    const path = isOwn ? name : await findPath(shell.process, name, shell.variable('PATH') ?? '');
    if (path === null) status = 127;
    else await say(shell, `${path}\n`);
  }
  return status;
};

const dot: Builtin = async (shell, [path = '', ...args]) => {
  const { positional } = shell;
  if (args.length > 0) shell.positional = args;
  try {
    return await shell.evaluate(await readScript(shell.process, await shell.process.open(path, 'read')));
  } catch (error) {
    if (error instanceof Leave && error.what === 'return') return error.value;
    throw error;
  } finally {
    shell.positional = positional;
  }
};

const letBuiltin: Builtin = async (shell, args) => {
  let value = 0;
  for (const arg of args) {
    const found = parsed(`((${arg}))`).statements[0]?.pipelines[0]?.commands[0];
    if (found?.type === 'ArithmeticCommand') value = await calculated(found.expression.expression, shell);
  }
  return Number(value === 0);
};

/** The commands of the shell itself; the others of its kind are programs. */
export const BUILTINS: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  [':', () => 0],
  ['true', () => 0],
  ['false', () => 1],
  ['.', dot],
  ['source', dot],
  ['[', test(true)],
  ['test', test(false)],
  ['break', leave('break')],
  ['continue', leave('continue')],
  ['return', leave('return')],
  ['exit', leave('exit')],
  ['cd', cd],
  ['command', command],
  ['type', (shell, args) => command(shell, ['-v', ...args])],
  ['echo', echo],
  ['eval', (shell, args) => shell.evaluate(args.join(' '))],
  ['export', exportNames],
  ['readonly', exportNames],
  ['hash', () => 0],
  ['jobs', jobs],
  ['kill', kill],
  ['let', letBuiltin],
  ['local', local],
  ['declare', local],
  ['printf', (shell, args) => runLibrary('printf', shell.process, args)],
  [
    'pwd',
    async (shell, [flag]) => {
      const { cwd, fs } = shell.process;
      return say(shell, `${flag === '-P' ? await fs.realpath(cwd) : cwd}\n`);
    },
  ],
  ['read', read],
  ['set', set],
  ['shift', shift],
  ['shopt', () => 0],
  ['trap', trap],
  ['ulimit', () => 0],
  ['umask', (shell, [mode]) => (mode === undefined ? say(shell, '0022\n') : 0)],
  ['unset', unset],
  ['wait', wait],
]);
