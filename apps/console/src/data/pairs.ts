/** Rows of names and values, as labels and environment variables are edited, and `.env` text that fills them. */

import { faultWords } from '../words/faults';
import type { Faults } from './faults';

const { rows: WORDS } = faultWords;

/** A row. */
export interface Pair {
  /** Stays the same while the row is moved or edited. */
  readonly id: number;
  readonly name: string;
  readonly value: string;
  /** Of a change: the variable is removed. */
  readonly isRemoval?: boolean;
  /** A link named the variable without its value, which has to be entered. */
  readonly isValueMissing?: boolean;
}

let lastId = 0;

export const newPair = (name = '', value = ''): Pair => ({ id: ++lastId, name, value });

export const pairsOf = (values: Readonly<Record<string, string>>): readonly Pair[] =>
  Object.entries(values).map(([name, value]) => newPair(name, value));

/** Whether nothing was entered in a row. Such rows are left out. */
const isBlank = ({ name, value }: Pair): boolean => name.trim() === '' && value === '';

/** The rows that something was entered in. */
export const filled = (pairs: readonly Pair[]): readonly Pair[] => pairs.filter((pair) => !isBlank(pair));

/** Values by name. */
export const valuesOf = (pairs: readonly Pair[]): Record<string, string> =>
  Object.fromEntries(filled(pairs).map(({ name, value }) => [name.trim(), value]));

/** Changes by name, as a merge patch has them: null removes a variable. */
export const changesOf = (pairs: readonly Pair[]): Record<string, string | null> =>
  Object.fromEntries(filled(pairs).map(({ name, value, isRemoval }) => [name.trim(), isRemoval ? null : value]));

/** The merge patch that turns the first rows into the others. */
export function differenceOf(before: readonly Pair[], after: readonly Pair[]): Record<string, string | null> {
  const [old, wanted] = [valuesOf(before), valuesOf(after)];
  const changed = Object.entries(wanted).filter(([name, value]) => !Object.hasOwn(old, name) || old[name] !== value);
  const removed = Object.keys(old).filter((name) => !Object.hasOwn(wanted, name));
  return Object.fromEntries([...removed.map((name): [string, null] => [name, null]), ...changed]);
}

/** What rows of a kind may be. */
export interface PairRules {
  /** How its faults are keyed: `labels`, and `labels.7` for the row with the id 7. */
  readonly field: 'labels' | 'env';
  readonly name: RegExp;
  readonly nameRule: string;
  readonly most: number;
  readonly longest: number;
}

/** As the API has them: src/containers/model/labels.ts. */
export const LABEL_RULES: PairRules = {
  field: 'labels',
  name: /^[a-z0-9._/-]{1,63}$/,
  nameRule: WORDS.label,
  most: 32,
  longest: 255,
};

/** As the API has them: src/containers/dto/requests.ts. */
export const VARIABLE_RULES: PairRules = {
  field: 'env',
  name: /^[A-Za-z_][A-Za-z0-9_]{0,127}$/,
  nameRule: WORDS.variable,
  most: 64,
  longest: 4096,
};

/** What is wrong with rows, by field: a row's name has `labels.7`, its value `labels.7.value`. */
export function faultsOfPairs(pairs: readonly Pair[], rules: PairRules): Faults {
  const faults: Record<string, string> = {};
  const seen = new Set<string>();
  const rows = filled(pairs);
  for (const pair of rows) {
    const name = pair.name.trim();
    const field = `${rules.field}.${String(pair.id)}`;
    if (name === '') faults[field] = WORDS.noName;
    else if (!rules.name.test(name)) faults[field] = rules.nameRule;
    else if (seen.has(name)) faults[field] = WORDS.nameTaken;
    seen.add(name);
    const fault = faultOfValue(pair, rules);
    if (fault !== null) faults[`${field}.value`] = fault;
  }
  if (rows.length > rules.most) faults[rules.field] = WORDS.tooMany(rules.most);
  return faults;
}

function faultOfValue(
  { value, isValueMissing = false, isRemoval = false }: Pair,
  { longest }: PairRules,
): string | null {
  if (isRemoval) return null;
  if (isValueMissing && value === '') return WORDS.noValue;
  if (value.includes('\0')) return WORDS.hasNul;
  return value.length > longest ? WORDS.tooLong(longest) : null;
}

/** What was found in `.env` text. */
export interface EnvText {
  /** In the order of the text; of a name that is set several times, the last value. */
  readonly values: ReadonlyMap<string, string>;
  /** The lines that assign nothing, from 1 on. */
  readonly leftOut: readonly number[];
}

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=[^\S\n]*/;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

/**
 * Reads `.env` text as shells and dotenv do: comments, `export`, values in quotes, which may have several lines.
 * Variables within values are not replaced.
 */
export function readEnvText(text: string): EnvText {
  const values = new Map<string, string>();
  const leftOut: number[] = [];
  let rest = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  for (let line = 1; rest !== '';) {
    const taken = assignmentAt(rest);
    if (taken) {
      // Behind those that are there: the order is that of the last assignments.
      values.delete(taken.name);
      values.set(taken.name, taken.value);
    }
    const length = taken?.length ?? lineLength(rest);
    const lines = rest.slice(0, length);
    if (!taken && !/^\s*(#.*)?\n?$/.test(lines)) leftOut.push(line);
    line += lines.split('\n').length - 1;
    rest = rest.slice(length);
  }
  return { values, leftOut };
}

interface Assignment {
  readonly name: string;
  readonly value: string;
  /** Of its text, with the end of its last line. */
  readonly length: number;
}

function lineLength(text: string): number {
  const end = text.indexOf('\n');
  return end < 0 ? text.length : end + 1;
}

/** @returns the assignment that the text begins with; null if its first line has none */
function assignmentAt(text: string): Assignment | null {
  const first = text.slice(0, lineLength(text));
  const [start, name = ''] = ASSIGNMENT.exec(first) ?? [];
  if (start === undefined) return null;
  const value = text.slice(start.length);
  const quoted = quotedAt(value);
  if (quoted) {
    const tail = value.slice(quoted.length);
    const length = lineLength(tail);
    // Something other than a comment behind the closing quote: the quotes are not those of the value.
    if (/^\s*(#.*)?\n?$/.test(tail.slice(0, length))) {
      return { name, value: quoted.value, length: start.length + quoted.length + length };
    }
  }
  const plain = first.slice(start.length).replace(/\n$/, '');
  return { name, value: plain.replace(/(^|\s)#.*$/, '').trim(), length: first.length };
}

/** @returns the text in the quotes that a value begins with, and the length with them; null without a closing quote */
function quotedAt(value: string): { readonly value: string; readonly length: number } | null {
  const single = /^'([^']*)'|^`([^`]*)`/.exec(value);
  if (single) return { value: single[1] ?? single[2] ?? '', length: single[0].length };
  const [all, inside] = /^"((?:\\[^]|[^"\\])*)"/.exec(value) ?? [];
  if (all === undefined || inside === undefined) return null;
  const read = inside.replace(/\\([^])/g, (both, escaped: string) =>
    /["\\$`]/.test(escaped) ? escaped : (ESCAPES.get(escaped) ?? both),
  );
  return { value: read, length: all.length };
}

/**
 * Puts values into rows: into the row of their name, else from `at` on, where a blank row is used.
 *
 * @param at the id of the row that they were pasted into
 */
export function withValues(pairs: readonly Pair[], at: number, values: ReadonlyMap<string, string>): readonly Pair[] {
  const known = new Set(pairs.map(({ name }) => name.trim()));
  const set = pairs.map((pair): Pair => {
    const value = values.get(pair.name.trim());
    return value === undefined || pair.name.trim() === '' ? pair : { id: pair.id, name: pair.name, value };
  });
  const added = [...values].filter(([name]) => !known.has(name)).map(([name, value]) => newPair(name, value));
  const place = set.findIndex(({ id }) => id === at);
  const here = set[place];
  const isReplaced = here !== undefined && isBlank(here);
  return [...set.slice(0, isReplaced ? place : place + 1), ...added, ...set.slice(place + 1)];
}
