import { parse, type ScriptNode, type WordNode } from 'just-bash';
import { calculate, ShellFault } from './arithmetic';
import { glob, patternSource, quoted, trimmed } from './patterns';
import type { Process } from './process';

type Part = WordNode['parts'][number];
type Operation = NonNullable<Extract<Part, { type: 'ParameterExpansion' }>['operation']>;

/** What the words of a script are expanded with. */
export interface Surroundings {
  readonly process: Process;
  readonly positional: readonly string[];
  readonly options: ReadonlySet<string>;
  variable(name: string): string | undefined;
  assign(name: string, value: string): void;
  /** Runs the commands of `$(…)`. @returns their output, without newlines at the end */
  substitute(script: ScriptNode): Promise<string>;
}

/** @throws ShellFault */
export function parsed(text: string): ScriptNode {
  try {
    return parse(text);
  } catch (error) {
    throw new ShellFault(`Syntax error: ${error instanceof Error ? error.message : ''}`, { cause: error });
  }
}

/** A piece of a word: quoted (without special characters), to be split into fields, or neither. */
interface Piece {
  readonly text: string;
  readonly is: 'quoted' | 'split' | 'plain';
}
/** Between two pieces: the first belongs to one field, the second to the next. */
const BREAK = null;

/** A word as arguments: expanded, split, and its patterns replaced by the paths that they match. */
export async function fieldsOf(word: WordNode, around: Surroundings): Promise<string[]> {
  const all: string[] = [];
  for (const parts of braced(word.parts)) {
    for (const field of fieldsFrom(await piecesOf(parts, around), ifs(around))) {
      const isPattern = field.some(({ text, is }) => is !== 'quoted' && /[*?[]/.test(text));
      const found = isPattern && !around.options.has('f') ? await glob(around.process, patternFrom(field)) : [];
      all.push(...(found.length > 0 ? found : [field.map(({ text }) => text).join('')]));
    }
  }
  return all;
}

/** A word as one text, as after `=` and in redirections. */
export async function textOf({ parts }: WordNode, around: Surroundings): Promise<string> {
  return (await piecesOf(parts, around)).map((piece) => piece?.text ?? ' ').join('');
}

/** A word as a pattern, in which quoted characters stand for themselves. */
export async function patternOf({ parts }: WordNode, around: Surroundings): Promise<string> {
  return patternFrom((await piecesOf(parts, around)).filter((piece) => piece !== BREAK));
}

export async function calculated(expression: Parameters<typeof calculate>[0], around: Surroundings): Promise<number> {
  const text = async (script: string): Promise<string> => {
    const [statement] = parsed(`: "${script}"`).statements;
    const command = statement?.pipelines[0]?.commands[0];
    return command?.type === 'SimpleCommand' && command.args[0] ? textOf(command.args[0], around) : '';
  };
  return calculate(expression, {
    ...around,
    text,
    variable: (name) => valueOf(name, around),
    assign: around.assign.bind(around),
  });
}

function ifs(around: Surroundings): string {
  return around.variable('IFS') ?? ' \t\n';
}

function patternFrom(pieces: readonly Piece[]): string {
  return pieces.map(({ text, is }) => (is === 'quoted' ? quoted(text) : text)).join('');
}

/** The words that a word with braces stands for. */
function braced(parts: readonly Part[]): (readonly Part[])[] {
  const at = parts.findIndex(({ type }) => type === 'BraceExpansion');
  const part = parts[at];
  if (part?.type !== 'BraceExpansion') return [parts];
  const choices = part.items.flatMap((item): (readonly Part[])[] => {
    if (item.type === 'Word') return braced(item.word.parts);
    const isNumber = typeof item.start === 'number' && typeof item.end === 'number';
    const code = (end: string | number): number => (typeof end === 'number' ? end : (end.codePointAt(0) ?? 0));
    const [from, to] = [code(item.start), code(item.end)];
    const step = Math.max(1, Math.abs(item.step ?? 1));
    const count = Math.min(Math.floor(Math.abs(to - from) / step), LONGEST_RANGE) + 1;
    return Array.from({ length: count }, (_each, index) => {
      const value = from + (to < from ? -index : index) * step;
      return [{ type: 'Literal', value: isNumber ? String(value) : String.fromCodePoint(value) }];
    });
  });
  return choices.flatMap((choice) => braced([...parts.slice(0, at), ...choice, ...parts.slice(at + 1)]));
}
const LONGEST_RANGE = 10_000;

function fieldsFrom(pieces: readonly (Piece | null)[], separators: string): Piece[][] {
  const fields: Piece[][] = [];
  let current: Piece[] | null = null;
  const end = (): void => {
    if (current) fields.push(current);
    current = null;
  };
  for (const piece of pieces) {
    if (piece === BREAK) end();
    else if (piece.is !== 'split') (current ??= []).push(piece);
    else {
      let text = '';
      const flush = (): void => {
        if (text !== '') (current ??= []).push({ text, is: 'plain' });
        text = '';
      };
      let isAfterBlank = false;
      for (const char of piece.text) {
        if (!separators.includes(char)) {
          text += char;
          isAfterBlank = false;
          continue;
        }
        const isBlank = ' \t\n'.includes(char);
        const hasField: boolean = text !== '' || current !== null;
        flush();
        // Every other separator ends a field, even an empty one.
        if (!isBlank && !hasField && !isAfterBlank) current = [{ text: '', is: 'quoted' }];
        isAfterBlank = isBlank && hasField;
        end();
      }
      flush();
    }
  }
  end();
  return fields;
}

async function piecesOf(parts: readonly Part[], around: Surroundings, isQuoted = false): Promise<(Piece | null)[]> {
  const all: (Piece | null)[] = [];
  for (const part of parts) all.push(...(await piecesOfPart(part, around, isQuoted)));
  return all;
}

async function piecesOfPart(part: Part, around: Surroundings, isQuoted: boolean): Promise<(Piece | null)[]> {
  const result = (text: string): Piece[] => [{ text, is: isQuoted ? 'quoted' : 'split' }];
  switch (part.type) {
    case 'Literal':
      return [{ text: part.value, is: isQuoted ? 'quoted' : 'plain' }];
    case 'Glob':
      return [{ text: part.pattern, is: isQuoted ? 'quoted' : 'plain' }];
    case 'SingleQuoted':
    case 'Escaped':
      return [{ text: part.value, is: 'quoted' }];
    case 'DoubleQuoted':
      return part.parts.length === 0 ? [{ text: '', is: 'quoted' }] : piecesOf(part.parts, around, true);
    case 'TildeExpansion':
      return [{ text: part.user === null ? (around.variable('HOME') ?? '') : `/home/${part.user}`, is: 'quoted' }];
    case 'CommandSubstitution':
      return result(await around.substitute(part.body));
    case 'ArithmeticExpansion':
      return result(String(await calculated(part.expression.expression, around)));
    case 'ParameterExpansion': {
      const { parameter, operation } = part;
      if (operation === null && (parameter === '@' || (parameter === '*' && !isQuoted))) {
        return around.positional.flatMap((each, index) => [...(index > 0 ? [BREAK] : []), ...result(each)]);
      }
      const value = valueOf(parameter, around);
      if (operation === null) {
        if (value === undefined && around.options.has('u') && !'@*#?$!-'.includes(parameter)) {
          throw new ShellFault(`${parameter}: parameter not set`);
        }
        return result(value ?? '');
      }
      const isSet = value !== undefined && !('checkEmpty' in operation && operation.checkEmpty && value === '');
      const isWord = operation.type === 'UseAlternative' ? isSet : operation.type === 'DefaultValue' && !isSet;
      if (isWord && 'word' in operation && operation.word) {
        const pieces = await piecesOf(operation.word.parts, around, isQuoted);
        return pieces.map((piece) => (piece?.is === 'plain' ? { text: piece.text, is: 'split' } : piece));
      }
      if (operation.type === 'UseAlternative') return result('');
      return result(
        isSet && 'word' in operation ? value : await operated(value ?? '', { parameter, operation, around }),
      );
    }
    default:
      throw new ShellFault(`${part.type} is not simulated`);
  }
}

function valueOf(name: string, around: Surroundings): string | undefined {
  if (name === '@' || name === '*') {
    const separator = name === '*' ? (ifs(around)[0] ?? '') : ' ';
    return around.positional.length > 0 ? around.positional.join(separator) : undefined;
  }
  return /^[1-9]\d*$/.test(name) ? around.positional[Number(name) - 1] : around.variable(name);
}

async function operated(
  value: string,
  { parameter, operation, around }: { parameter: string; operation: Operation; around: Surroundings },
): Promise<string> {
  switch (operation.type) {
    case 'AssignDefault': {
      const text = await textOf(operation.word, around);
      around.assign(parameter, text);
      return text;
    }
    case 'ErrorIfUnset': {
      const text = operation.word ? await textOf(operation.word, around) : '';
      throw new ShellFault(`${parameter}: ${text || 'parameter not set'}`);
    }
    case 'Length':
      return String('@*'.includes(parameter) ? around.positional.length : Array.from(value).length);
    case 'PatternRemoval':
      return trimmed(value, await patternOf(operation.pattern, around), operation);
    case 'PatternReplacement': {
      const source = patternSource(await patternOf(operation.pattern, around));
      if (source === '') return value;
      const by = operation.replacement ? await textOf(operation.replacement, around) : '';
      const [start, end] = [operation.anchor === 'start' ? '^' : '', operation.anchor === 'end' ? '$' : ''];
      return value.replace(new RegExp(`${start}${source}${end}`, operation.all ? 'g' : ''), () => by);
    }
    case 'Substring': {
      const from = await calculated(operation.offset.expression, around);
      const length = operation.length ? await calculated(operation.length.expression, around) : value.length;
      const start = from < 0 ? Math.max(0, value.length + from) : from;
      return length < 0 ? value.slice(start, length) : value.slice(start, start + length);
    }
    case 'CaseModification': {
      const change = (text: string): string =>
        operation.direction === 'upper' ? text.toUpperCase() : text.toLowerCase();
      return operation.all ? change(value) : change(value.slice(0, 1)) + value.slice(1);
    }
    default:
      throw new ShellFault(`${parameter}: ${operation.type} is not simulated`);
  }
}
