/** Where a text is in a terminal, in cells: from a column of a row of the buffer on, over the ends of rows. */
export interface Match {
  readonly row: number;
  readonly column: number;
  readonly cells: number;
}

/** What the search reads of xterm.js' buffer. */
export interface SearchedBuffer {
  readonly length: number;
  getLine(row: number): SearchedLine | undefined;
}

interface SearchedLine {
  readonly isWrapped: boolean;
  readonly length: number;
  translateToString(trimRight?: boolean): string;
  getCell(column: number): SearchedCell | undefined;
}

interface SearchedCell {
  getWidth(): number;
  getChars(): string;
}

/** More are not counted: `a` in a full buffer would be hundreds of thousands. */
export const MAX_MATCHES = 9999;

/**
 * Finds all places of a text, the oldest first. Lines that were wrapped are searched as one line.
 *
 * @param columns of the terminal
 */
export function findMatches(
  buffer: SearchedBuffer,
  term: string,
  { columns, isCaseSensitive }: { readonly columns: number; readonly isCaseSensitive: boolean },
): readonly Match[] {
  const found: Match[] = [];
  if (term === '') return found;
  const wanted = isCaseSensitive ? term : fold(term);
  for (let row = 0; row < buffer.length && found.length < MAX_MATCHES;) {
    const rows = rowsFrom(buffer, row);
    const text = rows.map((line, at) => textOf(line, rows[at + 1])).join('');
    const searched = isCaseSensitive ? text : fold(text);
    let cells: readonly number[] | undefined;
    for (let at = searched.indexOf(wanted); at >= 0 && found.length < MAX_MATCHES;) {
      // Only lines with a match are read cell by cell.
      cells ??= cellsOf(rows, columns);
      const start = cells[at] ?? 0;
      const end = cells[at + wanted.length] ?? start + wanted.length;
      found.push({ row: row + Math.floor(start / columns), column: start % columns, cells: end - start });
      at = searched.indexOf(wanted, at + wanted.length);
    }
    row += rows.length;
  }
  return found;
}

/** In lower case, character by character, so that no character moves: `İ` becomes two. */
function fold(text: string): string {
  const lower = text.toLowerCase();
  if (lower.length === text.length) return lower;
  return Array.from(text, (char) => (char.toLowerCase().length === char.length ? char.toLowerCase() : char)).join('');
}

function rowsFrom(buffer: SearchedBuffer, row: number): readonly SearchedLine[] {
  const first = buffer.getLine(row);
  if (!first) return [EMPTY];
  const rows = [first];
  for (let next = buffer.getLine(row + 1); next?.isWrapped; next = buffer.getLine(row + rows.length)) rows.push(next);
  return rows;
}

const EMPTY: SearchedLine = {
  isWrapped: false,
  length: 0,
  translateToString: () => '',
  getCell: () => undefined,
};

/** A row that goes on in the next one is full, but for the last cell if a wide character did not fit into it. */
function textOf(line: SearchedLine, next: SearchedLine | undefined): string {
  if (!next) return line.translateToString(true);
  const text = line.translateToString(false);
  return isSpared(line, next) ? text.slice(0, -1) : text;
}

function isSpared(line: SearchedLine, next: SearchedLine): boolean {
  return line.getCell(line.length - 1)?.getChars() === '' && next.getCell(0)?.getWidth() === 2;
}

/** The cell of each UTF-16 unit of the joined text, and of its end. */
function cellsOf(rows: readonly SearchedLine[], columns: number): readonly number[] {
  const cells: number[] = [];
  let end = 0;
  for (const [at, line] of rows.entries()) {
    const next = rows[at + 1];
    const used = next && isSpared(line, next) ? line.length - 1 : line.length;
    for (let column = 0; column < used; column++) {
      const cell = line.getCell(column);
      const width = cell?.getWidth() ?? 1;
      // The second half of a wide character.
      if (width === 0) continue;
      // A cell that was never written is a space in the text.
      const units = Math.max(1, cell?.getChars().length ?? 0);
      for (let unit = 0; unit < units; unit++) cells.push(at * columns + column);
      end = at * columns + column + width;
    }
  }
  cells.push(end);
  return cells;
}
