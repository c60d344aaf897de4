import { calculate } from './arithmetic';
import { glob, matches, patternSource, trimmed } from './patterns';
import type { Part, Word } from './syntax';
import type { Process } from '../process';
import type { List } from './syntax';

/** What words are expanded with. */
export interface Surroundings {
  readonly process: Process;
  readonly positional: readonly string[];
  readonly noGlob: boolean;
  readonly noUnset: boolean;
  variable(name: string): string | undefined;
  assign(name: string, value: string): void;
  /** Runs what is in `$(…)`. @returns what it writes, without newlines at the end */
  substitute(list: List): Promise<string>;
}

/** An expansion that ends the script. */
export class ExpansionFault extends Error {
  override readonly name = 'ExpansionFault';
}

interface Field {
  text: string;
  /** The same, with `\` before what stands for itself. */
  pattern: string;
  hasPattern: boolean;
}

const SPECIAL = /[\\*?[\]]/g;

/** Takes the pieces of a word and makes fields of them. */
class Fields {
  private readonly done: Field[] = [];
  private current: Field | null = null;

  add(text: string, quoted: boolean): void {
    this.current ??= { text: '', pattern: '', hasPattern: false };
    this.current.text += text;
    this.current.pattern += quoted ? text.replace(SPECIAL, '\\$&') : text.replace(/\\/g, '\\\\');
    if (!quoted && /[*?[]/.test(text)) this.current.hasPattern = true;
  }

  break(): void {
    if (this.current) this.done.push(this.current);
    this.current = null;
  }

  /** An expansion that is not quoted. */
  split(text: string, separators: string): void {
    if (separators === '') {
      if (text !== '') this.add(text, false);
      return;
    }
    let piece = '';
    let isEmptyBefore = false;
    const flush = (): void => {
      if (piece !== '') this.add(piece, false);
      piece = '';
    };
    for (const char of text) {
      if (!separators.includes(char)) {
        piece += char;
        isEmptyBefore = false;
        continue;
      }
      const had = piece !== '' || this.current !== null;
      flush();
      if (!' \t\n'.includes(char)) {
        if (!had && !isEmptyBefore) this.add('', true);
        isEmptyBefore = false;
      } else if (had) isEmptyBefore = true;
      this.break();
    }
    flush();
  }

  result(): Field[] {
    this.break();
    return this.done;
  }
}

/** A word as arguments: expanded, split, and its patterns replaced by the paths that they match. */
export async function fieldsOf(word: Word, around: Surroundings): Promise<string[]> {
  const fields = new Fields();
  for (const [index, part] of word.entries()) await expand(part, { fields, around, isFirst: index === 0 });
  return fields.result().flatMap(({ text, pattern, hasPattern }) => {
    const found = hasPattern && !around.noGlob ? glob(around.process.fs, around.process, pattern) : [];
    return found.length > 0 ? found : [text];
  });
}

/** A word as one text, as after `=` and in redirections. */
export async function textOf(word: Word, around: Surroundings): Promise<string> {
  let text = '';
  for (const [index, part] of word.entries()) text += await partText(part, around, index === 0);
  return text;
}

/** A word as a pattern: what is quoted stands for itself. */
export async function patternOf(word: Word, around: Surroundings): Promise<string> {
  let pattern = '';
  for (const [index, part] of word.entries()) {
    const text = await partText(part, around, index === 0);
    pattern += part.quoted ? text.replace(SPECIAL, '\\$&') : text;
  }
  return pattern;
}

export { matches };

async function expand(
  part: Part,
  { fields, around, isFirst }: { fields: Fields; around: Surroundings; isFirst: boolean },
): Promise<void> {
  if (part.is === 'parameter' && (part.name === '@' || (part.name === '*' && !part.quoted)) && part.operator === '') {
    for (const [index, each] of around.positional.entries()) {
      if (index > 0) fields.break();
      if (part.quoted) fields.add(each, true);
      else fields.split(each, separatorsOf(around));
    }
    return;
  }
  if (part.is === 'parameter' && !part.quoted && /^:?[-+]$/.test(part.operator)) {
    // Its word is a word of its own, quoted where it is.
    const value = valueOf(part.name, around);
    const isSet = value !== undefined && !(part.operator.startsWith(':') && value === '');
    const isAlternative = part.operator.endsWith('+');
    if (isSet === isAlternative) return expandAll(part.word, fields, around);
    if (!isAlternative) fields.split(value ?? '', separatorsOf(around));
    return;
  }
  const text = await partText(part, around, isFirst);
  if (part.is === 'text') {
    const braces = part.quoted ? null : /^(.*)\{(-?\d+)\.\.(-?\d+)\}(.*)$/.exec(text);
    if (braces) addRange(fields, braces);
    else fields.add(text, part.quoted);
  } else if (part.quoted) fields.add(text, true);
  else fields.split(text, separatorsOf(around));
}

async function expandAll(word: Word, fields: Fields, around: Surroundings): Promise<void> {
  for (const each of word) {
    if (each.is === 'text' && !each.quoted) fields.split(each.text, separatorsOf(around));
    else await expand(each, { fields, around, isFirst: false });
  }
}

/** `{1..5}`, as bash has it. */
const LONGEST_RANGE = 10_000;
function addRange(fields: Fields, [, before = '', from = '', to = '', after = '']: readonly string[]): void {
  const [first, last] = [Number(from), Number(to)];
  const count = Math.min(Math.abs(last - first) + 1, LONGEST_RANGE);
  for (let index = 0; index < count; index += 1) {
    if (index > 0) fields.break();
    fields.add(`${before}${String(first + (last < first ? -index : index))}${after}`, false);
  }
}

async function partText(part: Part, around: Surroundings, isFirst: boolean): Promise<string> {
  switch (part.is) {
    case 'text':
      return isFirst && !part.quoted ? tilde(part.text, around) : part.text;
    case 'command':
      return around.substitute(part.list);
    case 'arithmetic': {
      const text = await textOf(part.word, around);
      try {
        return String(
          calculate(text, { get: (name) => around.variable(name), set: (name, value) => around.assign(name, value) }),
        );
      } catch (error) {
        throw new ExpansionFault(error instanceof Error ? error.message : String(error), { cause: error });
      }
    }
    case 'parameter':
      return parameter(part, around);
  }
}

function tilde(text: string, around: Surroundings): string {
  return text === '~' || text.startsWith('~/') ? `${around.variable('HOME') ?? ''}${text.slice(1)}` : text;
}

function separatorsOf(around: Surroundings): string {
  return around.variable('IFS') ?? ' \t\n';
}

function valueOf(name: string, around: Surroundings): string | undefined {
  if (name === '@' || name === '*') {
    const separator = name === '*' ? (separatorsOf(around)[0] ?? '') : ' ';
    return around.positional.length > 0 ? around.positional.join(separator) : undefined;
  }
  if (/^[1-9]\d*$/.test(name)) return around.positional[Number(name) - 1];
  return around.variable(name);
}

async function parameter(part: Extract<Part, { is: 'parameter' }>, around: Surroundings): Promise<string> {
  const { name, operator, word } = part;
  const value = valueOf(name, around);
  const isSet = value !== undefined && !(operator.startsWith(':') && operator !== ':' && value === '');
  switch (operator) {
    case 'length':
      return String(name === '@' || name === '*' ? around.positional.length : (value ?? '').length);
    case '-':
    case ':-':
      return isSet ? value : textOf(word, around);
    case '=':
    case ':=': {
      if (isSet) return value;
      const text = await textOf(word, around);
      around.assign(name, text);
      return text;
    }
    case '?':
    case ':?':
      if (isSet) return value;
      throw new ExpansionFault(`${name}: ${(await textOf(word, around)) || 'parameter not set'}`);
    case '+':
    case ':+':
      return isSet ? textOf(word, around) : '';
    case '#':
    case '##':
    case '%':
    case '%%':
      return trimmed(value ?? '', await patternOf(word, around), operator);
    case '/':
    case '//':
      return replaced(value ?? '', await patternOf(word, around), operator === '//');
    case ':':
      return cut(value ?? '', await textOf(word, around));
  }
  if (value === undefined && around.noUnset && !'@*#?$!-'.includes(name)) {
    throw new ExpansionFault(`${name}: parameter not set`);
  }
  return value ?? '';
}

function replaced(text: string, words: string, all: boolean): string {
  const [, pattern = '', by = ''] = /^((?:[^/\\]|\\[^])*)\/?([^]*)$/.exec(words) ?? [];
  if (pattern === '') return text;
  return text.replace(new RegExp(patternSource(pattern), all ? 'g' : ''), () => by.replace(/\\(.)/g, '$1'));
}

function cut(text: string, words: string): string {
  const [from = '0', length] = words.split(':').map((each) => each.trim());
  const start = Number(from) < 0 ? Math.max(0, text.length + Number(from)) : Number(from) || 0;
  if (length === undefined) return text.slice(start);
  return Number(length) < 0 ? text.slice(start, Number(length)) : text.slice(start, start + (Number(length) || 0));
}
