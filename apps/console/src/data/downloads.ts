import { type Download, type FileView, isBerthError } from '@berth/client';
import { berth } from './berth';
import { nameOfPath } from './file-list';
import { save } from './save';
import { closed, entriesBelow, entriesOf, permissionsOf } from './tar';
import { begin, type Report } from './transfers';
import { inWords } from '../words/errors';
import { transferWords } from '../words/transfers';

/** Where files are downloaded from. */
export interface Source {
  /** The container's id. */
  readonly container: string;
  /** The container's name, for people. */
  readonly label: string;
}

/** Received bytes are handed to the browser, which may keep them on disk, in pieces of this size. */
const PIECE_BYTES = 8 * 1024 * 1024;

/** Reads a download to its end. @throws BerthError, or the signal's reason */
async function received(download: Download, onBytes: (bytes: number) => void, signal: AbortSignal): Promise<Blob> {
  const pieces: Blob[] = [];
  let chunks: Uint8Array<ArrayBuffer>[] = [];
  let gathered = 0;
  const reader = download.stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Blob([...pieces, ...chunks]);
      onBytes(value.length);
      chunks.push(value as Uint8Array<ArrayBuffer>);
      gathered += value.length;
      if (gathered < PIECE_BYTES) continue;
      pieces.push(new Blob(chunks));
      chunks = [];
      gathered = 0;
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : new Error(transferWords.faults.brokenOff, { cause: error });
  }
}

/** Saves a file where the browser saves its downloads. The token is in a header, so a plain link will not do. */
export function downloadFile(
  { container, label }: Source,
  { path, size }: Pick<FileView, 'path'> & { size?: number },
): void {
  const name = nameOfPath(path);
  begin([
    {
      direction: 'download',
      name,
      place: label,
      total: size ?? null,
      work: async (report, signal) => {
        const { blob, isFolder } = await readAny(container, path, { report, signal });
        save(blob, isFolder ? `${name}.tar` : name);
      },
    },
  ]);
}

/** Saves a folder with all that is in it, as a tar archive. */
export function downloadFolder({ container, label }: Source, folder: string): void {
  const name = nameOfPath(folder) || transferWords.rootFolder;
  begin([
    {
      direction: 'download',
      name: `${name}.tar`,
      place: label,
      total: null,
      work: async (report, signal) => save(await readFolder(container, folder, { report, signal }), `${name}.tar`),
    },
  ]);
}

/** Saves several files and folders as one archive. */
export function downloadTogether({ container, label }: Source, folder: string, entries: readonly FileView[]): void {
  const name = transferWords.severalFile({
    folder: nameOfPath(folder) || transferWords.rootFolder,
    count: entries.length,
  });
  const total = entries.some(({ is_dir }) => is_dir) ? null : entries.reduce((sum, { size }) => sum + size, 0);
  begin([
    {
      direction: 'download',
      name,
      place: label,
      total,
      work: async (report, signal) => {
        const parts: BlobPart[] = [];
        let before = 0;
        for (const entry of entries) {
          const done = before;
          const add: Report = (bytes) => report(done + bytes, total);
          try {
            const { blob, isFolder } = entry.is_dir
              ? { blob: await readFolder(container, entry.path, { report: add, signal }), isFolder: true }
              : await readAny(container, entry.path, { report: add, signal });
            const modified = Date.parse(entry.mod_time);
            // A link's own permissions are not those of the file.
            const mode = entry.mode.startsWith('-') ? { mode: permissionsOf(entry.mode) } : {};
            parts.push(
              ...(isFolder
                ? await entriesBelow(entry.name, blob)
                : entriesOf([{ path: entry.name, content: blob, modified, ...mode }])),
            );
            before += blob.size;
          } catch (error) {
            if (signal.aborted) throw error;
            throw new Error(transferWords.faults.of({ name: entry.name, fault: inWords(error) }), { cause: error });
          }
        }
        save(closed(parts), name);
      },
    },
  ]);
}

interface Reading {
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** Reads a file, or the folder that a link leads to. */
async function readAny(container: string, path: string, reading: Reading): Promise<{ blob: Blob; isFolder: boolean }> {
  try {
    const download = await berth.files.read(container, path, { signal: reading.signal });
    return { blob: await counted(download, reading), isFolder: false };
  } catch (error) {
    if (!isBerthError(error, 'path_is_directory')) throw error;
    return { blob: await readFolder(container, path, reading), isFolder: true };
  }
}

async function readFolder(container: string, folder: string, reading: Reading): Promise<Blob> {
  const download = await berth.files.readArchive(container, folder, { signal: reading.signal });
  try {
    return await counted(download, reading);
  } catch (error) {
    if (reading.signal.aborted) throw error;
    // The server breaks off an archive in which something is missing.
    throw new Error(transferWords.faults.folderNotComplete, { cause: error });
  }
}

function counted(download: Download, { report, signal }: Reading): Promise<Blob> {
  let bytes = 0;
  const { size } = download;
  return received(download, (more) => report((bytes += more), size), signal);
}
