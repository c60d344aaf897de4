import { posix } from 'node:path';
import { parseArgs } from 'node:util';
import { BUILTINS } from './builtins';
import { Errno, errnoOf, SIMULATED } from './files';
import { findPath, findProgram, LIBRARY, PROGRAMS } from './library';
import { type Process, type Program, signalOf } from './process';
import { Shell, sh } from './shell';
import { type OpenFile, RegularFile } from './streams';
import { userId, userName } from './users';

const MB = 2 ** 20;

const say = async (process: Process, text: string): Promise<number> => {
  await process.write(1, `${text}\n`);
  return 0;
};

const fail = async (process: Process, words: string, status = 1): Promise<number> => {
  await process.write(2, `${words}\n`);
  return status;
};

/** @param values letters of the options that have a value */
function optionsOf(args: readonly string[], values = ''): { flags: Record<string, unknown>; operands: string[] } {
  const options = Object.fromEntries(
    values.split('').map((letter) => [letter, { type: 'string', short: letter } as const]),
  );
  const parsed = parseArgs({ args: [...args], options, strict: false, allowPositionals: true });
  return { flags: parsed.values, operands: parsed.positionals };
}

function valueIn(flags: Record<string, unknown>, letter: string): string | undefined {
  const value = flags[letter];
  return typeof value === 'string' ? value : undefined;
}

/** Copies an input to the output. @returns once `most` bytes are copied, or at its end */
async function pour(process: Process, file: OpenFile, most = Number.POSITIVE_INFINITY): Promise<void> {
  for (let left = most; left > 0;) {
    const data = await file.read(process, Math.min(left, 65_536));
    if (!data) return;
    left -= data.length;
    await process.write(1, data);
  }
}

/** A program that does something with each of its files, or with its input. */
async function withInputs(
  process: Process,
  operands: readonly string[],
  work: (file: OpenFile) => Promise<void>,
): Promise<number> {
  let status = 0;
  for (const operand of operands.length === 0 ? ['-'] : operands) {
    try {
      const file = operand === '-' ? process.file(0).dup() : await process.open(operand, 'read');
      try {
        await work(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      status = await fail(process, `${posix.basename(process.argv[0] ?? '')}: ${operand}: ${error.message}`);
    }
  }
  return status;
}

const cat: Program = (process, args) =>
  withInputs(
    process,
    args.filter((arg) => arg === '-' || !arg.startsWith('-')),
    (file) => pour(process, file),
  );

const head: Program = (process, args) => {
  const { flags, operands } = optionsOf(
    args.map((arg) => arg.replace(/^-(\d+)$/, '-n$1')),
    'nc',
  );
  return withInputs(process, operands, async (file) => {
    if (flags['c'] !== undefined) return pour(process, file, Number(flags['c']));
    let lines = Number(flags['n'] ?? 10);
    while (lines > 0) {
      const data = await file.read(process, 65_536);
      if (!data) return;
      let end = 0;
      while (lines > 0 && end < data.length) {
        const next = data.indexOf(10, end);
        end = next < 0 ? data.length : next + 1;
        if (next >= 0) lines -= 1;
      }
      await process.write(1, data.subarray(0, end));
    }
  });
};

const tail: Program = (process, args) => {
  const { flags, operands } = optionsOf(
    args.map((arg) => arg.replace(/^-(\d+)$/, '-n$1')),
    'nc',
  );
  const isFollowed = flags['f'] === true || flags['F'] === true;
  return withInputs(process, operands, async (file) => {
    let kept = Buffer.alloc(0);
    for (let data = await file.read(process, 65_536); data; data = await file.read(process, 65_536)) {
      await process.point();
      kept = Buffer.concat([kept, data]).subarray(-64 * MB);
    }
    const lines = kept.toString('latin1').split(/(?<=\n)/);
    const [count, bytes] = [valueIn(flags, 'n') ?? '10', Number(flags['c'] ?? 0)];
    const from = count.startsWith('+') ? Number(count) - 1 : Math.max(0, lines.length - Number(count));
    const shown = Buffer.from(lines.slice(from).join(''), 'latin1');
    await process.write(1, flags['c'] === undefined ? shown : bytes === 0 ? '' : kept.subarray(-bytes));
    while (isFollowed) {
      await process.sleep(200);
      await pour(process, file);
    }
  });
};

/** With `bs`, `skip`, `count`, `seek`, `if` and `of`. */
const dd: Program = async (process, args) => {
  const given = new Map(args.map((arg) => [arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)]));
  const bytes = (name: string): number => Number(given.get(name) ?? 0) * Number(given.get('bs') ?? 512);
  const [from, to] = [given.get('if'), given.get('of')];
  const input = from === undefined ? process.file(0).dup() : await process.open(from, 'read');
  if (input instanceof RegularFile) input.skip(bytes('skip'));
  if (to !== undefined) {
    const content = await process.fs.readFileBuffer(process.resolve(to)).catch(() => new Uint8Array());
    await process.fs.writeFile(process.resolve(to), content.slice(0, bytes('seek')));
    await process.setFile(1, await process.open(to, 'append'));
  }
  await pour(process, input, given.has('count') ? bytes('count') : undefined);
  await input.close();
  return 0;
};

/** That of the library follows symbolic links. */
const rm: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const recursive = flags['r'] === true || flags['R'] === true;
  let status = 0;
  for (const operand of operands) {
    const path = process.resolve(operand);
    const found = await process.fs.lstat(path).catch(() => null);
    if (!found && flags['f'] === true) continue;
    const why = !found ? 'No such file or directory' : found.isDirectory && !recursive ? 'Is a directory' : null;
    if (why === null) await process.fs.rm(path, { recursive });
    else status = await fail(process, `rm: cannot remove '${operand}': ${why}`);
  }
  return status;
};

/** `stat -c FORMAT FILE…` */
const stat: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args, 'c');
  const format = valueIn(flags, 'c') ?? '  File: %n\n  Size: %s\t%F\nAccess: (%a/%A)\nModify: %y';
  let status = 0;
  for (const operand of operands) {
    const path = process.resolve(operand);
    const found = await errnoOf(flags['L'] === true ? process.fs.stat(path) : process.fs.lstat(path)).catch(() => null);
    if (!found) {
      status = await fail(process, `stat: cannot statx '${operand}': No such file or directory`);
      continue;
    }
    const { mode, size, mtime, identity = '', isDirectory, isSymbolicLink } = found;
    const letters = 'rwxrwxrwx'
      .split('')
      .map((letter, bit) => ((mode >> (8 - bit)) & 1 ? letter : '-'))
      .join('');
    const texts: Readonly<Record<string, string>> = {
      A: (isDirectory ? 'd' : isSymbolicLink ? 'l' : '-') + letters,
      X: String(Math.floor(mtime.getTime() / 1000)),
      f: ((isDirectory ? 0o040000 : isSymbolicLink ? 0o120000 : 0o100000) | (mode & 0o7777)).toString(16),
      F: isDirectory ? 'directory' : isSymbolicLink ? 'symbolic link' : 'regular file',
      Y: String(Math.floor(mtime.getTime() / 1000)),
      a: (mode & 0o7777).toString(8),
      g: '0',
      i: identity.replace(/\D/g, ''),
      n: operand,
      s: String(size),
      u: '0',
      y: mtime.toISOString().replace('T', ' ').replace('Z', '000000 +0000'),
    };
    await say(
      process,
      format.replace(/%(\w)/g, (all, letter: string) => texts[letter] ?? all),
    );
  }
  return status;
};

const yes: Program = async (process, args) => {
  const lines = `${args.join(' ') || 'y'}\n`.repeat(512);
  for (;;) await process.write(1, lines);
};

const UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

function secondsIn(text: string): number {
  if (text === 'infinity' || text === 'inf') return Number.POSITIVE_INFINITY;
  const [, number, unit = ''] = /^(\d*\.?\d+)([smhd]?)$/.exec(text) ?? [];
  return Number(number) * (UNITS[unit] ?? 1);
}

const sleep: Program = async (process, args) => {
  const seconds = args.reduce((sum, arg) => sum + secondsIn(arg), 0);
  if (args.length === 0 || Number.isNaN(seconds))
    return fail(process, `sleep: invalid time interval '${args.join(' ')}'`);
  await process.sleep(seconds * 1000);
  return 0;
};

/** Continues as another program. */
async function become(process: Process, argv: readonly string[], env = process.env): Promise<number> {
  const own = posix.basename(process.argv[0] ?? '');
  try {
    const program = await findProgram(process, argv[0] ?? '', env.get('PATH') ?? '');
    process.become(argv, env);
    return await program(process, argv.slice(1));
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    return fail(process, `${own}: '${argv[0] ?? ''}': ${error.message}`, error.code === 'ENOENT' ? 127 : 126);
  }
}

function startChild(process: Process, argv: readonly string[], uid = process.uid): Process {
  const files = new Map([...process.files].map(([descriptor, file]) => [descriptor, file.dup()]));
  const { env, cwd, pid: parent, group, terminal, table } = process;
  return table.start({ argv, env, cwd, uid, parent, group, terminal, files, main: (child) => become(child, argv) });
}

const env: Program = async (process, args) => {
  const words = [...args];
  const variables = new Map(words[0] === '-i' ? [] : process.env);
  if (words[0] === '-i') words.shift();
  while (words[0] === '-u' || /^[^=]+=/.test(words[0] ?? '')) {
    const word = words.shift() ?? '';
    if (word === '-u') variables.delete(words.shift() ?? '');
    else variables.set(word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1));
  }
  if (words.length > 0) return become(process, words, variables);
  await process.write(1, [...variables].map(([name, value]) => `${name}=${value}\n`).join(''));
  return 0;
};

const id: Program = (process, args) => {
  const { flags } = optionsOf(args);
  const [uid, name] = [String(process.uid), userName(process.uid)];
  if (flags['u'] === true || flags['g'] === true) return say(process, flags['n'] === true ? name : uid);
  return say(process, `uid=${uid}(${name}) gid=${uid}(${name}) groups=${uid}(${name})`);
};

const uname: Program = (process, args) => {
  const { hostname } = process.table.options;
  const all = { s: 'Linux', n: hostname, r: '6.1.0-simulated', v: '#1 SMP', m: 'x86_64', o: 'GNU/Linux' };
  const { flags } = optionsOf(args);
  const wanted = Object.entries(all).filter(([key]) => flags['a'] === true || flags[key] === true);
  return say(process, wanted.map(([, value]) => value).join(' ') || all.s);
};

const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 19);

const ps: Program = async (process, args) => {
  // As with a real one, a shell reports the end of a command no later than the process disappears.
  await process.sleep(5);
  const isFull = /[fFu]/.test(args.join(''));
  const init = { pid: 1, parent: 0, uid: 0, terminal: null, state: 'S', cpuMs: 0, argv: ['sleep', 'infinity'] };
  const lines = [init, ...process.table.all].map(({ pid, parent, uid, terminal, cpuMs, argv, state }) => {
    const user = isFull
      ? [userName(uid).padEnd(8), String(pid).padStart(7), String(parent).padStart(7)]
      : [String(pid).padStart(7)];
    const command = argv.join(' ').replace(/\s+/g, ' ');
    return [...user, (terminal ? 'pts/0' : '?').padEnd(8), state, clock(cpuMs), command].join(' ');
  });
  const title = isFull ? 'UID          PID    PPID TTY      S     TIME CMD' : '    PID TTY      S     TIME CMD';
  return say(process, [title, ...lines].join('\n'));
};

const pgrep =
  (isKill: boolean): Program =>
  async (process, args) => {
    const { flags, operands } = optionsOf(args.filter((arg) => !isKill || !/^-[A-Z0-9]+$/.test(arg)));
    const signal = signalOf(args.find((arg) => /^-[A-Z0-9]+$/.test(arg))?.slice(1) ?? 'TERM') ?? 'TERM';
    const pattern = new RegExp(operands[0] ?? '');
    const found = process.table.all.filter((each) => {
      const text = flags['f'] === true ? each.argv.join(' ') : posix.basename(each.argv[0] ?? '');
      return each !== process && pattern.test(text);
    });
    for (const each of found) {
      if (isKill) each.signal(signal);
      else await say(process, String(each.pid));
    }
    return found.length > 0 ? 0 : 1;
  };

const free: Program = (process, args) => {
  const { memoryBytes: used, options } = process.table;
  const unit = args.includes('-m') ? MB : 1024;
  const columns = [options.memoryBytes, used, options.memoryBytes - used];
  const sizes = columns.map((bytes) => String(Math.round(bytes / unit)).padStart(12)).join('');
  return say(process, `               total        used        free\nMem:    ${sizes}`);
};

const timeout: Program = async (process, args) => {
  const { flags } = optionsOf(args.slice(0, 2), 'sk');
  const words = args.slice(args[0] === '-s' || args[0] === '-k' ? 2 : (args[0] ?? '').startsWith('-') ? 1 : 0);
  const seconds = secondsIn(words[0] ?? '');
  if (Number.isNaN(seconds)) return fail(process, `timeout: invalid time interval '${words[0] ?? ''}'`, 125);
  const child = startChild(process, words.slice(1));
  const late = { is: false };
  const end = (): void => {
    late.is = true;
    child.signal(signalOf(valueIn(flags, 's') ?? 'TERM') ?? 'TERM');
  };
  const timer = setTimeout(end, Math.min(seconds * 1000, 2 ** 31 - 1)).unref();
  const status = await process.until(child.ended).finally(() => clearTimeout(timer));
  return late.is ? 124 : status;
};

/** `su -s SHELL USER -c COMMAND`, for root. */
const su: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args, 'sc');
  const uid = userId(operands[0] ?? 'root');
  if (uid === null) return fail(process, `su: user ${operands[0] ?? ''} does not exist`);
  if (process.uid !== 0) return fail(process, 'su: Authentication failure');
  const script = valueIn(flags, 'c');
  const argv = [valueIn(flags, 's') ?? '/bin/sh', ...(script === undefined ? [] : ['-c', script])];
  return process.until(startChild(process, argv, uid).ended);
};

const which: Program = async (process, args) => {
  let status = 0;
  for (const name of args) {
    const path = await findPath(process, name, process.env.get('PATH') ?? '');
    if (path === null) status = 1;
    else await say(process, path);
  }
  return status;
};

const stty: Program = async (process, args) => {
  const { terminal } = process;
  if (!terminal || process.files.get(0)?.isTerminal !== true) {
    return fail(process, "stty: 'standard input': Inappropriate ioctl for device");
  }
  const { columns, rows } = terminal.size;
  for (const arg of args) {
    if (arg === 'size') await say(process, `${String(rows)} ${String(columns)}`);
    const isOff = arg.startsWith('-') || arg === 'raw';
    if (/^-?(?:raw|icanon|sane|cooked)$/.test(arg)) terminal.canonical = !isOff;
    if (/^-?(?:raw|echo|sane)$/.test(arg)) terminal.echo = !isOff;
  }
  const isShown = args.length === 0 || args[0] === '-a';
  return isShown ? say(process, `speed 38400 baud; rows ${String(rows)}; columns ${String(columns)};`) : 0;
};

/** `nc -l -p 8080`: no connection comes, but a readiness check finds the port open. */
const nc: Program = async (process, args) => {
  const port = Number(args.findLast((arg) => /^\d+$/.test(arg)));
  if (!args.some((arg) => /^-[a-z]*l/.test(arg)) || !(port > 0 && port < 65_536)) {
    return fail(process, 'nc: there is no network in a simulated container');
  }
  if (!process.table.setPort(port, true)) return fail(process, 'nc: Address already in use');
  await process.sleep(Number.POSITIVE_INFINITY).finally(() => process.table.setPort(port, false));
  return 0;
};

const unreachable: Program = (process, args) => {
  const host = args.find((arg) => !arg.startsWith('-')) ?? '';
  const name = posix.basename(process.argv[0] ?? '');
  return fail(process, `${name}: cannot resolve ${host}: there is no network in a simulated container`, 6);
};

/** What packages have beside a program of their own name. */
const PROGRAMS_OF: Readonly<Record<string, readonly string[]>> = {
  'ansible-core': ['ansible', 'ansible-playbook'],
  'golang-go': ['go', 'gofmt'],
  neovim: ['nvim'],
  nodejs: ['node'],
  npm: ['npm', 'npx'],
  'openssh-client': ['ssh', 'scp', 'ssh-keygen'],
  'python3-pip': ['pip3', 'pip'],
  ripgrep: ['rg'],
};
const WITHOUT_PROGRAMS = /^(?:ca-certificates|lib.*|.*-dev|python3-venv)$/;

/** How long a simulated package takes to be downloaded, and to be unpacked, in milliseconds. */
const FETCH_MS = 700;
const UNPACK_MS = 500;

const aptGet: Program = async (process, args) => {
  const words = args.filter((arg, index) => !arg.startsWith('-') && !/^-[ot]$/.test(args[index - 1] ?? ''));
  const [verb = '', ...packages] = words;
  const { pace } = process.table.options;
  const descriptor = Number(args.find((arg) => arg.startsWith('APT::Status-Fd='))?.split('=')[1] ?? 0);
  const tell = async (line: string): Promise<void> => {
    if (descriptor > 0 && process.files.has(descriptor)) await process.write(descriptor, `${line}\n`);
  };
  if (process.uid !== 0 && verb !== '') {
    return fail(process, 'E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)', 100);
  }
  if (verb === 'update') {
    await tell('dlstatus:1:50.0:Retrieving file 1 of 2');
    await process.sleep(FETCH_MS * pace);
    await tell('dlstatus:2:100.0:Retrieving file 2 of 2');
    return say(process, 'Hit:1 http://simulated.invalid/debian trixie InRelease\nReading package lists...');
  }
  if (verb !== 'install') return 0;
  await say(
    process,
    `Reading package lists...\nThe following NEW packages will be installed:\n  ${packages.join(' ')}`,
  );
  const unknown = packages.find((name) => !/^[a-z0-9][a-z0-9+.-]+$/.test(name) || name.startsWith('no-such'));
  if (unknown !== undefined) return fail(process, `E: Unable to locate package ${unknown}`, 100);
  const percent = (index: number): string => ((100 * index) / packages.length).toFixed(1);
  for (const [index, name] of packages.entries()) {
    await tell(`dlstatus:${String(index + 1)}:${percent(index)}:Retrieving ${name}`);
    await process.sleep(FETCH_MS * pace);
  }
  for (const [index, name] of packages.entries()) {
    await tell(`pmstatus:${name}:${percent(index)}:Installing ${name} (simulated)`);
    await say(process, `Setting up ${name} (simulated) ...`);
    await process.sleep(UNPACK_MS * pace);
    for (const program of PROGRAMS_OF[name] ?? (WITHOUT_PROGRAMS.test(name) ? [] : [name])) {
      const path = `/usr/bin/${program}`;
      if (!(await process.fs.exists(path))) process.fs.writeFileSync(path, SIMULATED, undefined, { mode: 0o755 });
    }
  }
  await tell('pmstatus:dpkg-exec:100.0:Running dpkg');
  return 0;
};

const ofShell = (name: string): [string, Program] => [
  name,
  (process, args) => {
    const shell = new Shell(process);
    return shell.untilExit(async () => (await BUILTINS.get(name)?.(shell, args)) ?? 0);
  },
];

const OWN: Readonly<Record<string, Program>> = {
  ...Object.fromEntries(['[', 'echo', 'kill', 'pwd', 'test', 'true', 'false'].map(ofShell)),
  ...Object.fromEntries(['sh', 'bash', 'dash'].map((name) => [name, sh])),
  ...Object.fromEntries(['curl', 'wget', 'ping'].map((name) => [name, unreachable])),
  ...Object.fromEntries(['chown', 'chgrp', 'dpkg', 'sync'].map((name): [string, Program] => [name, () => 0])),
  apt: aptGet,
  'apt-get': aptGet,
  arch: (process) => say(process, 'x86_64'),
  cat,
  dd,
  env,
  free,
  head,
  hostname: (process) => say(process, process.table.options.hostname),
  id,
  mktemp: async (process, args) => {
    const path = `/tmp/tmp.${Math.random().toString(36).slice(2, 12)}`;
    if (args.includes('-d')) await process.fs.mkdir(path);
    else await process.fs.writeFile(path, '');
    return say(process, path);
  },
  nc,
  nohup: (process, args) => {
    process.handlers.set('HUP', 'ignore');
    return become(process, args);
  },
  nproc: (process) => say(process, '1'),
  pgrep: pgrep(false),
  pkill: pgrep(true),
  printenv: (process, [name]) => {
    if (name === undefined) return env(process, []);
    const value = process.env.get(name);
    return value === undefined ? 1 : say(process, value);
  },
  ps,
  rm,
  setsid: (process, args) => {
    process.group = process.pid;
    return become(process, args);
  },
  sleep,
  stat,
  stty,
  su,
  tail,
  timeout,
  tput: (process, [what = '']) => {
    const { columns, rows } = process.terminal?.size ?? { columns: 80, rows: 24 };
    return what === 'cols' || what === 'lines' ? say(process, String(what === 'cols' ? columns : rows)) : 0;
  },
  tty: async (process) => {
    const isTerminal = process.files.get(0)?.isTerminal === true;
    await say(process, isTerminal ? '/dev/pts/0' : 'not a tty');
    return isTerminal ? 0 : 1;
  },
  uname,
  uptime: (process) => {
    const minutes = Math.floor((Date.now() - process.table.startedMs) / 60_000);
    return say(process, ` up ${String(minutes)} min, load average: 0.02, 0.01, 0.00`);
  },
  which,
  whoami: (process) => say(process, userName(process.uid)),
  yes,
};

for (const [name, program] of Object.entries(OWN)) PROGRAMS.set(name, program);

/** The programs of every simulated image. */
export const PROGRAM_NAMES: readonly string[] = [...new Set([...LIBRARY, ...PROGRAMS.keys()])];
