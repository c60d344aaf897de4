import { posix } from 'node:path';
import { Errno, unless } from '../errno';
import { DirectoryNode, FileNode, modeText, type Node, sizeOf } from '../file-tree';
import type { Process } from '../process';
import { matches } from '../shell/patterns';
import { forEach, optionsOf, type Program, usage } from './program';
import { runProgram } from './registry';
import { groupName, userId, userName } from './users';

const cannot = (what: string) => (path: string) => `${what} '${path}'`;

const join = (directory: string, name: string): string =>
  directory.endsWith('/') ? directory + name : `${directory}/${name}`;

function timeText(ms: number): string {
  const [, month = '', day = '', clock = ''] = /^\w+ (\w+) (\d+) \d+ (\d+:\d+)/.exec(new Date(ms).toString()) ?? [];
  return `${month} ${String(Number(day)).padStart(2)} ${clock}`;
}

function longLine(name: string, node: Node): string {
  const links = node.kind === 'file' ? node.links : node.kind === 'directory' ? 2 : 1;
  const shown = node.kind === 'link' ? `${name} -> ${node.target}` : name;
  return `${modeText(node)} ${String(links)} ${userName(node.uid)} ${groupName(node.gid)} ${String(sizeOf(node)).padStart(8)} ${timeText(node.modifiedMs)} ${shown}\n`;
}

const ls: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args, { long: { all: 'a', 'almost-all': 'A' } });
  const show = async (names: readonly (readonly [string, Node])[]): Promise<void> => {
    const sorted = flags.has('t')
      ? [...names].sort(([, one], [, other]) => other.modifiedMs - one.modifiedMs)
      : [...names];
    if (flags.has('r')) sorted.reverse();
    const mark = (name: string, node: Node): string =>
      flags.has('F') || flags.has('p') ? name + (node.kind === 'directory' ? '/' : '') : name;
    const isTerminal = process.files.get(1)?.terminal !== null && !flags.has('1') && !flags.has('l');
    if (flags.has('l')) await process.write(1, sorted.map(([name, node]) => longLine(mark(name, node), node)).join(''));
    else if (isTerminal && sorted.length > 0)
      await process.write(1, `${sorted.map(([name, node]) => mark(name, node)).join('  ')}\n`);
    else await process.write(1, sorted.map(([name, node]) => `${mark(name, node)}\n`).join(''));
  };
  const paths = operands.length > 0 ? operands : ['.'];
  const directories: string[] = [];
  const files: [string, Node][] = [];
  const status = await forEach(process, paths, {
    doing: cannot('ls: cannot access'),
    work: (path) => {
      const node = process.fs.node(process, path, { follow: !flags.has('d') && !flags.has('l') });
      if (node.kind === 'directory' && !flags.has('d')) directories.push(path);
      else files.push([path, node]);
    },
  });
  if (files.length > 0) await show(files);
  const isTitled = paths.length > 1 || flags.has('R');
  const listed = await forEach(process, directories, {
    doing: cannot('ls: cannot open directory'),
    work: async (path) => {
      const names = process.fs.list(process, path);
      const dots = flags.has('a') ? ['.', '..'] : [];
      const shown = [...dots, ...names.filter((name) => !name.startsWith('.') || flags.has('a') || flags.has('A'))];
      if (isTitled) await process.write(1, `${files.length > 0 || path !== directories[0] ? '\n' : ''}${path}:\n`);
      if (flags.has('l')) await process.write(1, `total ${String(shown.length * 4)}\n`);
      const nodes = shown.map((name) => [name, process.fs.node(process, join(path, name), { follow: false })] as const);
      await show(nodes);
      if (!flags.has('R')) return;
      const below: string[] = [];
      for (const [name, node] of nodes)
        if (node.kind === 'directory' && !dots.includes(name)) below.push(join(path, name));
      directories.splice(directories.indexOf(path) + 1, 0, ...below);
    },
  });
  return status === 0 ? listed : 2;
};

const mkdir: Program = (process, args) => {
  const { flags, values, operands } = optionsOf(args, { taking: 'm', long: { parents: 'p', mode: 'm' } });
  const mode = values.has('m') ? Number.parseInt(values.get('m') ?? '', 8) : 0o777 & ~process.umask;
  return forEach(process, operands, {
    doing: cannot('mkdir: cannot create directory'),
    work: (path) => process.fs.makeDirectory(process, path, { mode, parents: flags.has('p') }),
  });
};

const rmdir: Program = (process, args) =>
  forEach(process, optionsOf(args).operands, {
    doing: cannot('rmdir: failed to remove'),
    work: (path) => process.fs.removeDirectory(process, path),
  });

async function removeAll(process: Process, path: string): Promise<void> {
  await process.point();
  const node = process.fs.node(process, path, { follow: false });
  if (node.kind !== 'directory') {
    process.fs.unlink(process, path);
    return;
  }
  for (const name of process.fs.list(process, path)) await removeAll(process, join(path, name));
  process.fs.removeDirectory(process, path);
}

const rm: Program = (process, args) => {
  const { flags, operands } = optionsOf(args, { long: { recursive: 'r', force: 'f' } });
  const recursive = flags.has('r') || flags.has('R');
  return forEach(process, operands, {
    doing: cannot('rm: cannot remove'),
    work: async (path) => {
      if (flags.has('f') && !process.fs.exists(process, path, { follow: false })) return;
      if (recursive) await removeAll(process, path);
      else process.fs.unlink(process, path);
    },
  });
};

/** Where each source goes: into the directory, or in the place of the target. */
function targetsOf(
  process: Process,
  operands: readonly string[],
  { intoDirectory = true }: { intoDirectory?: boolean } = {},
): readonly (readonly [from: string, to: string])[] {
  const to = operands.at(-1) ?? '';
  const node = unless(['ENOENT', 'ENOTDIR'], () => process.fs.place(process, to).node);
  const isInto = intoDirectory && node?.kind === 'directory';
  return operands.slice(0, -1).map((from) => [from, isInto ? join(to, posix.basename(from)) : to]);
}

const mv: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  if (operands.length < 2) return usage(process, 'mv: missing file operand');
  let status = 0;
  for (const [from, to] of targetsOf(process, operands, { intoDirectory: !flags.has('T') })) {
    if (flags.has('n') && process.fs.exists(process, to, { follow: false })) continue;
    status ||= await forEach(process, [from], {
      doing: () => `mv: cannot move '${from}' to '${to}'`,
      work: () => process.fs.rename(process, from, to),
    });
  }
  return status;
};

const COPIED_AT_ONCE = 1024 * 1024;

async function copy(
  process: Process,
  { from, to, flags }: { from: string; to: string; flags: ReadonlySet<string> },
): Promise<void> {
  await process.point();
  const keepsLinks = flags.has('a') || flags.has('d') || flags.has('P');
  const source = process.fs.node(process, from, { follow: !keepsLinks });
  if (source.kind === 'directory') {
    if (!flags.has('r') && !flags.has('R') && !flags.has('a')) throw new Errno('EISDIR');
    process.fs.makeDirectory(process, to, { mode: source.mode, parents: true });
    for (const name of process.fs.list(process, from)) {
      await copy(process, { from: join(from, name), to: join(to, name), flags });
    }
    if (flags.has('a')) keepFacts(process, source, to);
    return;
  }
  if (flags.has('f') && process.fs.exists(process, to, { follow: false })) process.fs.unlink(process, to);
  if (source.kind === 'link') {
    process.fs.link(process, source.target, to);
    return;
  }
  if (flags.has('l')) {
    process.fs.hardLink(process, from, to);
    return;
  }
  const input = process.open(from, { read: true });
  const output = process.open(to, { create: true, truncate: true });
  try {
    for (let data = await input.read(process, COPIED_AT_ONCE); data; data = await input.read(process, COPIED_AT_ONCE)) {
      await output.write(process, data);
      await process.point();
    }
  } finally {
    input.close();
    output.close();
  }
  keepFacts(process, source, to, flags.has('a') || flags.has('p'));
}

function keepFacts(process: Process, source: Node, to: string, all = true): void {
  const target = process.fs.node(process, to);
  target.mode = source.mode;
  if (source.kind === 'file' && target.kind === 'file') target.program = source.program;
  if (!all) return;
  target.modifiedMs = source.modifiedMs;
  if (process.uid === 0) [target.uid, target.gid] = [source.uid, source.gid];
}

const cp: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args, { long: { recursive: 'r', archive: 'a', force: 'f' } });
  if (operands.length < 2) return usage(process, 'cp: missing file operand');
  let status = 0;
  for (const [from, to] of targetsOf(process, operands)) {
    status ||= await forEach(process, [from], {
      doing: () => `cp: cannot copy '${from}' to '${to}'`,
      work: () => copy(process, { from, to, flags }),
    });
  }
  return status;
};

const touch: Program = (process, args) =>
  forEach(process, optionsOf(args).operands, {
    doing: cannot('touch: cannot touch'),
    work: (path) => {
      process.open(path, { create: true }).close();
      process.fs.node(process, path).modifiedMs = Date.now();
    },
  });

const ln: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const given = operands.length === 1 ? [...operands, '.'] : operands;
  let status = 0;
  for (const [from, to] of targetsOf(process, given)) {
    status ||= await forEach(process, [to], {
      doing: cannot('ln: failed to create link'),
      work: () => {
        if (flags.has('f') && process.fs.exists(process, to, { follow: false })) process.fs.unlink(process, to);
        if (flags.has('s')) process.fs.link(process, from, to);
        else process.fs.hardLink(process, from, to);
      },
    });
  }
  return status;
};

const readlink: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const [path = ''] = operands;
  try {
    if (flags.has('f') || flags.has('e')) {
      await process.write(1, `${process.fs.place(process, path).path}\n`);
      return 0;
    }
    const node = process.fs.node(process, path, { follow: false });
    if (node.kind !== 'link') return 1;
    await process.write(1, `${node.target}\n`);
    return 0;
  } catch (error) {
    if (error instanceof Errno) return 1;
    throw error;
  }
};

const realpath: Program = (process, args) =>
  forEach(process, optionsOf(args).operands, {
    doing: (path) => `realpath: ${path}`,
    work: async (path) => process.write(1, `${process.fs.place(process, path).path}\n`),
  });

/** @returns the permission bits after a change such as `755` or `u+x,go-w` */
export function changedMode(mode: number, change: string, isDirectory: boolean): number {
  if (/^[0-7]+$/.test(change)) return Number.parseInt(change, 8);
  let result = mode;
  for (const clause of change.split(',')) {
    const [, who = '', operator = '', what = ''] = /^([ugoa]*)([-+=])([rwxXst]*)$/.exec(clause) ?? [];
    const bits = what.split('').reduce((sum, letter) => {
      const execute = letter === 'x' || (letter === 'X' && (isDirectory || (mode & 0o111) !== 0));
      return sum | (letter === 'r' ? 4 : letter === 'w' ? 2 : execute ? 1 : 0);
    }, 0);
    const shifts = (who === '' || who.includes('a') ? 'ugo' : who).replace(/[^ugo]/g, '');
    for (const letter of shifts) {
      const shift = { u: 6, g: 3, o: 0 }[letter] ?? 0;
      if (operator === '+') result |= bits << shift;
      else if (operator === '-') result &= ~(bits << shift);
      else if (operator === '=') result = (result & ~(7 << shift)) | (bits << shift);
    }
  }
  return result;
}

async function each(
  process: Process,
  path: string,
  recursive: boolean,
  work: (node: Node, path: string) => void,
): Promise<void> {
  await process.point();
  const node = process.fs.node(process, path, { follow: !recursive });
  if (node.kind === 'directory' && recursive) {
    work(node, path);
    for (const name of node.names()) await each(process, join(path, name), recursive, work);
  } else if (node.kind !== 'link') work(node, path);
}

const chmod: Program = (process, args) => {
  const recursive = args[0] === '-R';
  const [change = '', ...paths] = recursive ? args.slice(1) : args;
  return forEach(process, paths, {
    doing: cannot('chmod: changing permissions of'),
    work: (path) =>
      each(process, path, recursive, (node) => {
        if (process.uid !== 0 && process.uid !== node.uid) throw new Errno('EPERM');
        node.mode = changedMode(node.mode, change, node.kind === 'directory');
      }),
  });
};

const chown: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const [owner = '', ...paths] = operands;
  const [user = '', group = user] = owner.split(':');
  const [uid, gid] = [userId(user), userId(group)];
  if (uid === null || gid === null) return usage(process, `chown: invalid user: '${owner}'`);
  return forEach(process, paths, {
    doing: cannot('chown: changing ownership of'),
    work: (path) =>
      each(process, path, flags.has('R'), (node) => {
        if (process.uid !== 0 && (node.uid !== process.uid || uid !== node.uid)) throw new Errno('EPERM');
        [node.uid, node.gid] = [uid, gid];
      }),
  });
};

const inodes = new WeakMap<Node, number>();
let lastInode = 1000;
function inodeOf(node: Node): number {
  const known = inodes.get(node);
  if (known !== undefined) return known;
  lastInode += 1;
  inodes.set(node, lastInode);
  return lastInode;
}

function described(format: string, node: Node, path: string): string {
  return format.replace(/%([a-zA-Z%])/g, (whole, letter: string) => {
    switch (letter) {
      case 'A':
        return modeText(node);
      case 'a':
        return (node.mode & 0o7777).toString(8);
      case 's':
        return String(sizeOf(node));
      case 'Y':
      case 'X':
      case 'Z':
        return String(Math.floor(node.modifiedMs / 1000));
      case 'y':
        return new Date(node.modifiedMs).toISOString().replace('T', ' ').replace('Z', '000000 +0000');
      case 'n':
        return path;
      case 'u':
        return String(node.uid);
      case 'g':
        return String(node.gid);
      case 'U':
        return userName(node.uid);
      case 'G':
        return groupName(node.gid);
      case 'i':
        return String(inodeOf(node));
      case 'h':
        return String(node.kind === 'file' ? node.links : 1);
      case 'F':
        return { file: 'regular file', made: 'regular empty file', link: 'symbolic link', directory: 'directory' }[
          node.kind
        ];
      case 'b':
        return String(Math.ceil(sizeOf(node) / 512));
      default:
        return whole;
    }
  });
}

const stat: Program = (process, args) => {
  const { flags, values, operands } = optionsOf(args, { taking: 'c', long: { format: 'c', dereference: 'L' } });
  const format = values.get('c') ?? '  File: %n\n  Size: %s\t%F\nAccess: (%a/%A)  Uid: %u/%U  Gid: %g/%G\nModify: %y';
  return forEach(process, operands, {
    doing: cannot('stat: cannot statx'),
    work: (path) =>
      process.write(1, `${described(format, process.fs.node(process, path, { follow: flags.has('L') }), path)}\n`),
  });
};

type Test = (path: string, node: Node) => Promise<boolean> | boolean;

/** What `find` is asked for: tests and actions, all of which must hold. */
function findTests(
  process: Process,
  words: string[],
): {
  tests: Test[];
  batches: { argv: string[]; paths: string[] }[];
  depth: Test;
  deepest: number;
  prunes: { on: boolean };
} {
  const tests: Test[] = [];
  const batches: { argv: string[]; paths: string[] }[] = [];
  const prunes = { on: false };
  let deepest = Number.POSITIVE_INFINITY;
  let least = 0;
  let hasAction = false;
  let negated = false;
  const add = (test: Test): void => {
    const wanted = !negated;
    negated = false;
    tests.push(async (path, node) => (await test(path, node)) === wanted);
  };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    switch (word) {
      case '!':
      case '-not':
        negated = !negated;
        break;
      case '-name': {
        const pattern = words.shift() ?? '';
        add((path) => matches(posix.basename(path), pattern));
        break;
      }
      case '-path': {
        const pattern = words.shift() ?? '';
        add((path) => matches(path, pattern));
        break;
      }
      case '-type': {
        const kind = { f: 'file', d: 'directory', l: 'link' }[words.shift() ?? ''];
        add((_path, node) => node.kind === kind);
        break;
      }
      case '-mmin': {
        const minutes = Number(words.shift());
        add((_path, node) => Date.now() - node.modifiedMs > minutes * 60_000);
        break;
      }
      case '-empty':
        add((_path, node) => (node.kind === 'directory' ? node.isEmpty : sizeOf(node) === 0));
        break;
      case '-maxdepth':
        deepest = Number(words.shift());
        break;
      case '-mindepth':
        least = Number(words.shift());
        break;
      case '-prune':
        add(() => (prunes.on = true));
        break;
      case '-print':
        hasAction = true;
        add(async (path) => (await process.write(1, `${path}\n`), true));
        break;
      case '-print0':
        hasAction = true;
        add(async (path) => (await process.write(1, `${path}\0`), true));
        break;
      case '-delete':
        hasAction = true;
        add((path, node) => {
          if (node.kind === 'directory') process.fs.removeDirectory(process, path);
          else process.fs.unlink(process, path);
          return true;
        });
        break;
      case '-exec': {
        hasAction = true;
        const end = words.findIndex((each) => each === ';' || each === '+');
        const argv = words.splice(0, end < 0 ? words.length : end);
        if (words.shift() === '+') {
          const batch = { argv: argv.filter((each) => each !== '{}'), paths: [] as string[] };
          batches.push(batch);
          add((path) => batch.paths.push(path) > 0);
        } else
          add(
            async (path) =>
              (await runProgram(
                process,
                argv.map((each) => each.replaceAll('{}', path)),
              )) === 0,
          );
        break;
      }
    }
  }
  if (!hasAction) add(async (path) => (await process.write(1, `${path}\n`), true));
  return { tests, batches, depth: (path) => depthOf(path) >= least, deepest, prunes };
}

/** Set by a test of its own. */
const isPruned = ({ on }: { on: boolean }): boolean => on;

const depthOf = (path: string): number => path.split('/').length;

const MOST_ARGUMENTS = 500;

const find: Program = async (process, args) => {
  const first = args.findIndex((arg) => /^[-!(]/.test(arg));
  const starts = args.slice(0, first < 0 ? args.length : first);
  const { tests, batches, deepest, prunes } = findTests(process, first < 0 ? [] : args.slice(first));
  const flush = async (most: number): Promise<void> => {
    for (const { argv, paths } of batches) {
      if (paths.length > most) await runProgram(process, [...argv, ...paths.splice(0)]);
    }
  };
  const visit = async (path: string, depth: number): Promise<void> => {
    await process.point();
    const node = process.fs.node(process, path, { follow: false });
    prunes.on = false;
    for (const test of tests) if (!(await test(path, node))) break;
    await flush(MOST_ARGUMENTS);
    const target = path.endsWith('/') ? process.fs.node(process, path) : node;
    if (target.kind !== 'directory' || isPruned(prunes) || depth >= deepest) return;
    for (const name of process.fs.list(process, path)) await visit(join(path, name), depth + 1);
  };
  const status = await forEach(process, starts.length > 0 ? starts : ['.'], {
    doing: cannot('find:'),
    work: (path) => visit(path, 0),
  });
  await flush(0);
  return status;
};

async function diskUse(process: Process, node: Node): Promise<number> {
  await process.point();
  if (node.kind === 'file') return node.size;
  if (!(node instanceof DirectoryNode)) return 0;
  let sum = 4096;
  for (const name of node.names()) {
    const inner = node.get(name);
    if (inner) sum += await diskUse(process, inner);
  }
  return sum;
}

/** A size as `-h` shows it. */
export function humanSize(bytes: number): string {
  const unit = Math.min(4, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  const value = bytes / 2 ** (10 * unit);
  return `${value >= 10 || unit === 0 ? String(Math.ceil(value)) : value.toFixed(1)}${['', 'K', 'M', 'G', 'T'][unit] ?? ''}`;
}

const du: Program = (process, args) => {
  const { flags, operands } = optionsOf(args);
  return forEach(process, operands.length > 0 ? operands : ['.'], {
    doing: cannot('du: cannot access'),
    work: async (path) => {
      const bytes = await diskUse(process, process.fs.node(process, path, { follow: false }));
      const shown = flags.has('b')
        ? String(bytes)
        : flags.has('h')
          ? humanSize(bytes)
          : String(Math.ceil(bytes / 1024));
      await process.write(1, `${shown}\t${path}\n`);
    },
  });
};

const df: Program = async (process, args) => {
  const { flags } = optionsOf(args);
  const size = (bytes: number): string =>
    (flags.has('h') ? humanSize(bytes) : String(Math.ceil(bytes / 1024))).padStart(10);
  const line = (name: string, path: string): string => {
    const { space } = process.fs.directory(process, path);
    const used = Math.round((100 * space.used) / space.limit);
    return `${name.padEnd(12)}${size(space.limit)}${size(space.used)}${size(space.limit - space.used)} ${String(used).padStart(4)}% ${path}\n`;
  };
  const home = process.fs.exists(process, '/home/user') ? line('/dev/vdb', '/home/user') : '';
  await process.write(1, `Filesystem        Size      Used     Avail  Use% Mounted on\n${line('overlay', '/')}${home}`);
  return 0;
};

const mktemp: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const template = operands[0] ?? '/tmp/tmp.XXXXXXXXXX';
  const path = template.replace(/X{3,}$/, (xs) =>
    Math.random().toString(36).slice(2).padEnd(xs.length, '0').slice(0, xs.length),
  );
  if (flags.has('d')) process.fs.makeDirectory(process, path, { mode: 0o700 });
  else process.open(path, { create: true }).close();
  await process.write(1, `${path}\n`);
  return 0;
};

const truncate: Program = (process, args) => {
  const { values, operands } = optionsOf(args, { taking: 's', long: { size: 's' } });
  const [, number = '0', unit = ''] = /^(\d+)([KMG]?)/.exec(values.get('s') ?? '') ?? [];
  const bytes = Number(number) * 2 ** ({ K: 10, M: 20, G: 30 }[unit] ?? 0);
  return forEach(process, operands, {
    doing: cannot('truncate: cannot open'),
    work: (path) => {
      process.open(path, { create: true }).close();
      const node = process.fs.node(process, path);
      if (node instanceof FileNode) node.resize(bytes);
    },
  });
};

/** Programs about files and directories. */
export const FILE_PROGRAMS: Readonly<Record<string, Program>> = {
  chmod,
  chown,
  cp,
  df,
  du,
  find,
  ln,
  ls,
  mkdir,
  mktemp,
  mv,
  readlink,
  realpath,
  rm,
  rmdir,
  stat,
  touch,
  truncate,
};
