import type { FileView } from '@berth/client';
import { listWords } from '../words/lists';

/** The order and the selection of a list of files, their paths, and which files have a preview: pure functions. */

export const SORT_KEYS = ['name', 'size', 'time'] as const;
export type SortKey = (typeof SORT_KEYS)[number];

export interface Sorting {
  readonly by: SortKey;
  readonly isDescending: boolean;
}

/** `file9` before `file10`, and `a` beside `A`. */
const natural = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

const byName = (a: FileView, b: FileView): number =>
  natural.compare(a.name, b.name) || (a.name < b.name ? -1 : Number(a.name > b.name));

const COMPARE: Readonly<Record<SortKey, (a: FileView, b: FileView) => number>> = {
  name: byName,
  // The size of a folder says nothing of its contents.
  size: (a, b) => (a.is_dir ? 0 : a.size - b.size),
  time: (a, b) => Date.parse(a.mod_time) - Date.parse(b.mod_time),
};

/** Folders first in either direction; equal entries by name, ascending. */
export function sorted(entries: readonly FileView[], { by, isDescending }: Sorting): FileView[] {
  const sign = isDescending ? -1 : 1;
  return [...entries].sort((a, b) => Number(b.is_dir) - Number(a.is_dir) || sign * COMPARE[by](a, b) || byName(a, b));
}

/** The order after a click on a column's head: the other direction, or another column in its usual direction. */
export function sortedBy(by: SortKey, before: Sorting): Sorting {
  if (before.by === by) return { by, isDescending: !before.isDescending };
  // People look for the largest and the newest files.
  return { by, isDescending: by !== 'name' };
}

export interface Selection {
  readonly paths: ReadonlySet<string>;
  /** Where a range begins: the entry that was selected or deselected last. */
  readonly anchor: string | null;
}

export const NONE_SELECTED: Selection = { paths: new Set(), anchor: null };

/** Selects or deselects one entry. */
export function toggle({ paths }: Selection, path: string): Selection {
  const next = new Set(paths);
  if (!next.delete(path)) next.add(path);
  return { paths: next, anchor: path };
}

/**
 * Gives all entries between the anchor and `path` the state of the anchor, as file managers do with Shift.
 *
 * @param order the paths as they are shown
 */
export function extend(selection: Selection, path: string, order: readonly string[]): Selection {
  const { paths, anchor } = selection;
  const [from, to] = [anchor === null ? -1 : order.indexOf(anchor), order.indexOf(path)];
  if (anchor === null || from < 0 || to < 0) return toggle(selection, path);
  const isSelecting = paths.has(anchor);
  const next = new Set(paths);
  for (const each of order.slice(Math.min(from, to), Math.max(from, to) + 1)) {
    if (isSelecting) next.add(each);
    else next.delete(each);
  }
  return { paths: next, anchor };
}

/** Names as a sentence has them: all if they are few, else the first and how many more. */
export function listed(names: readonly string[], most = 8): string {
  const shown = names.length > most ? names.slice(0, most - 1) : names;
  const rest = names.length - shown.length;
  const quoted = shown.map(listWords.name);
  if (rest > 0) return listWords.namesAndMore({ names: quoted, more: rest });
  const last = quoted.pop() ?? '';
  return quoted.length === 0 ? last : listWords.namesAndLast({ names: quoted, last });
}

export const joinPath = (folder: string, name: string): string => `${folder === '/' ? '' : folder}/${name}`;
export const nameOfPath = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
export const folderOfPath = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

/** An absolute path without `.`, `..` and repeated slashes. @param path relative to `folder` unless it begins with `/` */
export function resolvePath(folder: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${folder}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** What Chromium saves as a file where it is dropped: `type:name:address`, so that the name has no colon. */
export const downloadUrl = (name: string, address: string): string =>
  `application/octet-stream:${name.replace(/[:\p{Cc}\u2028\u2029]/gu, '_')}:${address}`;

/** Marks a drag of the console's own files, as a type of its data: Chromium may show them as files to upload. */
export const OWN_FILE = 'application/x-berth-file';

/** Whether files of the user's machine are dragged, and not one of a list of the console. */
export const hasLocalFiles = ({ types }: Pick<DataTransfer, 'types'>): boolean =>
  types.includes('Files') && !types.includes(OWN_FILE);

/** Media types of files with a preview, by the ending of their names. */
const SHOWN: ReadonlyMap<string, string> = new Map([
  ['png', 'image/png'],
  ['jpg', 'image/jpeg'],
  ['jpeg', 'image/jpeg'],
  ['gif', 'image/gif'],
  ['webp', 'image/webp'],
  ['avif', 'image/avif'],
  ['bmp', 'image/bmp'],
  ['ico', 'image/x-icon'],
  ['svg', 'image/svg+xml'],
  ['pdf', 'application/pdf'],
]);

const MB = 1024 * 1024;

/** The media type of a file with a preview, and the most bytes that are fetched for it; null if it has none. */
export function shownAs(name: string): { readonly type: string; readonly mostBytes: number } | null {
  const ending = /\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  const type = SHOWN.get(ending);
  if (type === undefined) return null;
  // An SVG is shown from a `data:` URL, which holds it as text.
  return { type, mostBytes: type === 'image/svg+xml' ? 2 * MB : 32 * MB };
}
