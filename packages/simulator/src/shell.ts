import type { ScriptNode, StatementNode, WordNode } from 'just-bash';
import { BUILTINS, Leave, type ShellState } from './builtins';
import { ShellFault } from './arithmetic';
import { calculated, fieldsOf, parsed, patternOf, type Surroundings, textOf } from './expansion';
import { Errno } from './files';
import { matches } from './patterns';
import { Killed, type Process, type Program, type Signal } from './process';
import { findProgram, readScript } from './library';
import { type OpenFile, Pipe, Text } from './streams';

type Pipeline = StatementNode['pipelines'][number];
type Command = Pipeline['commands'][number];
type Simple = Extract<Command, { type: 'SimpleCommand' }>;
type Redirection = Simple['redirections'][number];
type Condition = Extract<Command, { type: 'ConditionalCommand' }>['expression'];

/** How deep functions, `eval` and `.` may be nested. */
const DEEPEST = 200;

/**
 * Runs scripts, which `just-bash` has parsed. Its own interpreter has no processes, signals, traps or jobs, and gives
 * output only at the end of a script. A subshell is a copy of the shell in another process.
 */
export class Shell implements Surroundings, ShellState {
  readonly variables = new Map<string, string>();
  readonly exported = new Set<string>();
  readonly functions = new Map<string, Command>();
  readonly options = new Set<string>();
  readonly traps = new Map<Signal | 'EXIT', string>();
  readonly jobs = new Map<number, Process>();
  positional: readonly string[] = [];
  status = 0;
  name = 'sh';
  isInteractive = false;
  readonly pending: Signal[] = [];
  wakeWait: (() => void) | null = null;
  locals: Map<string, string | undefined> | null = null;
  private lastBackground: number | undefined;
  /** The value of `$$`, in subshells too. */
  private mainPid: number;
  private depth = 0;
  /** The exit code of the last `$(…)`: that of a command without a name. */
  private substituted = 0;
  /** Above 0 inside conditions, where a failure does not end the script (`set -e`). */
  private conditions = 0;

  constructor(
    readonly process: Process,
    parent?: Shell,
  ) {
    this.mainPid = parent?.mainPid ?? process.pid;
    for (const [name, value] of parent?.variables ?? process.env) this.variables.set(name, value);
    for (const name of parent?.exported ?? process.env.keys()) this.exported.add(name);
    if (!parent) {
      for (const [name, value] of [
        ['PWD', process.cwd],
        ['IFS', ' \t\n'],
        ['PPID', String(process.parent)],
      ] as const) {
        this.variables.set(name, value);
      }
      return;
    }
    for (const [name, body] of parent.functions) this.functions.set(name, body);
    for (const option of parent.options) this.options.add(option);
    for (const key of ['positional', 'status', 'name', 'lastBackground', 'depth', 'conditions'] as const) {
      Object.assign(this, { [key]: parent[key] });
    }
  }

  variable(name: string): string | undefined {
    switch (name) {
      case '?':
        return String(this.status);
      case '$':
        return String(this.mainPid);
      case '!':
        return this.lastBackground?.toString();
      case '#':
        return String(this.positional.length);
      case '-':
        return [...this.options].join('') + (this.isInteractive ? 'i' : '');
      case '0':
        return this.name;
      case 'RANDOM':
        return String(Math.floor(Math.random() * 32_768));
      case 'SECONDS':
        return String(Math.floor((Date.now() - this.process.startedMs) / 1000));
      default:
        return this.variables.get(name);
    }
  }

  assign(name: string, value: string): void {
    this.variables.set(name, value);
    if (this.options.has('a')) this.exported.add(name);
  }

  /** Runs a script and its EXIT trap. @returns the exit code */
  async main(script: string): Promise<number> {
    return this.untilExit(() => this.evaluate(script));
  }

  async untilExit(work: () => Promise<number>): Promise<number> {
    const status = await work().catch((error: unknown) => this.statusOf(error));
    const trap = this.traps.get('EXIT');
    if (trap === undefined) return status;
    this.traps.delete('EXIT');
    this.status = status;
    try {
      await this.evaluate(trap);
      return status;
    } catch (error) {
      return this.statusOf(error);
    }
  }

  /** @returns the exit code of a shell that ends with this error. @throws Killed */
  async statusOf(error: unknown): Promise<number> {
    if (error instanceof Leave) return error.value;
    if (!(error instanceof ShellFault || error instanceof Errno)) throw error;
    await this.complain(error.message);
    return 2;
  }

  async complain(words: string): Promise<void> {
    await this.process.write(2, `${this.name}: ${words}\n`).catch((error: unknown) => {
      if (error instanceof Killed) throw error;
    });
  }

  async evaluate(script: string): Promise<number> {
    return this.deeper(() => this.list(parsed(script).statements));
  }

  async list(statements: readonly StatementNode[]): Promise<number> {
    let status = 0;
    for (const statement of statements) {
      if (statement.deferredError) throw new ShellFault(`Syntax error: ${statement.deferredError.message}`);
      status = await this.statement(statement);
      await this.runTraps();
    }
    return status;
  }

  private async statement(statement: StatementNode): Promise<number> {
    if (statement.background) {
      const child = this.fork((shell) => shell.statement({ ...statement, background: false }), { isBackground: true });
      this.lastBackground = child.pid;
      this.jobs.set(child.pid, child);
      if (this.isInteractive) await this.process.write(2, `[${String(this.jobs.size)}] ${String(child.pid)}\n`);
      return (this.status = 0);
    }
    let [status, isCondition] = [0, false];
    for (const [index, pipeline] of statement.pipelines.entries()) {
      const operator = statement.operators[index - 1];
      if (operator === '&&' ? status !== 0 : operator === '||' && status === 0) continue;
      isCondition = index < statement.pipelines.length - 1;
      status = await this.pipeline(pipeline, isCondition);
    }
    if (status !== 0 && !isCondition && this.conditions === 0 && this.options.has('e')) throw new Leave('exit', status);
    return status;
  }

  private async pipeline({ commands, negated }: Pipeline, isCondition: boolean): Promise<number> {
    if (isCondition || negated) this.conditions += 1;
    try {
      const [only] = commands;
      const status = only && commands.length === 1 ? await this.command(only) : await this.piped(commands);
      this.status = negated ? Number(status === 0) : status;
    } finally {
      if (isCondition || negated) this.conditions -= 1;
    }
    return this.status;
  }

  private async piped(commands: readonly Command[]): Promise<number> {
    const children: Process[] = [];
    let input: OpenFile | null = null;
    for (const [index, command] of commands.entries()) {
      const pipe: Pipe | null = index < commands.length - 1 ? new Pipe() : null;
      const files = new Map<number, OpenFile>();
      if (input) files.set(0, input);
      if (pipe) files.set(1, pipe.sink);
      children.push(this.fork((shell) => shell.command(command), { files, group: children[0]?.group }));
      input = pipe?.source ?? null;
    }
    return this.inForeground(children);
  }

  /** Waits for children, which have the terminal meanwhile. @returns the exit code of the last */
  private async inForeground(children: readonly Process[]): Promise<number> {
    const { terminal } = this.process;
    const before = terminal?.foreground ?? 0;
    if (terminal && this.isInteractive && children[0]) terminal.foreground = children[0].group;
    let status = 0;
    try {
      for (const child of children) status = await this.process.until(child.ended);
    } finally {
      if (terminal && this.isInteractive) terminal.foreground = before;
    }
    if (this.isInteractive && status === 130) await this.process.write(2, '\n');
    return status;
  }

  /** Starts a subshell. */
  private fork(
    main: (shell: Shell) => Promise<number>,
    options: { files?: ReadonlyMap<number, OpenFile>; isBackground?: true; group?: number | undefined } = {},
  ): Process {
    const { process } = this;
    const { files = new Map<number, OpenFile>(), isBackground = false, group } = options;
    const own = new Map(files);
    for (const [descriptor, file] of process.files) if (!files.has(descriptor)) own.set(descriptor, file.dup());
    const child = process.table.start({
      argv: process.argv,
      env: this.environment(),
      cwd: process.cwd,
      uid: process.uid,
      parent: process.pid,
      group: this.isInteractive ? group : process.group,
      terminal: process.terminal,
      files: own,
      main: async (started) => {
        if (isBackground && !this.isInteractive) {
          started.handlers.set('INT', 'ignore');
          await started.setFile(0, await started.open('/dev/null', 'read'));
        }
        const shell = new Shell(started, this);
        return shell.untilExit(() => main(shell));
      },
    });
    for (const [signal, handler] of process.handlers) if (handler === 'ignore') child.handlers.set(signal, handler);
    return child;
  }

  /** The environment of the programs that it starts. */
  private environment(extra: ReadonlyMap<string, string> = new Map()): Map<string, string> {
    const exported = [...this.exported].map((name) => [name, this.variables.get(name)] as const);
    return new Map([...exported, ...extra].filter((pair): pair is [string, string] => pair[1] !== undefined));
  }

  async substitute({ statements }: ScriptNode): Promise<string> {
    const output = new Text();
    const child = this.fork((shell) => shell.list(statements), { files: new Map([[1, output]]) });
    this.substituted = await this.process.until(child.ended);
    return output.toString().replace(/\0/g, '').replace(/\n+$/, '');
  }

  private async command(command: Command): Promise<number> {
    await this.process.point();
    if (command.type === 'SimpleCommand') return this.simple(command);
    if (command.type === 'FunctionDef') {
      this.functions.set(command.name, command.body);
      return 0;
    }
    return this.redirected(command.redirections, () => this.compound(command));
  }

  private async compound(command: Exclude<Command, Simple>): Promise<number> {
    switch (command.type) {
      case 'Group':
        return this.list(command.body);
      case 'Subshell':
        return this.inForeground([this.fork((shell) => shell.list(command.body))]);
      case 'If':
        for (const { condition, body } of command.clauses) if (await this.holds(condition)) return this.list(body);
        return command.elseBody ? this.list(command.elseBody) : 0;
      case 'While':
      case 'Until':
        return this.loop(
          command.body,
          async () => (await this.holds(command.condition)) === (command.type === 'While'),
        );
      case 'For': {
        const words = command.words ? await this.fieldsOfAll(command.words) : this.positional;
        const left = [...words];
        return this.loop(command.body, () => {
          const word = left.shift();
          if (word !== undefined) this.assign(command.variable, word);
          return Promise.resolve(word !== undefined);
        });
      }
      case 'CStyleFor': {
        if (command.init) await calculated(command.init.expression, this);
        const { condition, update } = command;
        let isFirst = true;
        return this.loop(command.body, async () => {
          if (update && !isFirst) await calculated(update.expression, this);
          isFirst = false;
          return condition === null || (await calculated(condition.expression, this)) !== 0;
        });
      }
      case 'Case': {
        const text = await textOf(command.word, this);
        for (const { patterns, body } of command.items) {
          for (const pattern of patterns) if (matches(text, await patternOf(pattern, this))) return this.list(body);
        }
        return 0;
      }
      case 'ArithmeticCommand':
        return Number((await calculated(command.expression.expression, this)) === 0);
      case 'ConditionalCommand':
        return Number(!(await this.condition(command.expression)));
      case 'FunctionDef':
        return 0;
    }
  }

  /** `[[ … ]]` */
  private async condition(condition: Condition): Promise<boolean> {
    switch (condition.type) {
      case 'CondGroup':
        return this.condition(condition.expression);
      case 'CondNot':
        return !(await this.condition(condition.operand));
      case 'CondAnd':
        return (await this.condition(condition.left)) && this.condition(condition.right);
      case 'CondOr':
        return (await this.condition(condition.left)) || this.condition(condition.right);
      case 'CondWord':
        return (await textOf(condition.word, this)) !== '';
      case 'CondUnary':
        return (await this.test([condition.operator, await textOf(condition.operand, this)])) === 0;
      case 'CondBinary': {
        const { operator } = condition;
        const left = await textOf(condition.left, this);
        if (operator === '=~') return new RegExp(await textOf(condition.right, this)).test(left);
        if (['=', '==', '!='].includes(operator)) {
          return matches(left, await patternOf(condition.right, this)) === (operator !== '!=');
        }
        return (await this.test([left, operator, await textOf(condition.right, this)])) === 0;
      }
    }
  }

  private async test(args: readonly string[]): Promise<number> {
    return (await BUILTINS.get('test')?.(this, args)) ?? 2;
  }

  private async holds(condition: readonly StatementNode[]): Promise<boolean> {
    this.conditions += 1;
    try {
      return (await this.list(condition)) === 0;
    } finally {
      this.conditions -= 1;
    }
  }

  private async loop(body: readonly StatementNode[], next: () => Promise<boolean>): Promise<number> {
    let status = 0;
    while (await next()) {
      await this.process.point();
      try {
        status = await this.list(body);
      } catch (error) {
        if (!(error instanceof Leave) || (error.what !== 'break' && error.what !== 'continue')) throw error;
        if (error.value > 1) throw new Leave(error.what, error.value - 1);
        status = 0;
        if (error.what === 'break') break;
      }
    }
    return status;
  }

  private async fieldsOfAll(words: readonly WordNode[]): Promise<string[]> {
    const all: string[] = [];
    for (const word of words) all.push(...(await fieldsOf(word, this)));
    return all;
  }

  private async simple({ name: first, args, assignments, redirections }: Simple): Promise<number> {
    this.substituted = 0;
    const argv = await this.fieldsOfAll(first ? [first, ...args] : args);
    const values = new Map<string, string>();
    for (const { name, value, append, array } of assignments) {
      if (array) throw new ShellFault(`${name}: arrays are not simulated`);
      const text = value ? await textOf(value, this) : '';
      values.set(name, append ? (this.variable(name) ?? '') + text : text);
    }
    const [name] = argv;
    if (name === undefined) {
      for (const [each, value] of values) this.assign(each, value);
      const status = this.substituted;
      return this.redirected(redirections, () => Promise.resolve(status));
    }
    if (this.options.has('x')) await this.process.write(2, `+ ${argv.join(' ')}\n`);
    if (name === 'exec') return this.exec(argv.slice(1), values, redirections);
    const body = this.functions.get(name);
    const builtin = BUILTINS.get(name);
    if (!body && !builtin) return this.external(argv, values, redirections);
    return this.redirected(redirections, async () => {
      const kept = [...values.keys()].map((each) => [each, this.variables.get(each), this.exported.has(each)] as const);
      for (const [each, value] of values) {
        this.assign(each, value);
        this.exported.add(each);
      }
      try {
        return body ? await this.call(body, argv.slice(1)) : ((await builtin?.(this, argv.slice(1))) ?? 0);
      } finally {
        for (const [each, value, wasExported] of kept) {
          this.restore(each, value);
          if (!wasExported) this.exported.delete(each);
        }
      }
    });
  }

  private restore(name: string, value: string | undefined): void {
    if (value === undefined) this.variables.delete(name);
    else this.variables.set(name, value);
  }

  private async call(body: Command, args: readonly string[]): Promise<number> {
    const { positional, locals } = this;
    this.positional = args;
    this.locals = new Map();
    try {
      return await this.deeper(() => this.command(body));
    } catch (error) {
      if (error instanceof Leave && error.what === 'return') return error.value;
      throw error;
    } finally {
      for (const [name, value] of this.locals) this.restore(name, value);
      this.positional = positional;
      this.locals = locals;
    }
  }

  private async deeper<T>(work: () => Promise<T>): Promise<T> {
    if (this.depth >= DEEPEST) throw new ShellFault('nested too deeply');
    this.depth += 1;
    try {
      return await work();
    } finally {
      this.depth -= 1;
    }
  }

  private async external(
    argv: readonly string[],
    values: ReadonlyMap<string, string>,
    redirections: readonly Redirection[],
  ): Promise<number> {
    const program = await this.program(argv[0] ?? '', values.get('PATH'));
    if (program instanceof Errno) {
      const isThere = program.code !== 'ENOENT';
      return this.redirected(redirections, async () => {
        await this.complain(`1: ${argv[0] ?? ''}: ${isThere ? program.message : 'not found'}`);
        return isThere ? 126 : 127;
      });
    }
    const child = this.fork((shell) =>
      shell.redirected(redirections, async () => {
        shell.process.become(argv, this.environment(values));
        return program(shell.process, argv.slice(1));
      }),
    );
    return this.inForeground([child]);
  }

  private async program(name: string, path = this.variables.get('PATH') ?? ''): Promise<Program | Errno> {
    return findProgram(this.process, name, path).catch((error: unknown) => {
      if (error instanceof Errno) return error;
      throw error;
    });
  }

  /** `exec`: its redirections last, and a program replaces the shell. */
  private async exec(
    argv: readonly string[],
    values: ReadonlyMap<string, string>,
    redirections: readonly Redirection[],
  ): Promise<number> {
    for (const redirection of redirections) await this.redirect(redirection);
    if (argv.length === 0) return 0;
    const program = await this.program(argv[0] ?? '');
    if (program instanceof Errno) {
      await this.complain(`1: exec: ${argv[0] ?? ''}: ${program.code === 'ENOENT' ? 'not found' : program.message}`);
      throw new Leave('exit', program.code === 'ENOENT' ? 127 : 126);
    }
    const { process } = this;
    this.traps.clear();
    for (const [signal, handler] of process.handlers) if (handler !== 'ignore') process.handlers.delete(signal);
    process.become(argv, this.environment(values));
    throw new Leave('exit', await program(process, argv.slice(1)));
  }

  /** Does `work` with changed descriptors. */
  private async redirected(redirections: readonly Redirection[], work: () => Promise<number>): Promise<number> {
    if (redirections.length === 0) return work();
    const { process } = this;
    const kept = new Map<number, OpenFile | null>();
    try {
      for (const redirection of redirections) {
        for (const descriptor of descriptorsOf(redirection)) {
          if (!kept.has(descriptor)) kept.set(descriptor, process.files.get(descriptor)?.dup() ?? null);
        }
        await this.redirect(redirection);
      }
      return await work();
    } catch (error) {
      if (!(error instanceof CannotRedirect)) throw error;
      await this.complain(error.message);
      return 2;
    } finally {
      for (const [descriptor, file] of kept) await process.setFile(descriptor, file);
    }
  }

  private async redirect(redirection: Redirection): Promise<void> {
    const { operator, target } = redirection;
    const { process } = this;
    const [descriptor = 1, second] = descriptorsOf(redirection);
    if (target.type === 'HereDoc' || operator === '<<<') {
      const text = await textOf(target.type === 'HereDoc' ? target.content : target, this);
      const whole = target.type !== 'HereDoc' ? `${text}\n` : target.stripTabs ? text.replace(/^\t+/gm, '') : text;
      return process.setFile(descriptor, new Text([Buffer.from(whole)]));
    }
    const text = await textOf(target, this);
    const isRead = operator.startsWith('<');
    try {
      if (operator === '<&' || operator === '>&') {
        if (text === '-') {
          await process.setFile(descriptor, null);
          return;
        }
        if (/^\d+$/.test(text)) {
          await process.setFile(descriptor, process.file(Number(text)).dup());
          return;
        }
      }
      const mode =
        operator === '<' ? 'read' : operator === '<>' ? 'update' : operator.endsWith('>>') ? 'append' : 'write';
      const file = await process.open(text, mode);
      await process.setFile(descriptor, file);
      if (second !== undefined) await process.setFile(second, file.dup());
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      throw new CannotRedirect(`1: cannot ${isRead ? 'open' : 'create'} ${text}: ${error.message}`, { cause: error });
    }
  }

  private async runTraps(): Promise<void> {
    for (let signal = this.pending.shift(); signal; signal = this.pending.shift()) {
      const { status } = this;
      const trap = this.traps.get(signal);
      if (trap !== undefined) await this.evaluate(trap);
      this.status = status;
    }
  }
}

/** A redirection failed: the command is not run, and the script goes on, unless the command is `exec`. */
class CannotRedirect extends ShellFault {}

function descriptorsOf({ fd, operator, target }: Redirection): readonly number[] {
  const isNumber =
    target.type === 'Word' && target.parts.every((part) => part.type !== 'Literal' || /^[\d-]+$/.test(part.value));
  if (operator.startsWith('&>') || (operator === '>&' && fd === null && !isNumber)) return [1, 2];
  return [fd ?? (operator.startsWith('<') ? 0 : 1)];
}

/** The program `sh`: runs a text (`-c`), a file or its input, with a prompt if that is a terminal. */
export const sh: Program = async (process, args) => {
  const shell = new Shell(process);
  const words = [...args];
  let [isCommand, isInteractive] = [false, process.files.get(0)?.isTerminal === true];
  while (/^[-+][a-zA-Z-]/.test(words[0] ?? '')) {
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
    [shell.name, shell.positional] = [name, positional];
    return shell.main(script);
  }
  const [path, ...positional] = words;
  shell.positional = positional;
  if (path === undefined) {
    if (isInteractive) return shell.untilExit(() => interactive(shell));
    return shell.untilExit(async () => shell.evaluate(await readScript(process, process.file(0).dup())));
  }
  shell.name = path;
  return shell.untilExit(async () => {
    return shell.evaluate(await readScript(process, await process.open(path, 'read')));
  });
};

function promptOf(shell: Shell): string {
  const { cwd, uid, table } = shell.process;
  const home = shell.variable('HOME') ?? '/';
  const shown = cwd === home || cwd.startsWith(`${home}/`) ? `~${cwd.slice(home.length)}` : cwd;
  const [user, sign] = uid === 0 ? ['root', '#'] : ['user', '$'];
  return shell.variable('PS1') ?? `${user}@${table.options.hostname}:${shown}${sign} `;
}

/** Reads and runs typed lines. */
async function interactive(shell: Shell): Promise<number> {
  const { process } = shell;
  shell.isInteractive = true;
  if (process.terminal) process.terminal.foreground = process.group;
  process.handlers.set('TERM', 'ignore');
  let typed = '';
  process.handlers.set('INT', () => {
    typed = '';
    const prompt = process.files.get(2)?.write(process, Buffer.from(`\n${promptOf(shell)}`));
    prompt?.catch(() => undefined);
  });
  await process.write(2, promptOf(shell));
  for (let data = await process.read(0); data; data = await process.read(0)) {
    typed += data.toString();
    if (!typed.endsWith('\n')) continue;
    if (isUnfinished(typed)) {
      await process.write(2, '> ');
      continue;
    }
    const script = typed;
    typed = '';
    await shell.evaluate(script).catch(async (error: unknown) => {
      if (error instanceof Leave && error.what === 'exit') throw error;
      shell.status = await shell.statusOf(error);
    });
    await process.write(2, promptOf(shell));
  }
  await process.write(2, 'exit\n');
  return shell.status;
}

function isUnfinished(script: string): boolean {
  if (/(?:\\|&&|\|)\s*$/.test(script)) return true;
  try {
    return JSON.stringify(parsed(script)).includes('"terminated":false');
  } catch (error) {
    return error instanceof Error && /got EOF|unexpected EOF/.test(error.message);
  }
}
