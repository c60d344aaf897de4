import { createHash } from 'node:crypto';
import { Errno } from '../errno';
import { type OpenFile, TreeFile } from '../streams';
import type { Process } from '../process';
import { linesOf, optionsOf, type Program, usage, withInputs } from './program';
import { runProgram } from './registry';

async function pour(process: Process, from: number, to: number): Promise<void> {
  for (let data = await process.read(from); data; data = await process.read(from)) await process.write(to, data);
}

const cat: Program = (process, args) => {
  const { flags, operands } = optionsOf(args);
  let number = 0;
  return withInputs(process, { name: 'cat', operands }, async (descriptor) => {
    if (!flags.has('n')) return pour(process, descriptor, 1);
    for await (const line of linesOf(process, descriptor)) {
      number += 1;
      await process.write(1, `${String(number).padStart(6)}\t${line}\n`);
    }
  });
};

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  b: 512,
  k: 1024,
  K: 1024,
  kB: 1000,
  M: 2 ** 20,
  MB: 1e6,
  G: 2 ** 30,
};

function bytesIn(text: string): number {
  const [, number = '0', suffix = ''] = /^(\d+)([a-zA-Z]*)$/.exec(text) ?? [];
  return Number(number) * (SUFFIXES[suffix] ?? 1);
}

const COUNT = /^-\d+$/;

const head: Program = (process, args) => {
  const { values, operands } = optionsOf(
    args.map((arg) => (COUNT.test(arg) ? `-n${arg.slice(1)}` : arg)),
    { taking: 'nc', long: { lines: 'n', bytes: 'c' } },
  );
  return withInputs(process, { name: 'head', operands }, async (descriptor) => {
    if (values.has('c')) {
      let left = bytesIn(values.get('c') ?? '');
      while (left > 0) {
        const data = await process.read(descriptor, Math.min(left, 65_536));
        if (!data) return;
        left -= data.length;
        await process.write(1, data);
      }
      return;
    }
    let left = Number(values.get('n') ?? 10);
    if (left <= 0) return;
    for await (const line of linesOf(process, descriptor)) {
      await process.write(1, `${line}\n`);
      left -= 1;
      if (left <= 0) return;
    }
  });
};

/** How much of an input is kept to find its end in. */
const MOST_KEPT = 64 * 1024 * 1024;

const tail: Program = (process, args) => {
  const { flags, values, operands } = optionsOf(
    args.map((arg) => (COUNT.test(arg) ? `-n${arg.slice(1)}` : arg)),
    { taking: 'nc', long: { follow: 'f', lines: 'n', bytes: 'c' } },
  );
  return withInputs(process, { name: 'tail', operands }, async (descriptor, path) => {
    const count = values.get('n') ?? '10';
    const fromStart = count.startsWith('+');
    const file = process.file(descriptor);
    if (values.has('c') && file instanceof TreeFile && file.node.kind === 'file') {
      file.offset = Math.max(0, file.node.size - bytesIn(values.get('c') ?? ''));
      return pour(process, descriptor, 1);
    }
    let kept = Buffer.alloc(0);
    for (let data = await process.read(descriptor); data; data = await process.read(descriptor)) {
      kept = Buffer.concat([kept, data]).subarray(-MOST_KEPT);
    }
    if (values.has('c')) await process.write(1, kept.subarray(-bytesIn(values.get('c') ?? '')));
    else {
      const lines = kept.toString('latin1').split(/(?<=\n)/);
      const shown = fromStart ? lines.slice(Number(count) - 1) : Number(count) === 0 ? [] : lines.slice(-Number(count));
      await process.write(1, shown.join(''));
    }
    if (!flags.has('f') || path === null) return;
    for (;;) {
      await process.sleep(200);
      await pour(process, descriptor, 1);
    }
  });
};

const wc: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args, { long: { lines: 'l', words: 'w', bytes: 'c' } });
  const wanted = (['l', 'w', 'c'] as const).filter(
    (flag) => flags.size === 0 || flags.has(flag) || (flag === 'c' && flags.has('m')),
  );
  return withInputs(process, { name: 'wc', operands }, async (descriptor, path) => {
    const counts = { l: 0, w: 0, c: 0 };
    let inWord = false;
    for (let data = await process.read(descriptor); data; data = await process.read(descriptor)) {
      counts.c += data.length;
      if (wanted.length === 1 && wanted[0] === 'c') continue;
      for (const byte of data) {
        if (byte === 10) counts.l += 1;
        const isSpace = byte === 32 || (byte >= 9 && byte <= 13);
        if (!isSpace && !inWord) counts.w += 1;
        inWord = !isSpace;
      }
    }
    const numbers = wanted.map((flag) => String(counts[flag]));
    const shown = wanted.length === 1 ? numbers.join('') : numbers.map((number) => number.padStart(7)).join(' ');
    await process.write(1, `${shown}${path === null ? '' : ` ${path}`}\n`);
  });
};

/** A basic or extended regular expression of POSIX as one of JavaScript's. */
export function posixExpression(
  source: string,
  { extended, flags = '' }: { extended: boolean; flags?: string },
): RegExp {
  const classes = source.replace(/\[:(\w+):\]/g, (_whole, name: string) => {
    return (
      {
        digit: '0-9',
        alpha: 'A-Za-z',
        alnum: 'A-Za-z0-9',
        space: '\\s',
        upper: 'A-Z',
        lower: 'a-z',
        punct: '!-\\/:-@',
      }[name] ?? ''
    );
  });
  const text = extended
    ? classes
    : classes.replace(/\\?[+?(){}|]/g, (each) => (each.startsWith('\\') ? each.slice(1) : `\\${each}`));
  return new RegExp(text, flags);
}

const grep: Program = async (process, args) => {
  const { flags, values, operands } = optionsOf(args, {
    taking: 'em',
    long: { 'ignore-case': 'i', 'invert-match': 'v', count: 'c', quiet: 'q', 'files-with-matches': 'l', regexp: 'e' },
  });
  const patterns = args.flatMap((arg, index) => (arg === '-e' ? [args[index + 1] ?? ''] : []));
  if (patterns.length === 0 && values.has('e')) patterns.push(values.get('e') ?? '');
  const given = patterns.length > 0 ? operands : operands.slice(1);
  if (patterns.length === 0) patterns.push(operands[0] ?? '');
  const ignoreCase = flags.has('i') ? 'i' : '';
  let expressions: RegExp[];
  try {
    expressions = patterns
      .flatMap((pattern) => pattern.split('\n'))
      .map((pattern) => {
        const source = flags.has('F') ? pattern.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&') : pattern;
        const extended = flags.has('E') || flags.has('F') || flags.has('P');
        const inner = posixExpression(source, { extended, flags: ignoreCase });
        return flags.has('x')
          ? new RegExp(`^(?:${inner.source})$`, ignoreCase)
          : flags.has('w')
            ? new RegExp(`\\b(?:${inner.source})\\b`, ignoreCase)
            : inner;
      });
  } catch {
    return usage(process, 'grep: Invalid regular expression', 2);
  }
  const files = flags.has('r') || flags.has('R') ? await filesBelow(process, given.length > 0 ? given : ['.']) : given;
  const isNamed = (files.length > 1 || flags.has('r') || flags.has('R')) && !flags.has('h');
  const found = { any: false };
  const status = await withInputs(process, { name: 'grep', operands: files }, async (descriptor, path) => {
    let count = 0;
    let number = 0;
    for await (const line of linesOf(process, descriptor)) {
      number += 1;
      const match = expressions.map((each) => each.exec(line)).find((each) => each !== null);
      if ((match !== undefined) === flags.has('v')) continue;
      count += 1;
      found.any = true;
      if (flags.has('q') || flags.has('l')) break;
      const shown = flags.has('o') && match ? match[0] : line;
      if (!flags.has('c')) {
        await process.write(
          1,
          `${isNamed ? `${path ?? ''}:` : ''}${flags.has('n') ? `${String(number)}:` : ''}${shown}\n`,
        );
      }
      if (values.has('m') && count >= Number(values.get('m'))) break;
    }
    if (flags.has('c')) await process.write(1, `${isNamed ? `${path ?? ''}:` : ''}${String(count)}\n`);
    if (flags.has('l') && count > 0) await process.write(1, `${path ?? '(standard input)'}\n`);
  });
  return found.any ? 0 : status === 0 ? 1 : 2;
};

async function filesBelow(process: Process, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const visit = async (path: string): Promise<void> => {
    await process.point();
    const node = process.fs.node(process, path, { follow: false });
    if (node.kind === 'file') found.push(path);
    if (node.kind === 'directory') for (const name of node.names()) await visit(`${path}/${name}`);
  };
  for (const path of paths) if (process.fs.exists(process, path)) await visit(path);
  return found;
}

async function allLines(process: Process, name: string, operands: readonly string[]): Promise<string[]> {
  const lines: string[] = [];
  await withInputs(process, { name, operands }, async (descriptor) => {
    for await (const line of linesOf(process, descriptor)) lines.push(line);
  });
  return lines;
}

const sort: Program = async (process, args) => {
  const { flags, values, operands } = optionsOf(args, { taking: 'kt' });
  const lines = await allLines(process, 'sort', operands);
  const field = Number.parseInt(values.get('k') ?? '0', 10);
  const keyOf = (line: string): string => (field > 0 ? (line.split(values.get('t') ?? /\s+/)[field - 1] ?? '') : line);
  const isNumeric = flags.has('n') || (values.get('k') ?? '').includes('n');
  lines.sort((one, other) => {
    const [left, right] = [keyOf(one), keyOf(other)];
    if (isNumeric) return (Number.parseFloat(left) || 0) - (Number.parseFloat(right) || 0) || (one < other ? -1 : 1);
    return left < right ? -1 : left > right ? 1 : 0;
  });
  if (flags.has('r')) lines.reverse();
  const shown = flags.has('u') ? [...new Set(lines)] : lines;
  await process.write(1, shown.map((line) => `${line}\n`).join(''));
  return 0;
};

const uniq: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const runs: { line: string; count: number }[] = [];
  for (const line of await allLines(process, 'uniq', operands)) {
    const last = runs.at(-1);
    if (last?.line === line) last.count += 1;
    else runs.push({ line, count: 1 });
  }
  const shown = runs.filter(({ count }) => (flags.has('d') ? count > 1 : flags.has('u') ? count === 1 : true));
  await process.write(
    1,
    shown.map(({ line, count }) => `${flags.has('c') ? `${String(count).padStart(7)} ` : ''}${line}\n`).join(''),
  );
  return 0;
};

/** Which of numbers from 1 a list such as `1,3-5,7-` has. */
function hasNumber(list: string, number: number): boolean {
  return list.split(',').some((range) => {
    const [from = '', to] = range.split('-');
    if (to === undefined) return Number(from) === number;
    return number >= Number(from || 1) && number <= Number(to || Number.POSITIVE_INFINITY);
  });
}

const cut: Program = async (process, args) => {
  const { flags, values, operands } = optionsOf(args, {
    taking: 'dfcb',
    long: { delimiter: 'd', fields: 'f', characters: 'c' },
  });
  const delimiter = values.get('d') ?? '\t';
  const fields = values.get('f');
  const characters = values.get('c') ?? values.get('b') ?? '';
  return withInputs(process, { name: 'cut', operands }, async (descriptor) => {
    for await (const line of linesOf(process, descriptor)) {
      if (fields !== undefined) {
        if (!line.includes(delimiter)) {
          if (!flags.has('s')) await process.write(1, `${line}\n`);
          continue;
        }
        const kept = line.split(delimiter).filter((_field, index) => hasNumber(fields, index + 1));
        await process.write(1, `${kept.join(delimiter)}\n`);
      } else
        await process.write(
          1,
          `${line
            .split('')
            .filter((_char, index) => hasNumber(characters, index + 1))
            .join('')}\n`,
        );
    }
  });
};

function charactersOf(set: string): string[] {
  const plain = set
    .replace(/\[:(\w+):\]/g, (_whole, name: string) => {
      return (
        { upper: 'A-Z', lower: 'a-z', digit: '0-9', alpha: 'A-Za-z', alnum: 'A-Za-z0-9', space: ' \t\n\r' }[name] ?? ''
      );
    })
    .replace(/\\([0-7]{1,3})/g, (_whole, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    .replace(/\\(.)/g, (_whole, letter: string) => ({ n: '\n', t: '\t', r: '\r' })[letter] ?? letter);
  const characters: string[] = [];
  for (let at = 0; at < plain.length; at += 1) {
    const from = plain.charCodeAt(at);
    if (plain[at + 1] === '-' && at + 2 < plain.length) {
      for (let code = from; code <= plain.charCodeAt(at + 2); code += 1) characters.push(String.fromCharCode(code));
      at += 2;
    } else characters.push(String.fromCharCode(from));
  }
  return characters;
}

const tr: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const from = charactersOf(operands[0] ?? '');
  const to = charactersOf(operands[1] ?? '');
  const has = (char: string): boolean => from.includes(char) !== (flags.has('c') || flags.has('C'));
  let last = '';
  for (let data = await process.read(0); data; data = await process.read(0)) {
    let text = '';
    for (const char of data.toString('latin1')) {
      if (flags.has('d')) {
        if (!has(char)) text += char;
        continue;
      }
      const index = from.indexOf(char);
      const changed =
        to.length > 0 && has(char) ? (to[index < 0 ? to.length - 1 : Math.min(index, to.length - 1)] ?? char) : char;
      const squeezed = flags.has('s') && changed === last && (to.length > 0 ? to.includes(changed) : has(char));
      if (!squeezed) text += changed;
      last = changed;
    }
    await process.write(1, text);
  }
  return 0;
};

/** `s/…/…/`, `/…/d`, `/…/p`, `Np` and `Nd`: what most scripts use of it. */
const sed: Program = async (process, args) => {
  const { flags, values, operands } = optionsOf(args, { taking: 'e' });
  const script = values.get('e') ?? operands[0] ?? '';
  const files = values.has('e') ? operands : operands.slice(1);
  const extended = flags.has('E') || flags.has('r');
  const [, address = '', quoted, verb = '', rest = ''] =
    /^((?:\d+|\$)?|\/((?:[^/\\]|\\.)*)\/)([spdq])([^]*)$/.exec(script) ?? [];
  const separator = rest[0] ?? '/';
  const [, pattern = '', by = '', how = ''] = verb === 's' ? rest.split(new RegExp(`(?<!\\\\)\\${separator}`)) : [];
  if (verb === '') return usage(process, `sed: -e expression #1: not simulated: ${script}`, 1);
  const expression = posixExpression(pattern, {
    extended,
    flags: `${how.includes('g') ? 'g' : ''}${how.includes('i') || how.includes('I') ? 'i' : ''}`,
  });
  const where = quoted === undefined ? null : posixExpression(quoted, { extended });
  let number = 0;
  const edit = async (descriptor: number, write: (text: string) => Promise<void>): Promise<void> => {
    for await (const line of linesOf(process, descriptor)) {
      number += 1;
      const isIt = where ? where.test(line) : address === '' || Number(address) === number;
      const replacement = by
        .replace(/\$/g, '$$$$')
        .replace(/\\(\d)/g, '$$$1')
        .replace(/(?<!\\)&/g, '$$&')
        .replace(/\\n/g, '\n')
        .replace(/\\(.)/g, '$1');
      const edited = verb === 's' && isIt ? line.replace(expression, replacement) : line;
      if (verb === 'd' && isIt) continue;
      if (!flags.has('n') || (isIt && (verb === 'p' || (how.includes('p') && edited !== line))))
        await write(`${edited}\n`);
      if (verb === 'p' && isIt && !flags.has('n')) await write(`${edited}\n`);
      if (verb === 'q' && isIt) return;
    }
  };
  return withInputs(process, { name: 'sed', operands: files }, async (descriptor, path) => {
    if (!flags.has('i') || path === null) return edit(descriptor, (text) => process.write(1, text));
    let text = '';
    await edit(descriptor, (piece) => Promise.resolve(void (text += piece)));
    const file = process.open(path, { create: true, truncate: true });
    await file.write(process, Buffer.from(text, 'latin1'));
    file.close();
  });
};

const tee: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args);
  const files: OpenFile[] = [];
  try {
    for (const path of operands)
      files.push(process.open(path, { create: true, truncate: !flags.has('a'), append: flags.has('a') }));
    for (let data = await process.read(0); data; data = await process.read(0)) {
      for (const file of files) await file.write(process, data);
      await process.write(1, data);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    return await usage(process, `tee: ${error.message}`);
  } finally {
    for (const file of files) file.close();
  }
};

/** Of its operands, those that Berth's scripts and most others use. */
const dd: Program = async (process, args) => {
  const given = new Map(args.map((arg) => arg.split(/=([^]*)/, 2) as [string, string]));
  const blockSize = bytesIn(given.get('bs') ?? '512');
  const count = given.has('count') ? bytesIn(given.get('count') ?? '') : Number.POSITIVE_INFINITY;
  try {
    if (given.has('if')) process.setFile(0, process.open(given.get('if') ?? '', { read: true }));
    if (given.has('of')) process.setFile(1, process.open(given.get('of') ?? '', { create: true }));
    const [input, output] = [process.file(0), process.file(1)];
    const skip = bytesIn(given.get('skip') ?? '0') * blockSize;
    if (input instanceof TreeFile) input.offset += skip;
    else await readWhole(process, skip);
    if (output instanceof TreeFile && given.has('of')) {
      output.offset = bytesIn(given.get('seek') ?? '0') * blockSize;
      if (output.node.kind === 'file' && !(given.get('conv') ?? '').includes('notrunc'))
        output.node.resize(Math.min(output.offset, output.node.size));
      if (output.node.kind === 'file' && output.node.size < output.offset) output.node.resize(output.offset);
    }
    let copied = 0;
    for (let block = 0; block < count; block += 1) {
      const data = await process.read(0, blockSize);
      if (!data) break;
      copied += data.length;
      await process.write(1, data);
    }
    const blocks = Math.floor(copied / blockSize);
    if (given.get('status') !== 'none')
      await process.write(
        2,
        `${String(blocks)}+0 records in\n${String(blocks)}+0 records out\n${String(copied)} bytes copied\n`,
      );
    return 0;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    return usage(process, `dd: ${error.message}`);
  }
};

async function readWhole(process: Process, bytes: number): Promise<void> {
  let left = bytes;
  while (left > 0) {
    const data = await process.read(0, Math.min(left, 65_536));
    if (!data) return;
    left -= data.length;
  }
}

const base64: Program = async (process, args) => {
  const { flags, operands } = optionsOf(args, { long: { decode: 'd' }, taking: 'w' });
  const text = (await allLines(process, 'base64', operands)).join('\n');
  if (flags.has('d')) await process.write(1, Buffer.from(text, 'base64'));
  else
    await process.write(
      1,
      `${Buffer.from(`${text}\n`, 'latin1')
        .toString('base64')
        .replace(/.{76}(?=.)/g, '$&\n')}\n`,
    );
  return 0;
};

const sum =
  (name: string, algorithm: string): Program =>
  (process, args) =>
    withInputs(process, { name, operands: optionsOf(args).operands }, async (descriptor, path) => {
      const hash = createHash(algorithm);
      for (let data = await process.read(descriptor); data; data = await process.read(descriptor)) hash.update(data);
      await process.write(1, `${hash.digest('hex')}  ${path ?? '-'}\n`);
    });

const seq: Program = async (process, args) => {
  const numbers = args.filter((arg) => !/^-[a-z]/.test(arg)).map(Number);
  const [first, step, last] =
    numbers.length === 1
      ? [1, 1, numbers[0] ?? 0]
      : numbers.length === 2
        ? [numbers[0] ?? 1, 1, numbers[1] ?? 0]
        : [numbers[0] ?? 1, numbers[1] ?? 1, numbers[2] ?? 0];
  if (step === 0) return usage(process, 'seq: invalid Zero increment value');
  let text = '';
  for (let value = first; step > 0 ? value <= last : value >= last; value += step) {
    text += `${String(value)}\n`;
    if (text.length < 4096) continue;
    await process.write(1, text);
    text = '';
  }
  await process.write(1, text);
  return 0;
};

const yes: Program = async (process, args) => {
  const text = `${args.join(' ') || 'y'}\n`.repeat(512);
  for (;;) await process.write(1, text);
};

const xargs: Program = async (process, args) => {
  const { flags, values, operands } = optionsOf(args.slice(0, commandAt(args)), { taking: 'nI' });
  const command = [...operands, ...args.slice(commandAt(args))];
  const lines: string[] = [];
  for await (const line of linesOf(process)) lines.push(line);
  const words = flags.has('0')
    ? lines.join('\n').split('\0').filter(Boolean)
    : values.has('I')
      ? lines
      : lines.flatMap((line) => line.split(/\s+/).filter(Boolean));
  const most = values.has('I') ? 1 : Number(values.get('n') ?? 1000);
  let status = 0;
  for (let at = 0; at < Math.max(words.length, 1); at += most) {
    const some = words.slice(at, at + most);
    const base = command.length > 0 ? command : ['echo'];
    const argv = values.has('I')
      ? base.map((word) => word.replaceAll(values.get('I') ?? '{}', some[0] ?? ''))
      : [...base, ...some];
    if ((await runProgram(process, argv)) !== 0) status = 123;
  }
  return status;
};

function commandAt(args: readonly string[]): number {
  let at = 0;
  while (at < args.length && (args[at] ?? '').startsWith('-')) at += /^-[nI]$/.test(args[at] ?? '') ? 2 : 1;
  return at;
}

/** Programs about texts and bytes. */
export const TEXT_PROGRAMS: Readonly<Record<string, Program>> = {
  base64,
  cat,
  cut,
  dd,
  grep,
  head,
  md5sum: sum('md5sum', 'md5'),
  sed,
  seq,
  sha256sum: sum('sha256sum', 'sha256'),
  sort,
  tail,
  tee,
  tr,
  uniq,
  wc,
  xargs,
  yes,
};
