import type { OutputChunkView } from '@berth/client';

/** A line of a program's output, without its line break. */
export interface LogLine {
  /** Counts up from the first line that was taken. */
  readonly number: number;
  readonly stream: 'stdout' | 'stderr';
  /** When its first byte was written, ISO 8601; null if that is not known. */
  readonly time: string | null;
  readonly text: string;
}

/** Lines that a page shows. */
export const MOST_LINES = 5_000;
/** Characters of a line that are kept. */
const LONGEST_LINE = 16 * 1024;

const ESC = String.fromCharCode(27);
const BELL = String.fromCharCode(7);
/** What moves a terminal's cursor, colours its text or names its window. */
const ESCAPES = new RegExp(`${ESC}(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^${BELL}${ESC}]*(?:${BELL}|${ESC}\\\\)|[()].|.)`, 'g');
/** A carriage return at the end may be the first half of a line break. */
const LINE_BREAK = /\r\n|\n|\r(?!$)/;

const shown = (text: string): string => text.replace(ESCAPES, '').replace(/\r$/, '');

/** The lines of an output, as its pieces come. Standard output and error each continue their own line. */
export class LogLines {
  private readonly lines: LogLine[] = [];
  /** The lines that have no end yet, as they were written. */
  private readonly open = new Map<LogLine['stream'], LogLine>();
  private count = 0;

  /** @param most lines that are kept, the last ones */
  constructor(private readonly most = MOST_LINES) {}

  /** @returns the lines, oldest first, with those that have no end yet */
  get all(): readonly LogLine[] {
    return this.lines.slice(-this.most);
  }

  take({ stream, data, time = null }: Pick<OutputChunkView, 'stream' | 'data'> & { time?: string | null }): void {
    const begun = this.open.get(stream);
    const texts = `${begun?.text ?? ''}${data}`.split(LINE_BREAK);
    const rest = texts.pop() ?? '';
    let next = begun;
    for (const text of texts) {
      this.put({ ...(next ?? this.newLine(stream, time)), text });
      next = undefined;
    }
    if (rest === '') this.open.delete(stream);
    else this.open.set(stream, this.put({ ...(next ?? this.newLine(stream, time)), text: rest }));
    if (this.lines.length > 2 * this.most) this.lines.splice(0, this.lines.length - this.most);
  }

  private newLine(stream: LogLine['stream'], time: string | null): Omit<LogLine, 'text'> {
    return { number: this.count++, stream, time };
  }

  /** Adds a line, or replaces it where it was unfinished. */
  private put(line: LogLine): LogLine {
    const cut = { ...line, text: line.text.slice(0, LONGEST_LINE) };
    const plain = { ...cut, text: shown(cut.text) };
    const at = this.lines.findLastIndex(({ number }) => number <= line.number);
    if (this.lines[at]?.number === line.number) this.lines[at] = plain;
    else this.lines.splice(at + 1, 0, plain);
    return cut;
  }
}
