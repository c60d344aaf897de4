import type { AuditEntryView } from '@berth/client';

/** A spreadsheet runs a cell that begins with one of these as a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/**
 * A cell of a CSV file (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe before it:
 * names and addresses come from users.
 */
export function csvCell(value: string | number | null): string {
  const text = value === null ? '' : String(value);
  const safe = typeof value === 'string' && FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A line of a CSV file, with its end. */
export const csvLine = (cells: readonly (string | number | null)[]): string => `${cells.map(csvCell).join(',')}\r\n`;

/** The columns of an exported audit entry: the name of each, and its value. */
const COLUMNS: readonly (readonly [string, (entry: AuditEntryView, nameOf: NameOf) => string | number | null])[] = [
  ['at', ({ at }) => at],
  ['finished_at', ({ finished_at: at }) => at],
  ['action', ({ action }) => action],
  ['outcome', ({ outcome }) => outcome],
  ['user', ({ user_id: id }, nameOf) => (id === null ? null : (nameOf(id) ?? null))],
  ['user_id', ({ user_id: id }) => id],
  ['subject_user', ({ subject_user_id: id }, nameOf) => (id === null ? null : (nameOf(id) ?? null))],
  ['subject_user_id', ({ subject_user_id: id }) => id],
  ['container_id', ({ container_id: id }) => id],
  ['target_id', ({ target_id: id }) => id],
  ['address', ({ address }) => address],
  ['token_id', ({ token_id: id }) => id],
  ['request_id', ({ request_id: id }) => id],
  ['program', ({ detail }) => detail?.program ?? null],
  ['bytes', ({ detail }) => detail?.bytes ?? null],
];

type NameOf = (userId: string) => string | undefined;

/** The most entries of one export: some 15 MB. */
export const MOST_EXPORTED = 50_000;

/** A file of audit entries, and whether there were more of them. */
interface AuditExport {
  readonly file: Blob;
  readonly count: number;
  readonly isCut: boolean;
}

/**
 * Writes audit entries into a CSV file, page by page.
 *
 * @param options.most how many entries at most
 * @param options.onProgress called with the number of entries after each page
 */
export async function exportAudit(
  pages: AsyncIterable<{ readonly items: readonly AuditEntryView[]; readonly nextCursor: string | null }>,
  {
    nameOf,
    most = MOST_EXPORTED,
    onProgress,
  }: { readonly nameOf: NameOf; readonly most?: number; readonly onProgress: (count: number) => void },
): Promise<AuditExport> {
  // The mark says to spreadsheets that the text is UTF-8.
  const parts: string[] = [`\uFEFF${csvLine(COLUMNS.map(([name]) => name))}`];
  let count = 0;
  let isCut = false;
  for await (const { items, nextCursor } of pages) {
    const taken = items.slice(0, most - count);
    parts.push(taken.map((entry) => csvLine(COLUMNS.map(([, read]) => read(entry, nameOf)))).join(''));
    count += taken.length;
    onProgress(count);
    isCut = count === most && (taken.length < items.length || nextCursor !== null);
    if (count === most) break;
  }
  return { file: new Blob(parts, { type: 'text/csv;charset=utf-8' }), count, isCut };
}
