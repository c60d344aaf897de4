/** What is written for people and for scripts. */
export interface Output {
  /** A script reads: one JSON value, and nothing else. */
  readonly isJson: boolean;
}

/** Indented on a terminal. Control characters are escaped, also those beyond ASCII, which `JSON.stringify` leaves. */
export function sayJson(value: unknown): void {
  process.stdout.write(`${jsonText(value, process.stdout.isTTY ? 2 : 0)}\n`);
}

/** One of several messages: always on one line. */
export function sayJsonLine(value: unknown): void {
  process.stdout.write(`${jsonText(value, 0)}\n`);
}

function jsonText(value: unknown, indent: number): string {
  const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  // JSON.stringify has escaped all below U+0020 within strings; what is left of these are its own line feeds.
  return JSON.stringify(value, null, indent).replace(UNPRINTABLE, (found) => (found === '\n' ? found : escape(found)));
}

/** The answer of a command, such as an id. */
export function say(text: string): void {
  process.stdout.write(`${printable(text)}\n`);
}

/** What happened, which is not the answer of a command. Within a line, a line feed is a control character as others. */
export function note(...lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${printable(line)}\n`).join(''));
}

export type Row = readonly (string | number | null | undefined)[];

/** @returns lines of columns as wide as their widest cell */
export function table(head: readonly string[], rows: readonly Row[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => printable(String(cell ?? '-'))));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

export function sayTable(head: readonly string[], rows: readonly Row[]): void {
  process.stdout.write(table(head, rows));
}

/** C0 and C1 controls, which begin escape sequences, line separators, and what changes the direction of text. */
// oxlint-disable-next-line no-control-regex -- these are what is taken out
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Names, labels and messages of others must not steer the terminal. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, '\u{fffd}');
}

/** A line on a terminal that is written over; nothing where stderr is none. */
export class ProgressBar {
  private shown = '';

  /** @param percent null where it is not known */
  show(percent: number | null, text: string): void {
    if (!process.stderr.isTTY) return;
    const width = 24;
    const done = Math.round(((percent ?? 0) / 100) * width);
    const bar =
      percent === null ? '' : `[${'#'.repeat(done)}${'.'.repeat(width - done)}] ${String(Math.floor(percent))}% `;
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

/** @returns such as `3m`, `2h`, `5d` */
export function age(since: string, now = Date.now()): string {
  return duration((now - Date.parse(since)) / 1_000);
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

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = count < 1 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), units.length - 1);
  const amount = count / 1_024 ** power;
  return `${power === 0 ? String(amount) : amount.toFixed(1)} ${units[power] ?? ''}`;
}
