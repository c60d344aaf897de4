import { Errno } from '../errno';
import { FileNode, Space } from '../file-tree';
import type { Program } from '../programs/program';
import { become, findProgram } from '../programs/registry';
import { Killed, type Process, type Signal } from '../process';
import { type OpenFile, Pipe, TreeFile } from '../streams';
import { BUILTINS, Leave, type ShellState } from './builtins';
import { ExpansionFault, fieldsOf, matches, patternOf, type Surroundings, textOf } from './expansion';
import { parseScript, SyntaxFault } from './parser';
import type { Chain, Command, List, Pipeline, Redirection, Simple } from './syntax';

/** How deep functions, `eval` and `.` may be in each other. */
const DEEPEST = 200;

/** One shell: its variables, functions and options. A subshell is a copy of it in another process. */
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
  lastBackground: number | null = null;
  /** What `$$` is, in subshells too. */
  mainPid: number;
  readonly pending: Signal[] = [];
  wakeWait: (() => void) | null = null;
  locals: Map<string, string | undefined> | null = null;
  private depth = 0;
  /** How the last `$(…)` of a command without a name ended, which is then its own exit code. */
  private substituted = 0;
  /** Above 0 where a failure is what is asked about, and no reason to end. */
  private asked = 0;

  constructor(readonly process: Process) {
    this.mainPid = process.pid;
    for (const [name, value] of process.env) {
      this.variables.set(name, value);
      this.exported.add(name);
    }
    this.variables.set('PWD', process.cwd);
    this.variables.set('IFS', ' \t\n');
    this.variables.set('PPID', String(process.parent));
  }

  get noGlob(): boolean {
    return this.options.has('f');
  }

  get noUnset(): boolean {
    return this.options.has('u');
  }

  variable(name: string): string | undefined {
    switch (name) {
      case '?':
        return String(this.status);
      case '$':
        return String(this.mainPid);
      case '!':
        return this.lastBackground === null ? undefined : String(this.lastBackground);
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

  /** The environment of what it starts. */
  environment(extra: ReadonlyMap<string, string> = new Map()): Map<string, string> {
    const env = new Map<string, string>();
    for (const name of this.exported) {
      const value = this.variables.get(name);
      if (value !== undefined) env.set(name, value);
    }
    for (const [name, value] of extra) env.set(name, value);
    return env;
  }

  /** Runs a script, and at its end what is trapped there. @returns the exit code */
  async main(script: string): Promise<number> {
    return this.untilExit(() => this.evaluate(script));
  }

  async untilExit(work: () => Promise<number>): Promise<number> {
    let status: number;
    try {
      status = await work();
    } catch (error) {
      status = await this.statusOf(error);
    }
    const trap = this.traps.get('EXIT');
    if (trap === undefined) return status;
    this.traps.delete('EXIT');
    this.status = status;
    try {
      await this.evaluate(trap);
      return status;
    } catch (error) {
      return error instanceof Leave ? error.value : this.statusOf(error);
    }
  }

  /** @returns the exit code that an error ends a shell with. @throws Killed */
  async statusOf(error: unknown): Promise<number> {
    if (error instanceof Killed) throw error;
    if (error instanceof Leave) return error.value;
    if (error instanceof SyntaxFault || error instanceof ExpansionFault || error instanceof Errno) {
      await this.complain(error.message);
      return 2;
    }
    throw error;
  }

  async complain(words: string): Promise<void> {
    await this.process.write(2, `${this.name}: ${words}\n`).catch((error: unknown) => {
      if (error instanceof Killed) throw error;
    });
  }

  /** Runs a text here. */
  async evaluate(script: string): Promise<number> {
    return this.deeper(() => this.list(parseScript(script)));
  }

  async list(list: List): Promise<number> {
    let status = 0;
    for (const chain of list) {
      status = await this.chain(chain);
      await this.runTraps();
    }
    return status;
  }

  private async chain(chain: Chain): Promise<number> {
    if (chain.background) {
      const process = this.fork((shell) => shell.chain({ ...chain, background: false }), { inBackground: true });
      this.lastBackground = process.pid;
      this.jobs.set(process.pid, process);
      if (this.isInteractive) await this.process.write(2, `[${String(this.jobs.size)}] ${String(process.pid)}\n`);
      return (this.status = 0);
    }
    let isAsked = chain.rest.length > 0;
    let status = await this.pipeline(chain.first, isAsked);
    for (const [index, { on, pipeline }] of chain.rest.entries()) {
      if ((status === 0) !== (on === '&&')) continue;
      isAsked = index < chain.rest.length - 1;
      status = await this.pipeline(pipeline, isAsked);
    }
    if (status !== 0 && !isAsked && this.asked === 0 && this.options.has('e')) throw new Leave('exit', status);
    return status;
  }

  private async pipeline({ commands, negated }: Pipeline, isAsked: boolean): Promise<number> {
    const [only] = commands;
    if (isAsked || negated) this.asked += 1;
    try {
      const status = only && commands.length === 1 ? await this.command(only) : await this.piped(commands);
      this.status = negated ? (status === 0 ? 1 : 0) : status;
    } finally {
      if (isAsked || negated) this.asked -= 1;
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

  /** Waits for what was started, which has the terminal meanwhile. @returns the exit code of the last */
  private async inForeground(children: readonly Process[]): Promise<number> {
    const { terminal } = this.process;
    const before = terminal?.foreground ?? 0;
    if (terminal && this.isInteractive && children[0]) terminal.foreground = children[0].group;
    let status = 0;
    try {
      for (const child of children) status = (await this.process.waitFor(child)) ?? 0;
    } finally {
      if (terminal && this.isInteractive) terminal.foreground = before;
    }
    if (this.isInteractive && status === 130) await this.process.write(2, '\n');
    return status;
  }

  /** A subshell. */
  fork(
    main: (shell: Shell) => Promise<number>,
    {
      files = new Map<number, OpenFile>(),
      inBackground = false,
      group,
    }: { files?: Map<number, OpenFile>; inBackground?: boolean; group?: number | undefined } = {},
  ): Process {
    const { process } = this;
    const own = new Map<number, OpenFile>();
    for (const [descriptor, file] of process.files) own.set(descriptor, files.get(descriptor) ?? file.dup());
    for (const [descriptor, file] of files) own.set(descriptor, file);
    const hasInput = files.has(0);
    const child = process.table.start({
      argv: process.argv,
      env: this.environment(),
      cwd: process.cwd,
      uid: process.uid,
      gid: process.gid,
      parent: process.pid,
      group: this.isInteractive ? group : process.group,
      terminal: process.terminal,
      files: own,
      main: async (started) => {
        const shell = this.copy(started);
        if (inBackground && !this.isInteractive) {
          started.handlers.set('INT', 'ignore');
          if (!hasInput) started.setFile(0, started.open('/dev/null', { read: true }));
        }
        return shell.untilExit(() => main(shell));
      },
    });
    for (const [signal, handler] of process.handlers) if (handler === 'ignore') child.handlers.set(signal, handler);
    return child;
  }

  private copy(process: Process): Shell {
    const shell = new Shell(process);
    for (const [name, value] of this.variables) shell.variables.set(name, value);
    for (const name of this.exported) shell.exported.add(name);
    for (const [name, body] of this.functions) shell.functions.set(name, body);
    for (const option of this.options) shell.options.add(option);
    shell.positional = this.positional;
    shell.status = this.status;
    shell.name = this.name;
    shell.lastBackground = this.lastBackground;
    shell.depth = this.depth;
    shell.asked = this.asked;
    shell.mainPid = this.mainPid;
    return shell;
  }

  async substitute(list: List): Promise<string> {
    const buffer = new TreeFile(new FileNode({ mode: 0o600, uid: 0, gid: 0 }, new Space(MOST_SUBSTITUTED)), {
      append: true,
    });
    const { node } = buffer;
    const child = this.fork((shell) => shell.list(list), { files: new Map<number, OpenFile>([[1, buffer]]) });
    this.substituted = (await this.process.waitFor(child)) ?? 0;
    return node.kind === 'file' ? node.text().replace(/\0/g, '').replace(/\n+$/, '') : '';
  }

  async command(command: Command): Promise<number> {
    await this.process.point();
    if (command.is === 'simple') return this.simple(command);
    return this.redirected(command.redirections, () => this.compound(command));
  }

  private async compound(command: Exclude<Command, Simple>): Promise<number> {
    switch (command.is) {
      case 'group':
        return this.list(command.body);
      case 'subshell':
        return this.inForeground([this.fork((shell) => shell.list(command.body))]);
      case 'function':
        this.functions.set(command.name, command.body);
        return 0;
      case 'if':
        for (const { condition, body } of command.branches) if (await this.holds(condition)) return this.list(body);
        return command.otherwise ? this.list(command.otherwise) : 0;
      case 'loop': {
        let status = 0;
        while ((await this.holds(command.condition)) !== command.until) {
          const turn = await this.turn(command.body);
          status = turn.status;
          if (turn.isOver) break;
        }
        return status;
      }
      case 'for': {
        let status = 0;
        const words = command.words ? await this.fieldsOfAll(command.words) : this.positional;
        for (const word of words) {
          this.assign(command.name, word);
          const turn = await this.turn(command.body);
          status = turn.status;
          if (turn.isOver) break;
        }
        return status;
      }
      case 'case': {
        const text = await textOf(command.word, this);
        for (const { patterns, body } of command.branches) {
          for (const pattern of patterns) if (matches(text, await patternOf(pattern, this))) return this.list(body);
        }
        return 0;
      }
    }
  }

  private async holds(condition: List): Promise<boolean> {
    this.asked += 1;
    try {
      return (await this.list(condition)) === 0;
    } finally {
      this.asked -= 1;
    }
  }

  private async turn(body: List): Promise<{ status: number; isOver: boolean }> {
    await this.process.point();
    try {
      return { status: await this.list(body), isOver: false };
    } catch (error) {
      if (!(error instanceof Leave) || (error.what !== 'break' && error.what !== 'continue')) throw error;
      if (error.value > 1) throw new Leave(error.what, error.value - 1);
      return { status: 0, isOver: error.what === 'break' };
    }
  }

  private async fieldsOfAll(words: Simple['words']): Promise<string[]> {
    const all: string[] = [];
    for (const word of words) all.push(...(await fieldsOf(word, this)));
    return all;
  }

  private async simple({ words, assignments, redirections }: Simple): Promise<number> {
    this.substituted = 0;
    const argv = await this.fieldsOfAll(words);
    const values = new Map<string, string>();
    for (const { name, value } of assignments) values.set(name, await textOf(value, this));
    const [name] = argv;
    if (name === undefined) {
      for (const [each, value] of values) this.assign(each, value);
      const status = this.substituted;
      return this.redirected(redirections, () => Promise.resolve(status));
    }
    if (this.options.has('x')) await this.process.write(2, `+ ${argv.join(' ')}\n`);
    const body = this.functions.get(name);
    const builtin = BUILTINS.get(name);
    if (!body && !builtin) return this.external(argv, { values, redirections });
    if (name === 'exec') return this.exec(argv.slice(1), { values, redirections });
    return this.redirected(redirections, async () => {
      const isLasting = builtin?.isSpecial === true;
      const kept = [...values.keys()].map((each) => [each, this.variables.get(each), this.exported.has(each)] as const);
      for (const [each, value] of values) {
        this.assign(each, value);
        if (!isLasting) this.exported.add(each);
      }
      try {
        return body ? await this.call(body, argv.slice(1)) : ((await builtin?.run(this, argv.slice(1))) ?? 0);
      } finally {
        for (const [each, value, wasExported] of isLasting ? [] : kept) {
          if (value === undefined) this.variables.delete(each);
          else this.variables.set(each, value);
          if (!wasExported) this.exported.delete(each);
        }
      }
    });
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
      for (const [name, value] of this.locals) {
        if (value === undefined) this.variables.delete(name);
        else this.variables.set(name, value);
      }
      this.positional = positional;
      this.locals = locals;
    }
  }

  private async deeper<T>(work: () => Promise<T>): Promise<T> {
    if (this.depth >= DEEPEST) throw new ExpansionFault('nested too deeply');
    this.depth += 1;
    try {
      return await work();
    } finally {
      this.depth -= 1;
    }
  }

  private async external(
    argv: readonly string[],
    { values, redirections }: { values: ReadonlyMap<string, string>; redirections: readonly Redirection[] },
  ): Promise<number> {
    let program: Program;
    try {
      program = findProgram(this.process, argv[0] ?? '', values.get('PATH') ?? this.variables.get('PATH') ?? '');
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      return this.redirected(redirections, async () => {
        const isThere = error.errno !== 'ENOENT';
        await this.complain(`1: ${argv[0] ?? ''}: ${isThere ? error.message : 'not found'}`);
        return isThere ? 126 : 127;
      });
    }
    const env = this.environment(values);
    const child = this.fork(async (shell) => {
      const { process } = shell;
      return shell.redirected(redirections, async () => {
        become(process, argv, env);
        return program(process, argv.slice(1));
      });
    });
    return this.inForeground([child]);
  }

  /** `exec`: its redirections stay, and a program takes the shell's place. */
  private async exec(
    argv: readonly string[],
    { values, redirections }: { values: ReadonlyMap<string, string>; redirections: readonly Redirection[] },
  ): Promise<number> {
    for (const redirection of redirections) await this.redirect(redirection);
    if (argv.length === 0) return 0;
    let program: Program;
    try {
      program = findProgram(this.process, argv[0] ?? '', this.variables.get('PATH') ?? '');
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      await this.complain(`1: exec: ${argv[0] ?? ''}: ${error.errno === 'ENOENT' ? 'not found' : error.message}`);
      throw new Leave('exit', error.errno === 'ENOENT' ? 127 : 126);
    }
    const { process } = this;
    this.traps.clear();
    for (const [signal, handler] of process.handlers) if (handler !== 'ignore') process.handlers.delete(signal);
    become(process, argv, this.environment(values));
    throw new Leave('exit', await program(process, argv.slice(1)));
  }

  /** Does `work` with some descriptors changed. */
  async redirected(redirections: readonly Redirection[], work: () => Promise<number>): Promise<number> {
    if (redirections.length === 0) return work();
    const { files } = this.process;
    const kept = new Map<number, OpenFile | null>();
    try {
      for (const redirection of redirections) {
        for (const descriptor of descriptorsOf(redirection)) {
          if (!kept.has(descriptor)) kept.set(descriptor, files.get(descriptor)?.dup() ?? null);
        }
        await this.redirect(redirection);
      }
    } catch (error) {
      for (const [descriptor, file] of kept) this.process.setFile(descriptor, file);
      if (!(error instanceof Errno)) throw error;
      await this.complain(error.message);
      return 2;
    }
    try {
      return await work();
    } finally {
      for (const [descriptor, file] of kept) this.process.setFile(descriptor, file);
    }
  }

  private async redirect(redirection: Redirection): Promise<void> {
    const { operator, target } = redirection;
    const { process } = this;
    const text = await textOf(target, this);
    const [descriptor = 1] = descriptorsOf(redirection);
    if (operator === '<<') {
      const node = new FileNode({ mode: 0o600, uid: 0, gid: 0 }, new Space(MOST_SUBSTITUTED));
      node.write(0, Buffer.from(text, 'latin1'));
      process.setFile(descriptor, new TreeFile(node));
      return;
    }
    if (operator === '<&' || operator === '>&') {
      if (text === '-') process.setFile(descriptor, null);
      else if (Number(text) !== descriptor) process.setFile(descriptor, process.file(Number(text)).dup());
      return;
    }
    const isRead = operator === '<' || operator === '<>';
    try {
      const file = process.open(text, {
        read: isRead,
        create: operator !== '<',
        truncate: operator === '>' || operator === '>|' || operator === '&>',
        append: operator === '>>',
      });
      process.setFile(descriptor, file);
      if (operator === '&>') process.setFile(2, file.dup());
    } catch (error) {
      if (error instanceof Errno)
        await this.complain(`1: cannot ${isRead ? 'open' : 'create'} ${text}: ${error.message}`);
      throw error;
    }
  }

  /** Runs what is trapped for the signals that came. */
  async runTraps(): Promise<void> {
    for (let signal = this.pending.shift(); signal; signal = this.pending.shift()) {
      const { status } = this;
      const trap = this.traps.get(signal);
      if (trap !== undefined) await this.evaluate(trap);
      this.status = status;
    }
  }
}

/** What the shell holds itself of outputs and texts, in bytes. */
const MOST_SUBSTITUTED = 16 * 1024 * 1024;

function descriptorsOf({ descriptor, operator }: Redirection): number[] {
  if (operator === '&>') return [1, 2];
  return [descriptor ?? (operator.startsWith('<') ? 0 : 1)];
}
