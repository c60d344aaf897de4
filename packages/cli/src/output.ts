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

/** @returns the table's text; columns are as wide as their widest cell */
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

/** A line on the terminal that is overwritten; writes nothing if stderr is not a terminal. */
export class ProgressBar {
  private shown = '';

  /** @param percent null if unknown */
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

/** @returns an age such as `3m`, `2h`, `5d` */
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
