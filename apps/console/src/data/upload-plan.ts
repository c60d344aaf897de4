import { bytes } from '../words/format';
import { transferWords } from '../words/transfers';

/** A file of the user's own machine by its path below the folder that it goes to; a folder if it has no file. */
export interface LocalEntry {
  readonly path: string;
  readonly file: File | null;
}

/** One request of an upload, with its own progress. */
export interface UploadPart {
  /** For people. */
  readonly name: string;
  /** One file, written on a condition; or an archive, of which all arrives or nothing. */
  readonly kind: 'file' | 'archive';
  readonly entries: readonly LocalEntry[];
  /** Of the files' contents. */
  readonly bytes: number;
}

/** From this many single files on, they are sent as one archive: each request takes a moment. */
const MANY_FILES = 100;

const topOf = (path: string): string => path.split('/', 1)[0] ?? path;

/** Divides an upload into a part for each chosen file and each chosen folder. */
export function planUpload(entries: readonly LocalEntry[]): UploadPart[] {
  const groups = new Map<string, LocalEntry[]>();
  for (const entry of entries) {
    const top = topOf(entry.path);
    const group = groups.get(top);
    if (group) group.push(entry);
    else groups.set(top, [entry]);
  }
  const isPlain = ([entry]: readonly LocalEntry[]): boolean => entry?.file != null && !entry.path.includes('/');
  const plain = [...groups.values()].filter(isPlain).flat();
  const folders = [...groups].filter(([, group]) => !isPlain(group));
  const parts: UploadPart[] =
    plain.length >= MANY_FILES
      ? [{ name: transferWords.files(plain.length), kind: 'archive', entries: plain, bytes: bytesOf(plain) }]
      : plain.map((entry) => ({ name: entry.path, kind: 'file', entries: [entry], bytes: bytesOf([entry]) }));
  for (const [name, group] of folders) parts.push({ name, kind: 'archive', entries: group, bytes: bytesOf(group) });
  return parts;
}

/** The sizes that can be uploaded at once, in bytes. */
export interface UploadLimits {
  readonly file: number;
  readonly archive: number;
  /** Of the container; nothing larger fits. */
  readonly disk: number;
}

/** Why a part cannot be uploaded, known before anything is sent; null if it can. @param size of what is sent */
export function sizeFault({ kind }: Pick<UploadPart, 'kind'>, size: number, limits: UploadLimits): string | null {
  const limit = Math.min(limits[kind], limits.disk);
  if (size <= limit) return null;
  const { fileTooLarge, archiveTooLarge } = transferWords.faults;
  return kind === 'file' ? fileTooLarge(bytes(limit)) : archiveTooLarge(bytes(limit));
}

const bytesOf = (entries: readonly LocalEntry[]): number =>
  entries.reduce((sum, { file }) => sum + (file?.size ?? 0), 0);

/** The entries that exist in the container: whether each is a folder, by its path below the target folder. */
export type Existing = ReadonlyMap<string, boolean>;

export interface Conflicts {
  /** Files that would be replaced. */
  readonly replaced: readonly string[];
  /** Files whose name is a folder there, or folders whose name is a file: neither can replace the other. */
  readonly impossible: readonly string[];
}

/** Finds the entries whose paths exist in the container. */
export function conflictsOf(entries: readonly LocalEntry[], existing: Existing): Conflicts {
  const replaced: string[] = [];
  const impossible = new Set<string>();
  for (const { path, file } of entries) {
    // The folders of a path count too: a file dialog does not list them.
    const names = path.split('/');
    for (let depth = 1; depth < names.length; depth++) {
      const folder = names.slice(0, depth).join('/');
      if (existing.get(folder) === false) impossible.add(folder);
    }
    const isFolderThere = existing.get(path);
    if (isFolderThere === undefined) continue;
    if (file === null && !isFolderThere) impossible.add(path);
    else if (file !== null && isFolderThere) impossible.add(path);
    else if (file !== null) replaced.push(path);
  }
  return { replaced, impossible: [...impossible] };
}

/** The entries without files that exist already. */
export function withoutExisting(entries: readonly LocalEntry[], existing: Existing): LocalEntry[] {
  return entries.filter(({ path, file }) => file === null || existing.get(path) === undefined);
}

/** The folders of the entries, parents first. */
export function foldersOf(entries: readonly LocalEntry[]): string[] {
  const folders = new Set<string>();
  for (const { path, file } of entries) {
    const names = path.split('/');
    const depths = file === null ? names.length : names.length - 1;
    for (let depth = 1; depth <= depths; depth++) folders.add(names.slice(0, depth).join('/'));
  }
  return [...folders].sort((a, b) => a.split('/').length - b.split('/').length);
}
