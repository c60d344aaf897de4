import { posix } from 'node:path';
import { Errno } from '../errno';
import type { Process } from '../process';
import { signalOf } from '../process';
import { humanSize } from './files';
import { optionsOf, type Program, usage } from './program';
import { become, findProgram, findPath, startProgram } from './registry';
import { userId, userName } from './users';

const say = async (process: Process, text: string): Promise<number> => {
  await process.write(1, `${text}\n`);
  return 0;
};

const UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

function secondsIn(text: string): number | null {
  if (text === 'infinity' || text === 'inf') return Number.POSITIVE_INFINITY;
  const [, number, unit = ''] = /^(\d*\.?\d+)([smhd]?)$/.exec(text) ?? [];
  return number === undefined ? null : Number(number) * (UNITS[unit] ?? 1);
}

const sleep: Program = async (process, args) => {
  const seconds = args.map(secondsIn);
  if (args.length === 0) return usage(process, 'sleep: missing operand');
  if (seconds.includes(null)) return usage(process, `sleep: invalid time interval '${args.join(' ')}'`);
  await process.sleep(seconds.reduce<number>((sum, each) => sum + (each ?? 0), 0) * 1000);
  return 0;
};

/** Runs what is left of its arguments in its own place. */
async function go(process: Process, argv: readonly string[], env: ReadonlyMap<string, string>): Promise<number> {
  const [name = ''] = argv;
  try {
    const program = findProgram(process, name, env.get('PATH') ?? '');
    const before = process.argv[0] ?? '';
    become(process, argv, env);
    void before;
    return await program(process, argv.slice(1));
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    return usage(
      process,
      `${posix.basename(process.argv[0] ?? '')}: '${name}': ${error.message}`,
      error.errno === 'ENOENT' ? 127 : 126,
    );
  }
}

const env: Program = (process, args) => {
  const { flags } = optionsOf(args.filter((arg) => /^-(i|-ignore-environment)$/.test(arg)));
  const variables = new Map(flags.size > 0 ? [] : process.env);
  const words = args.filter((arg, index) => index > 0 || arg !== '-i');
  while (words[0] === '-u' || /^[^=]+=/.test(words[0] ?? '')) {
    const word = words.shift() ?? '';
    if (word === '-u') variables.delete(words.shift() ?? '');
    else variables.set(word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1));
  }
  if (words.length > 0) return go(process, words, variables);
  return process.write(1, [...variables].map(([name, value]) => `${name}=${value}\n`).join('')).then(() => 0);
};

const printenv: Program = async (process, [name]) => {
  if (name === undefined) return env(process, []);
  const value = process.env.get(name);
  return value === undefined ? 1 : say(process, value);
};

const id: Program = (process, args) => {
  const { flags } = optionsOf(args);
  const { uid, gid } = process;
  if (flags.has('u')) return say(process, flags.has('n') ? userName(uid) : String(uid));
  if (flags.has('g')) return say(process, flags.has('n') ? userName(gid) : String(gid));
  return say(
    process,
    `uid=${String(uid)}(${userName(uid)}) gid=${String(gid)}(${userName(gid)}) groups=${String(gid)}(${userName(gid)})`,
  );
};

const uname: Program = (process, args) => {
  const all = { s: 'Linux', n: process.table.hostname, r: '6.1.0-simulated', v: '#1 SMP', m: 'x86_64', o: 'GNU/Linux' };
  const { flags } = optionsOf(args);
  const wanted = (Object.keys(all) as (keyof typeof all)[]).filter((key) => flags.has('a') || flags.has(key));
  return say(process, (wanted.length > 0 ? wanted : (['s'] as const)).map((key) => all[key]).join(' '));
};

const PLACEHOLDERS: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getUTCFullYear()),
  m: (date) => String(date.getUTCMonth() + 1).padStart(2, '0'),
  d: (date) => String(date.getUTCDate()).padStart(2, '0'),
  H: (date) => String(date.getUTCHours()).padStart(2, '0'),
  M: (date) => String(date.getUTCMinutes()).padStart(2, '0'),
  S: (date) => String(date.getUTCSeconds()).padStart(2, '0'),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  N: (date) => `${String(date.getUTCMilliseconds()).padStart(3, '0')}000000`,
  F: (date) => date.toISOString().slice(0, 10),
  T: (date) => date.toISOString().slice(11, 19),
  Z: () => 'UTC',
};

const date: Program = (process, args) => {
  const now = new Date();
  const format = args.find((arg) => arg.startsWith('+'))?.slice(1);
  if (format !== undefined)
    return say(
      process,
      format.replace(/%([a-zA-Z])/g, (whole, letter: string) => PLACEHOLDERS[letter]?.(now) ?? whole),
    );
  if (args.some((arg) => arg.startsWith('-I'))) return say(process, now.toISOString().slice(0, 10));
  const [weekday = '', day = '', month = '', year = '', time = ''] = now.toUTCString().replace(',', '').split(' ');
  return say(process, `${weekday} ${month} ${day} ${time} UTC ${year}`);
};

const clock = (ms: number): string => {
  const seconds = Math.floor(ms / 1000);
  return [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
};

const ps: Program = async (process, args) => {
  const options = args.join('');
  const isFull = /[fFu]/.test(options);
  const init = {
    pid: 1,
    parent: 0,
    uid: 0,
    terminal: null,
    state: 'S' as const,
    cpuMs: 0,
    argv: ['/sbin/docker-init', '--', 'sleep', 'infinity'],
  };
  const shown = [init, ...process.table.all];
  const lines = shown.map(({ pid, parent, uid, terminal, cpuMs, argv, state }) => {
    const tty = (terminal ? 'pts/0' : '?').padEnd(8);
    const command = argv.join(' ').replace(/[^\x20-\x7e\x80-\xff]+/g, ' ');
    if (!isFull) return `${String(pid).padStart(7)} ${tty} ${state} ${clock(cpuMs)} ${command}`;
    return `${userName(uid).padEnd(8)} ${String(pid).padStart(7)} ${String(parent).padStart(7)} ${tty} ${state} ${clock(cpuMs)} ${command}`;
  });
  const head = isFull ? 'UID          PID    PPID TTY      S     TIME CMD' : '    PID TTY      S     TIME CMD';
  await process.write(1, `${[head, ...lines].join('\n')}\n`);
  return 0;
};

const pgrep =
  (signal: boolean): Program =>
  async (process, args) => {
    const { flags, operands } = optionsOf(args.filter((arg) => !signal || !/^-(?:[A-Z0-9]+)$/.test(arg)));
    const named = signalOf(args.find((arg) => /^-[A-Z0-9]+$/.test(arg))?.slice(1) ?? 'TERM') ?? 'TERM';
    const pattern = new RegExp(operands[0] ?? '');
    const found = process.table.all.filter((each) => {
      return (
        each !== process && pattern.test(flags.has('f') ? each.argv.join(' ') : posix.basename(each.argv[0] ?? ''))
      );
    });
    for (const each of found) {
      if (signal) each.signal(named);
      else await process.write(1, `${String(each.pid)}\n`);
    }
    return found.length > 0 ? 0 : 1;
  };

const free: Program = (process, args) => {
  const limit = Number(process.env.get('SIMULATED_MEMORY_MB') ?? 256) * 2 ** 20;
  const used = process.table.memoryBytes;
  const size = (bytes: number): string =>
    (args.includes('-h')
      ? humanSize(bytes)
      : args.includes('-m')
        ? String(Math.round(bytes / 2 ** 20))
        : String(Math.round(bytes / 1024))
    ).padStart(12);
  return say(
    process,
    `               total        used        free\nMem:    ${size(process.table.memoryLimit || limit)}${size(used)}${size((process.table.memoryLimit || limit) - used)}`,
  );
};

const timeout: Program = async (process, args) => {
  const { values } = optionsOf(args.slice(0, 2), { taking: 'sk' });
  const words = args.filter((arg, index) => !(arg.startsWith('-') && index < 2));
  const seconds = secondsIn(words[0] ?? '');
  if (seconds === null) return usage(process, `timeout: invalid time interval '${words[0] ?? ''}'`, 125);
  try {
    const child = startProgram(process, words.slice(1));
    const late = { is: false };
    const timer = setTimeout(() => {
      late.is = true;
      child.signal(signalOf(values.get('s') ?? 'TERM') ?? 'TERM');
    }, seconds * 1000).unref();
    const status = (await process.waitFor(child)) ?? 0;
    clearTimeout(timer);
    return late.is ? 124 : status;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    return usage(process, `timeout: failed to run command '${words[1] ?? ''}': ${error.message}`, 127);
  }
};

const setsid: Program = (process, args) => {
  process.group = process.pid;
  return go(process, args, process.env);
};

const nohup: Program = (process, args) => {
  process.handlers.set('HUP', 'ignore');
  return go(process, args, process.env);
};

/** `su -s SHELL USER -c COMMAND`, for root. */
const su: Program = async (process, args) => {
  const { values, operands } = optionsOf(args, { taking: 'sc', long: { shell: 's', command: 'c' } });
  const uid = userId(operands[0] ?? 'root');
  if (uid === null) return usage(process, `su: user ${operands[0] ?? ''} does not exist`);
  if (process.uid !== 0) return usage(process, 'su: Authentication failure');
  const shell = values.get('s') ?? '/bin/sh';
  const argv = values.has('c') ? [shell, '-c', values.get('c') ?? ''] : [shell];
  const child = startProgram(process, argv, { uid });
  return (await process.waitFor(child)) ?? 0;
};

const which: Program = async (process, args) => {
  let status = 0;
  for (const name of args) {
    const path = findPath(process, name, process.env.get('PATH') ?? '');
    if (path === null) status = 1;
    else await process.write(1, `${path}\n`);
  }
  return status;
};

const stty: Program = async (process, args) => {
  const terminal = process.files.get(0)?.terminal;
  if (!terminal) return usage(process, "stty: 'standard input': Inappropriate ioctl for device");
  const { columns, rows } = terminal.size;
  for (const arg of args) {
    if (arg === 'size') await say(process, `${String(rows)} ${String(columns)}`);
    else if (arg === 'raw' || arg === '-icanon') terminal.canonical = false;
    else if (arg === 'sane' || arg === 'icanon' || arg === 'cooked') terminal.canonical = true;
    if (arg === '-echo' || arg === 'raw') terminal.echo = false;
    else if (arg === 'echo' || arg === 'sane') terminal.echo = true;
  }
  if (args.length === 0 || args[0] === '-a')
    return say(process, `speed 38400 baud; rows ${String(rows)}; columns ${String(columns)};`);
  return 0;
};

const tput: Program = (process, [what]) => {
  const { columns, rows } = process.terminal?.size ?? { columns: 80, rows: 24 };
  return what === 'cols' ? say(process, String(columns)) : what === 'lines' ? say(process, String(rows)) : 0;
};

const tty: Program = async (process) => {
  const isTerminal = process.files.get(0)?.terminal;
  await say(process, isTerminal ? '/dev/pts/0' : 'not a tty');
  return isTerminal ? 0 : 1;
};

const getent: Program = async (process, [database, name = '']) => {
  if (database === 'passwd') {
    const text = process.fs.node(process, '/etc/passwd');
    const line =
      text.kind === 'file'
        ? text
            .text()
            .split('\n')
            .find((each) => each.startsWith(`${name}:`))
        : undefined;
    return line === undefined ? 2 : say(process, line);
  }
  return 2;
};

/** What needs a network, which is not simulated. */
const unreachable =
  (words: (host: string) => string, status: number): Program =>
  (process, args) =>
    usage(process, words(args.find((arg) => !arg.startsWith('-')) ?? ''), status);

/** Programs about processes and the machine. */
/** `nc -l -p 8080`: nothing comes, but the port is open, as what waits until a program is ready asks. */
const nc: Program = async (process, args) => {
  const port = Number(args.findLast((arg) => /^\d+$/.test(arg)));
  if (!args.some((arg) => /^-[a-z]*l/.test(arg)) || !(port > 0 && port < 65_536)) {
    return usage(process, 'nc: there is no network in a simulated container');
  }
  const { ports } = process.table;
  if (ports.has(port)) return usage(process, 'nc: Address already in use');
  ports.add(port);
  try {
    await process.sleep(Number.POSITIVE_INFINITY);
    return 0;
  } finally {
    ports.delete(port);
  }
};

export const SYSTEM_PROGRAMS: Readonly<Record<string, Program>> = {
  arch: (process) => say(process, 'x86_64'),
  basename: (process, [path = '', suffix = '']) => say(process, posix.basename(path, suffix)),
  clear: async (process) => (await process.write(1, '\x1b[H\x1b[2J'), 0),
  curl: unreachable(
    (host) => `curl: (6) Could not resolve host: ${host} (there is no network in a simulated container)`,
    6,
  ),
  date,
  dirname: (process, [path = '']) => say(process, posix.dirname(path)),
  env,
  false: () => 1,
  free,
  getent,
  hostname: (process) => say(process, process.table.hostname),
  id,
  nc,
  nohup,
  nproc: (process) => say(process, '1'),
  pgrep: pgrep(false),
  pkill: pgrep(true),
  printenv,
  ps,
  setsid,
  sleep,
  stty,
  su,
  sync: () => 0,
  timeout,
  tput,
  true: () => 0,
  tty,
  uname,
  uptime: (process) =>
    say(process, ` up ${String(Math.floor(process.table.uptimeMs / 60_000))} min, load average: 0.02, 0.01, 0.00`),
  which,
  whoami: (process) => say(process, userName(process.uid)),
};
