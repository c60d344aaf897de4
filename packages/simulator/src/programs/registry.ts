import { Errno } from '../errno';
import { type Actor, type FileSystem, may } from '../file-system';
import type { OpenFile } from '../streams';
import type { Process } from '../process';
import type { Program } from './program';

/** All programs, by the names that files have them by; `index.ts` puts them in. */
export const PROGRAMS = new Map<string, Program>();

/** What a program is that was installed, and that nobody has simulated. */
const INSTALLED: Program = async (process) => {
  const name = process.argv[0]?.split('/').at(-1) ?? '';
  await process.write(1, `${name} is simulated: it is here, and does nothing\n`);
  return 0;
};

/** Who looks for a program. */
type Seeker = Actor & { readonly fs: FileSystem };

/** @returns the path of a program; null if there is none */
export function findPath(process: Seeker, name: string, search: string): string | null {
  const paths = name.includes('/') ? [name] : search.split(':').map((directory) => `${directory || '.'}/${name}`);
  for (const path of paths) {
    try {
      const { node } = process.fs.place(process, path);
      if (node?.kind === 'file' && (node.mode & 0o111) !== 0 && may(process, node, 1)) return path;
    } catch {
      // It is not there.
    }
  }
  return null;
}

/** @throws Errno `ENOENT`, `EACCES` */
export function findProgram(process: Seeker, name: string, search: string): Program {
  const path = findPath(process, name, search);
  if (path === null) {
    if (!name.includes('/')) throw new Errno('ENOENT');
    const { kind } = process.fs.node(process, name);
    throw new Errno(kind === 'directory' ? 'EISDIR' : 'EACCES');
  }
  const node = process.fs.node(process, path);
  if (node.kind !== 'file') throw new Errno('EACCES');
  if (node.program !== null) return PROGRAMS.get(node.program) ?? INSTALLED;
  const [, interpreter = '/bin/sh', option] = /^#![ \t]*(\S+)(?:[ \t]+(.+))?/.exec(node.text().slice(0, 256)) ?? [];
  if (interpreter === path) throw new Errno('ELOOP');
  return (child, args) => {
    const program = findProgram(child, interpreter, '');
    const argv = [interpreter, ...(option === undefined ? [] : [option]), path, ...args];
    become(child, argv, child.env);
    return program(child, argv.slice(1));
  };
}

/** The process goes on as another program. */
export function become(process: Process, argv: readonly string[], env: ReadonlyMap<string, string>): void {
  process.rename(argv, env);
}

/** Starts a program as a child, with the same files and environment. @throws Errno */
export function startProgram(
  process: Process,
  argv: readonly string[],
  { uid = process.uid }: { uid?: number } = {},
): Process {
  const { env } = process;
  const program = findProgram(process, argv[0] ?? '', env.get('PATH') ?? '');
  const own = new Map<number, OpenFile>();
  for (const [descriptor, file] of process.files) own.set(descriptor, file.dup());
  return process.table.start({
    argv,
    env,
    cwd: process.cwd,
    uid,
    gid: uid === process.uid ? process.gid : uid,
    parent: process.pid,
    group: process.group,
    terminal: process.terminal,
    files: own,
    main: async (child) => program(child, argv.slice(1)),
  });
}

/** Runs a program as a child. @returns its exit code; 127 if there is none */
export async function runProgram(process: Process, argv: readonly string[]): Promise<number> {
  try {
    return (await process.waitFor(startProgram(process, argv))) ?? 0;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    await process.write(2, `${process.argv[0] ?? ''}: '${argv[0] ?? ''}': ${error.message}\n`);
    return error.errno === 'ENOENT' ? 127 : 126;
  }
}
