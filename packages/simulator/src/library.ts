import { Bash, defineCommand, getCommandNames, stdoutAsBytes } from 'just-bash';
import { posix } from 'node:path';
import { ShellFault } from './arithmetic';
import { Errno, SIMULATED } from './files';
import type { Process, ProcessTable, Program } from './process';
import { type OpenFile, Text } from './streams';

/** The programs of the simulator itself, which precede those of `just-bash`; `programs.ts` adds them. */
export const PROGRAMS = new Map<string, Program>();
/** The programs of `just-bash`. They read their whole input, and then write their whole output. */
export const LIBRARY: ReadonlySet<string> = new Set(getCommandNames());

const LIMITS = { maxExecutionTimeMs: 600_000, maxOutputSize: 16 * 2 ** 20, maxInputBytes: 64 * 2 ** 20 };
/** The variable by which a program of the simulator that a library program starts finds its parent. */
const PARENT = 'SIMULATED_PARENT';

/** Programs that read their input although they have arguments, or fewer than so many arguments are files. */
const INPUT_UNLESS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(['awk', 'egrep', 'fgrep', 'grep', 'jq', 'rg', 'sed', 'xan', 'yq'].map((name) => [name, 2])),
  ...Object.fromEntries(
    ['base64', 'column', 'comm', 'cut', 'diff', 'expand', 'fold', 'gunzip', 'gzip'].map((name) => [name, 1]),
  ),
  ...Object.fromEntries(
    ['join', 'md5sum', 'nl', 'od', 'paste', 'rev', 'sha1sum', 'sha256sum', 'sort'].map((name) => [name, 1]),
  ),
  ...Object.fromEntries(['split', 'strings', 'tac', 'unexpand', 'uniq', 'wc', 'zcat'].map((name) => [name, 1])),
  ...Object.fromEntries(['html-to-markdown', 'sqlite3', 'tee', 'tr', 'xargs'].map((name) => [name, Infinity])),
};

function readsInput(name: string, args: readonly string[]): boolean {
  if (name === 'tar') return /^-?[a-zA-Z]*[xt]/.test(args[0] ?? '') && args.includes('-');
  if (args.includes('-')) return true;
  const files = args.filter((arg) => !arg.startsWith('-')).length + args.filter((arg) => /^-[ef]$/.test(arg)).length;
  return files < (INPUT_UNLESS[name] ?? 0);
}

const shells = new WeakMap<ProcessTable, Bash>();

/** The library's shell for the programs of one container. */
function shellOf(table: ProcessTable): Bash {
  const known = shells.get(table);
  if (known) return known;
  const customCommands = [...PROGRAMS].map(([name, program]) =>
    defineCommand(name, async (args, { env, cwd, stdin }) => {
      const parent = table.get(Number(env.get(PARENT)));
      const [input, stdout, stderr] = [
        new Text([Buffer.from(stdin as unknown as string, 'latin1')]),
        new Text(),
        new Text(),
      ];
      const files = new Map<number, OpenFile>([input, stdout, stderr].entries());
      const child = table.start({
        argv: [name, ...args],
        env,
        cwd,
        uid: parent?.uid ?? 0,
        parent: parent?.pid ?? 1,
        group: parent?.group,
        terminal: null,
        files,
        main: program,
      });
      const exitCode = await child.ended;
      return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode };
    }),
  );
  // Without the methods by which the library would add its own layout.
  const fs = new Proxy(table.files, {
    get: (files, key) => {
      const value: unknown = key === 'mkdirSync' || key === 'writeFileSync' ? undefined : Reflect.get(files, key);
      return typeof value === 'function' ? (value.bind(files) as unknown) : value;
    },
  });
  // Its defence in depth replaces globals of the whole process, the server's among them.
  const shell = new Bash({ fs, customCommands, executionLimits: LIMITS, defenseInDepth: false });
  shells.set(table, shell);
  return shell;
}

/** Options that the library does not know, or names differently. */
const OPTIONS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  cp: { '-a': ['-rp'], '-alf': ['-r'] },
  du: { '-skx': ['-s'] },
  mkdir: { '-m': [], '700': [] },
  mv: { '-T': [] },
  tar: { '-xof': ['-xf'] },
};

function adapted(program: string, arg: string): readonly string[] {
  const octal = (_all: string, code: string): string => String.fromCharCode(Number.parseInt(code, 8));
  if (program === 'tr') return [arg.replace(/\\([0-7]{1,3})/g, octal)];
  // The library wants the value apart.
  const [, option = '', value = ''] = /^(-[nPI])(.+)$/.exec(program === 'xargs' ? arg : '') ?? [];
  if (value !== '') return [option, value];
  return OPTIONS[program]?.[arg] ?? [arg];
}

/** Runs a program of the library in a process. @returns its exit code */
export async function runLibrary(name: string, process: Process, args: readonly string[]): Promise<number> {
  const stdin = readsInput(name, args) ? (await readAll(process, process.file(0))).toString('latin1') : '';
  const running = shellOf(process.table).exec(name, {
    args: args.flatMap((arg) => adapted(name, arg)),
    stdin,
    stdinKind: 'bytes',
    cwd: process.cwd,
    env: { ...Object.fromEntries(process.env), PATH: '/usr/bin', [PARENT]: String(process.pid) },
    replaceEnv: true,
    signal: process.killed.signal,
  });
  const result = await process.until(running);
  await process.write(1, Buffer.from(stdoutAsBytes(result) as unknown as string, 'latin1'));
  if (result.stderr !== '') await process.write(2, result.stderr);
  return result.exitCode;
}

/** How much input a program may read at once, in bytes. */
const MOST_INPUT = LIMITS.maxInputBytes;

async function readAll(process: Process, file: OpenFile, most = MOST_INPUT): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for (let data = await file.read(process, 65_536); data; data = await file.read(process, 65_536)) {
    await process.point();
    chunks.push(data);
    bytes += data.length;
    if (bytes > most) throw new ShellFault('the input is too long');
  }
  return Buffer.concat(chunks);
}

/** Reads and closes a script. */
export async function readScript(process: Process, file: OpenFile): Promise<string> {
  try {
    return (await readAll(process, file, 4 * 2 ** 20)).toString();
  } finally {
    await file.close();
  }
}

/** Who looks for a program. */
type Seeker = Pick<Process, 'fs' | 'resolve'>;

/** @returns the path of a program; null if there is none */
export async function findPath(process: Seeker, name: string, search: string): Promise<string | null> {
  const paths = name.includes('/') ? [name] : search.split(':').map((directory) => `${directory || '.'}/${name}`);
  for (const path of paths) {
    const found = await process.fs.stat(process.resolve(path)).catch(() => null);
    if (found?.isFile === true && (found.mode & 0o111) !== 0) return path;
  }
  return null;
}

/** A program that a package has installed. */
const INSTALLED: Program = async (process) => {
  await process.write(1, `${posix.basename(process.argv[0] ?? '')} is simulated: it is here, and does nothing\n`);
  return 0;
};

/** @throws Errno `ENOENT`, `EACCES`, `EISDIR` */
export async function findProgram(process: Seeker, name: string, search: string): Promise<Program> {
  const path = await findPath(process, name, search);
  if (path === null) {
    const found = name.includes('/') ? await process.fs.stat(process.resolve(name)).catch(() => null) : null;
    throw new Errno(found === null ? 'ENOENT' : found.isDirectory ? 'EISDIR' : 'EACCES');
  }
  const text = (await process.fs.readFile(process.resolve(path))).slice(0, 256);
  const program = posix.basename(await process.fs.realpath(process.resolve(path)));
  if (text.startsWith(SIMULATED)) {
    const ofLibrary: Program = (child, args) => runLibrary(program, child, args);
    return PROGRAMS.get(program) ?? (LIBRARY.has(program) ? ofLibrary : INSTALLED);
  }
  const [, interpreter = '/bin/sh', option] = /^#![ \t]*(\S+)(?:[ \t]+(.+))?/.exec(text) ?? [];
  if (interpreter === path) throw new Errno('ELOOP');
  return async (child, args) => {
    const argv = [interpreter, ...(option === undefined ? [] : [option]), path, ...args];
    const runs = await findProgram(child, interpreter, '');
    child.become(argv, child.env);
    return runs(child, argv.slice(1));
  };
}
