import { isBerthError } from '@berth/client';
import { berth } from './berth';
import { tarOf } from './tar';

/** A file of the user's own machine by its path below where it goes; a folder where it has no file. */
export interface LocalEntry {
  readonly path: string;
  readonly file: File | null;
}

/**
 * What was dropped, with all that is in folders. Call it while the event is dispatched: later the browser has nothing
 * to tell.
 *
 * @throws Error with what cannot be read
 */
export function readDropped(transfer: DataTransfer): Promise<LocalEntry[]> {
  const items = [...transfer.items].filter(({ kind }) => kind === 'file');
  const found = items.map((item) => {
    // Not every browser has it.
    const entry = (item as Partial<DataTransferItem>).webkitGetAsEntry?.call(item) ?? null;
    return { entry, file: item.getAsFile() };
  });
  return readAll(found);
}

async function readAll(
  found: readonly { readonly entry: FileSystemEntry | null; readonly file: File | null }[],
): Promise<LocalEntry[]> {
  const entries: LocalEntry[] = [];
  for (const { entry, file } of found) {
    if (entry) for await (const each of below(entry, entry.name)) entries.push(each);
    else if (file && (await isReadable(file))) entries.push({ path: file.name, file });
    else throw new Error(`This browser cannot read “${file?.name ?? 'it'}”. If it is a folder, use “Upload folder”.`);
  }
  return entries;
}

async function* below(entry: FileSystemEntry, path: string): AsyncGenerator<LocalEntry> {
  try {
    if (isFile(entry)) {
      const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject));
      yield { path, file };
      return;
    }
    yield { path, file: null };
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      // A hundred at a time, and none at the end.
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const each of some) yield* below(each, `${path}/${each.name}`);
    }
  } catch (error) {
    throw error instanceof DOMException ? unreadable(path) : error;
  }
}

const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;

/** What was chosen in a file dialog; of a folder, each file has its path in it. Empty folders are not among it. */
export const readChosen = (files: FileList | null): LocalEntry[] =>
  [...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/**
 * Sends files into a folder of a container: one by one, or as one archive where folders are among them, of which all
 * arrives or nothing.
 *
 * @param onStep is told what is sent now
 * @returns what has been sent, in words
 */
export async function upload(
  to: { readonly container: string; readonly folder: string },
  entries: readonly LocalEntry[],
  onStep: (words: string) => void,
): Promise<string> {
  for (const { path, file } of entries) if (file && !(await isReadable(file))) throw unreadable(path);
  const files = entries.flatMap(({ path, file }) => (file ? [{ path, file }] : []));
  const count = files.length === 1 ? '1 file' : `${String(files.length)} files`;
  const names = [...new Set(entries.map(({ path }) => path.split('/', 1)[0] ?? path))];
  const name = names.length === 1 ? (names[0] ?? '') : `${String(names.length)} items`;
  if (entries.some(({ path, file }) => file === null || path.includes('/'))) {
    onStep(`Uploading ${name} with ${count}…`);
    await sendArchive(to, entries);
    return `${name} ${names.length === 1 ? 'was' : 'were'} uploaded with ${count}.`;
  }
  for (const [at, { path, file }] of files.entries()) {
    onStep(`Uploading ${path}${files.length > 1 ? ` (${String(at + 1)} of ${String(files.length)})` : ''}…`);
    await berth.files.write(to.container, `${to.folder === '/' ? '' : to.folder}/${path}`, file);
  }
  return files.length === 1 ? `${name} was uploaded.` : `${count} were uploaded.`;
}

async function sendArchive(
  { container, folder }: { readonly container: string; readonly folder: string },
  entries: readonly LocalEntry[],
): Promise<void> {
  const archive = tarOf(
    entries.map(({ path, file }) => (file ? { path, content: file, modified: file.lastModified } : { path })),
  );
  try {
    await berth.files.writeArchive(container, folder, archive);
  } catch (error) {
    // What was changed or removed while it was sent ends the request as a broken connection does.
    if (isBerthError(error, 'connection_failed')) {
      for (const { path, file } of entries) if (file && !(await isReadable(file))) throw unreadable(path);
    }
    throw error;
  }
}

const unreadable = (path: string): Error => new Error(`The browser cannot read “${path}”. Nothing of it was uploaded.`);

async function isReadable(file: File): Promise<boolean> {
  return file
    .slice(0, 1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );
}
