import { styleText } from 'node:util';

/** How output is written. */
export interface Output {
  /** Writes one JSON value and nothing else, for scripts. */
  readonly isJson: boolean;
}

/**
 * Writes JSON, indented on a terminal. Escapes all control characters, including those beyond ASCII, which
 * `JSON.stringify` leaves.
 */
export function sayJson(value: unknown): void {
  process.stdout.write(`${jsonText(value, process.stdout.isTTY ? 2 : 0)}\n`);
}

/** Writes one of several messages, always on one line. */
export function sayJsonLine(value: unknown): void {
  process.stdout.write(`${jsonText(value, 0)}\n`);
}

function jsonText(value: unknown, indent: number): string {
  const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  // `JSON.stringify` escapes everything below U+0020 within strings; the remaining line feeds are its indentation.
  return JSON.stringify(value, null, indent).replace(UNPRINTABLE, (found) => (found === '\n' ? found : escape(found)));
}

/** Writes the command's result, such as an id, to stdout. */
export function say(text: string): void {
  process.stdout.write(`${printable(text)}\n`);
}

/**
 * Writes a message that is not the command's result to stderr. Line feeds within a line are replaced like other
 * controls.
 */
export function note(...lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${printable(line)}\n`).join(''));
}

export type Row = readonly (string | number | null | undefined)[];

interface TableForm {
  /** Longer lines are cut. */
  readonly width?: number | undefined;
  readonly isColoured?: boolean;
}

/** @returns the table's text; columns are as wide as their widest cell */
export function table(head: readonly string[], rows: readonly Row[], form: TableForm = {}): string {
  const { width = Infinity, isColoured = false } = form;
  const cells = [head, ...rows].map((row) => row.map((cell) => printable(String(cell ?? '-'))));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const status = head.findIndex((name) => name === 'STATUS' || name === 'STATE');
  const before = widths.slice(0, Math.max(status, 0)).reduce((sum, each) => sum + each + 2, 0);
  const lines = cells.map((row, index) => {
    const padded = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
    const line = cut(padded.trimEnd(), width);
    if (!isColoured) return line;
    if (index === 0) return styleText('bold', line, { validateStream: false });
    const word = line.slice(before, before + (row[status]?.length ?? 0));
    return `${line.slice(0, before)}${colouredStatus(word)}${line.slice(before + word.length)}`;
  });
  return `${lines.join('\n')}\n`;
}

function cut(line: string, width: number): string {
  // Characters beyond U+FFFF are not split.
  const characters = Array.from(line);
  return characters.length <= width ? line : `${characters.slice(0, width - 1).join('')}…`;
}

type Colour = 'green' | 'yellow' | 'red' | 'dim';
/** The words that a status begins with, by the colour that it gets. */
const STATUS_WORDS: Record<Colour, readonly string[]> = {
  green: ['running', 'ready', 'active', 'online'],
  yellow: ['creating', 'paused', 'pending', 'drain', 'drained'],
  red: ['error', 'failed', 'failing', 'disabled', 'unreachable'],
  dim: ['stopped', 'deleted', 'offline'],
};
const COLOURS = new Map(
  (Object.keys(STATUS_WORDS) as Colour[]).flatMap((colour) =>
    STATUS_WORDS[colour].map((word) => [word, colour] as const),
  ),
);

function colouredStatus(status: string): string {
  const colour = COLOURS.get(/^[a-z]+/.exec(status)?.[0] ?? '');
  return colour === undefined ? status : styleText(colour, status, { validateStream: false });
}

/** Whether colours may be written: at a terminal without `NO_COLOR` (https://no-color.org), or with `FORCE_COLOR`. */
function hasColours(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR: none = '', FORCE_COLOR: forced } = process.env;
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return none === '' && stream.isTTY && stream.hasColors();
}

/** Writes a table whose last column is of any length. At a terminal, lines are cut to its width. */
export function sayCutTable(head: readonly string[], rows: readonly Row[]): void {
  const { isTTY, columns } = process.stdout;
  const width = isTTY && columns > 0 ? columns : undefined;
  process.stdout.write(table(head, rows, { width, isColoured: hasColours(process.stdout) }));
}

/** Writes a table; at a terminal, instead of an empty one, the advice `ifEmpty`. */
export function sayTable(head: readonly string[], rows: readonly Row[], ifEmpty?: string): void {
  if (rows.length === 0 && ifEmpty !== undefined && process.stdout.isTTY) note(ifEmpty);
  else process.stdout.write(table(head, rows, { isColoured: hasColours(process.stdout) }));
}

interface List<T> extends Output {
  readonly head: readonly string[];
  readonly row: (each: T) => Row;
  /** What to do next where there is nothing to list. */
  readonly ifEmpty?: string;
}

/** Writes a list: as JSON, or as a table with a row for each element. */
export function sayList<T>(list: readonly T[], { isJson, head, row, ifEmpty }: List<T>): void {
  if (isJson) sayJson(list);
  else sayTable(head, list.map(row), ifEmpty);
}

/**
 * C0 and C1 controls, which start escape sequences, line separators, and characters that change the direction of
 * text.
 */
// oxlint-disable-next-line no-control-regex -- these are what is taken out
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Replaces control characters: names, labels and messages of other users must not control the terminal. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, '\u{fffd}');
}

/** A code of the API for people: `container_stopped` is `container stopped`. */
export function inWords(code: string): string {
  return code.replaceAll('_', ' ');
}

/** A group of facts, such as the limits of a user. */
export interface Section {
  readonly title: string;
  /** Facts whose value is null are left out. */
  readonly facts: readonly (readonly [name: string, value: string | number | null | undefined])[];
}

/** Writes sections with aligned values. Those without facts are left out. */
export function saySections(sections: readonly Section[]): void {
  const filled = sections.map(({ title, facts }) => ({
    title,
    facts: facts.flatMap(([name, value]) => (value === null || value === undefined ? [] : [[name, String(value)]])),
  }));
  const width = Math.max(...filled.flatMap(({ facts }) => facts.map(([name = '']) => name.length)), 0);
  const blocks = filled
    .filter(({ facts }) => facts.length > 0)
    .map(({ title, facts }) => {
      const lines = facts.map(([name = '', value = '']) => `  ${name.padEnd(width)}  ${printable(value)}\n`);
      const head = hasColours(process.stdout) ? styleText('bold', title, { validateStream: false }) : title;
      return `${head}\n${lines.join('')}`;
    });
  process.stdout.write(blocks.join('\n'));
}

/** Text at the end of the terminal's output that is replaced, such as a table of current values. */
export class Redrawn {
  private lines = 0;

  /** @param text lines, each with a line feed */
  show(text: string): void {
    const { columns, rows } = process.stdout;
    // A line that wraps, or one above the top of the screen, could not be replaced.
    const lines = text
      .split('\n')
      .slice(0, -1)
      .slice(0, Math.max(1, (rows || 24) - 1))
      .map((line) => line.slice(0, Math.max(20, (columns || 80) - 1)));
    const back = this.lines === 0 ? '' : `\u001b[${String(this.lines)}A\r`;
    process.stdout.write(`${back}\u001b[J${lines.join('\n')}\n`);
    this.lines = lines.length;
  }
}

/** A line on the terminal that is overwritten; writes nothing if stderr is not a terminal. */
export class ProgressBar {
  private shown = '';

  /** @param percent null if unknown */
  show(percent: number | null, text: string): void {
    if (!process.stderr.isTTY) return;
    const width = 24;
    const done = Math.round((Math.min(percent ?? 0, 100) / 100) * width);
    const bar =
      percent === null
        ? ''
        : `[${'#'.repeat(done)}${'.'.repeat(width - done)}] ${String(Math.min(100, Math.floor(percent)))}% `;
    const line = `${bar}${printable(text)}`.slice(0, Math.max(20, process.stderr.columns - 1));
    if (line === this.shown) return;
    this.shown = line;
    process.stderr.write(`\r\u001b[K${line}`);
  }

  clear(): void {
    if (this.shown !== '') process.stderr.write('\r\u001b[K');
    this.shown = '';
  }
}

/** @returns an age such as `3m`, `2h`, `5d` */
export function age(since: string): string {
  return duration((Date.now() - Date.parse(since)) / 1_000);
}

export function duration(seconds: number): string {
  const units: readonly (readonly [number, string])[] = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'm'],
  ];
  for (const [size, unit] of units)
    if (Math.abs(seconds) >= size) return `${String(Math.floor(seconds / size))}${unit}`;
  return `${String(Math.max(0, Math.floor(seconds)))}s`;
}

/** @returns a number of bytes such as `1.5 MB`, of 1024 KB each, as in the console */
export function bytes(count: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  const power = count < 1 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), units.length - 1);
  const amount = count / 1_024 ** power;
  return `${power === 0 ? String(amount) : amount.toFixed(1)} ${units[power] ?? ''}`;
}

/** @returns an amount in MiB such as `512 MB`, `1.5 GB` or `10 GB` */
export function mebibytesText(amount: number): string {
  return bytes(amount * 2 ** 20).replace('.0 ', ' ');
}

/** @returns a time such as `2026-11-01 12:30 UTC (3h ago)`, or `(in 3h)` */
export function moment(time: string): string {
  const seconds = (Date.parse(time) - Date.now()) / 1_000;
  const distance = seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
  return `${time.slice(0, 16).replace('T', ' ')} UTC (${distance})`;
}
