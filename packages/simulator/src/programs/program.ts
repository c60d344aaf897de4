import { Errno } from '../errno';
import { Killed, type Process } from '../process';

/** What a process does. @param args without the program's name @returns the exit code */
export type Program = (process: Process, args: readonly string[]) => Promise<number> | number;

/** Options of one letter, as most programs take them. */
export interface Options {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly operands: readonly string[];
}

/**
 * @param taking the letters of options that take a value
 * @param long what options with a name of their own are the same as
 */
export function optionsOf(
  args: readonly string[],
  { taking = '', long = {} }: { taking?: string; long?: Readonly<Record<string, string>> } = {},
): Options {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const operands: string[] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--') {
      operands.push(...rest);
      break;
    }
    if (arg.startsWith('--')) {
      const [name = '', value] = arg.slice(2).split(/=([^]*)/, 2);
      const letter = long[name];
      if (letter === undefined) flags.add(name);
      else if (taking.includes(letter)) values.set(letter, value ?? rest.shift() ?? '');
      else flags.add(letter);
      continue;
    }
    if (arg === '-' || !arg.startsWith('-')) {
      operands.push(arg);
      continue;
    }
    for (let at = 1; at < arg.length; at += 1) {
      const letter = arg[at] ?? '';
      if (!taking.includes(letter)) flags.add(letter);
      else {
        values.set(letter, arg.slice(at + 1) || (rest.shift() ?? ''));
        break;
      }
    }
  }
  return { flags, values, operands };
}

/** Does something with each of some paths, and says what fails. @returns the exit code */
export async function forEach(
  process: Process,
  paths: readonly string[],
  { doing, work }: { doing: (path: string) => string; work: (path: string) => Promise<void> | void },
): Promise<number> {
  let status = 0;
  for (const path of paths) {
    await process.point();
    try {
      await work(path);
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      await process.write(2, `${doing(path)}: ${error.message}\n`);
      status = 1;
    }
  }
  return status;
}

/** The input's lines, without their ends. */
export async function* linesOf(process: Process, descriptor = 0): AsyncGenerator<string, void> {
  let rest = '';
  for (let data = await process.read(descriptor); data; data = await process.read(descriptor)) {
    const lines = (rest + data.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield line;
  }
  if (rest !== '') yield rest;
}

/** Opens each operand as the input for `work`; the input itself where there is none, or for `-`. */
export async function withInputs(
  process: Process,
  { name, operands }: { name: string; operands: readonly string[] },
  work: (descriptor: number, path: string | null) => Promise<void>,
): Promise<number> {
  if (operands.length === 0) {
    await work(0, null);
    return 0;
  }
  return forEach(process, operands, {
    doing: (path) => `${name}: ${path}`,
    work: async (path) => {
      if (path === '-') return work(0, null);
      const descriptor = 60;
      process.setFile(descriptor, process.open(path, { read: true }));
      try {
        await work(descriptor, path);
      } finally {
        process.setFile(descriptor, null);
      }
    },
  });
}

/** A program's own fault in how it is called. */
export async function usage(process: Process, words: string, status = 1): Promise<number> {
  await process.write(2, `${words}\n`);
  return status;
}

/** @returns 0 where it does; the error's words are said otherwise */
export async function attempt(process: Process, name: string, work: () => Promise<number> | number): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Killed) throw error;
    if (!(error instanceof Errno)) throw error;
    await process.write(2, `${name}: ${error.message}\n`);
    return 1;
  }
}
