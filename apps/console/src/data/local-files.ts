import { isBerthError } from '@berth/client';
import { transferWords } from '../words/transfers';
import { berth, berthBy } from './berth';
import { joinPath, listed } from './file-list';
import { me } from './live';
import { tarOf } from './tar';
import { begin, type Report } from './transfers';
import {
  conflictsOf,
  type Existing,
  foldersOf,
  type LocalEntry,
  planUpload,
  sizeFault,
  type UploadPart,
  withoutExisting,
} from './upload-plan';

/**
 * Reads the dropped files, and folders with all their contents. Call it while the event is dispatched: afterwards the
 * browser does not give access to them.
 *
 * @throws Error that names a file or folder that the browser cannot read
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
    else throw new Error(transferWords.faults.cannotBeDropped(file?.name));
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

/** The files of a file dialog; those of a folder with their paths in it. The dialog leaves out empty folders. */
export const readChosen = (files: FileList | null): LocalEntry[] =>
  [...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/** Where files are uploaded to. */
export interface Target {
  /** The container's id. */
  readonly container: string;
  /** The container's name, for people. */
  readonly label: string;
  readonly folder: string;
  /** The container's disk. */
  readonly diskMb: number;
}

/** The user's answer about files that exist already. */
export type Overwriting = 'replace' | 'skip' | 'cancel';

interface UploadOptions {
  /** Asked before anything is sent if files would be replaced. @param isPartial whether some folders were not checked */
  readonly confirm: (names: readonly string[], isPartial: boolean) => Promise<Overwriting>;
  /** Called whenever a part has arrived. */
  readonly onArrived: () => void;
}

/**
 * Uploads files and folders: each file by itself, each folder as one archive, of which all arrives or nothing.
 *
 * @returns false if there was nothing to send, or the user cancelled
 * @throws Error if the browser cannot read a file, or a file would have to replace a folder or the reverse
 */
export async function upload(
  target: Target,
  entries: readonly LocalEntry[],
  { confirm, onArrived }: UploadOptions,
): Promise<boolean> {
  for (const { path, file } of entries) if (file && !(await isReadable(file))) throw unreadable(path);
  const { existing, isPartial } = await readExisting(target, entries);
  const { replaced, impossible } = conflictsOf(entries, existing);
  if (impossible.length > 0) {
    throw new Error(transferWords.faults.cannotReplace(listed(impossible)));
  }
  const answer = replaced.length > 0 || isPartial ? await confirm(replaced, isPartial) : 'replace';
  if (answer === 'cancel') return false;
  const wanted = answer === 'skip' ? withoutExisting(entries, existing) : entries;
  const parts = planUpload(wanted);
  const isThere = (part: UploadPart): boolean => part.entries.some(({ path }) => existing.has(path));
  begin(
    parts.map((part) => ({
      direction: 'upload',
      name: part.name,
      place: transferWords.place({ container: target.label, folder: target.folder }),
      total: part.bytes,
      work: part.kind === 'file' ? fileWork(target, part, { isThere: isThere(part) }) : archiveWork(target, part),
      onDone: onArrived,
    })),
  );
  return parts.length > 0;
}

/** @throws Error if the server would refuse it for its size */
function assertSize({ diskMb }: Target, part: UploadPart, size: number): void {
  const limits = me.value?.transfer_limits;
  if (!limits) return;
  const disk = diskMb * 1024 * 1024;
  const fault = sizeFault(part, size, { file: limits.file_bytes, archive: limits.archive_bytes, disk });
  if (fault !== null) throw new Error(fault);
}

type Work = (report: Report, signal: AbortSignal) => Promise<void>;

/** Sends one file; unless it may replace one, on the condition that there is none when it arrives. */
function fileWork(target: Target, part: UploadPart, { isThere }: { readonly isThere: boolean }): Work {
  const { container, folder } = target;
  let mayReplace = isThere;
  return async (report, signal) => {
    const [entry] = part.entries;
    if (!entry?.file) return;
    const { path, file } = entry;
    if (!(await isReadable(file))) throw unreadable(path);
    assertSize(target, part, file.size);
    const client = berthBy(reportingFetch((bytes) => report(bytes, file.size)));
    try {
      const condition = mayReplace ? {} : { ifNoneMatch: '*' as const };
      await client.files.write(container, joinPath(folder, path), file, { signal, ...condition });
    } catch (error) {
      // Trying again, after this was shown, is the consent to replace it.
      if (isBerthError(error, 'precondition_failed')) mayReplace = true;
      throw error;
    }
  };
}

function archiveWork(target: Target, part: UploadPart): Work {
  const { container, folder } = target;
  const { entries } = part;
  return async (report, signal) => {
    const archive = tarOf(
      entries.map(({ path, file }) => (file ? { path, content: file, modified: file.lastModified } : { path })),
    );
    assertSize(target, part, archive.size);
    const client = berthBy(reportingFetch((bytes) => report(bytes, archive.size)));
    try {
      await client.files.writeArchive(container, folder, archive, { signal });
    } catch (error) {
      // A file that was changed or removed while it was sent ends the request like a broken connection.
      if (isBerthError(error, 'connection_failed') && !signal.aborted) {
        for (const { path, file } of entries) if (file && !(await isReadable(file))) throw unreadable(path);
      }
      throw error;
    }
  };
}

/** Folders that are looked into for files that would be replaced; each is a request. */
const MOST_CHECKED = 200;
const CHECKED_AT_ONCE = 4;

/** Finds which of the entries exist in the target. */
async function readExisting(
  { container, folder }: Target,
  entries: readonly LocalEntry[],
): Promise<{ existing: Existing; isPartial: boolean }> {
  const existing = new Map<string, boolean>();
  const localFolders = new Set(foldersOf(entries));
  const wanted = new Set([...entries.map(({ path }) => path), ...localFolders]);
  const readOne = async (below: string): Promise<string[]> => {
    const found: string[] = [];
    for await (const entry of berth.files.list(container, joinPath(folder, below).replace(/\/$/, '') || '/', {
      limit: 1000,
    })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      // The target of a link is unknown, so the server decides whether a folder can go there.
      if (!wanted.has(path) || (entry.mode.startsWith('l') && localFolders.has(path))) continue;
      existing.set(path, entry.is_dir);
      if (entry.is_dir && localFolders.has(path)) found.push(path);
    }
    return found;
  };
  let open = await readOne('');
  let checked = 0;
  while (open.length > 0 && checked < MOST_CHECKED) {
    const now = open.slice(0, CHECKED_AT_ONCE);
    checked += now.length;
    open = [...open.slice(CHECKED_AT_ONCE), ...(await Promise.all(now.map(readOne))).flat()];
  }
  return { existing, isPartial: open.length > 0 };
}

/** `fetch` does not report how much of a body was sent, so uploads use XMLHttpRequest. */
function reportingFetch(onSent: (bytes: number) => void): typeof fetch {
  return (input, init = {}) =>
    new Promise((resolve, reject) => {
      const { method = 'GET', headers, signal } = init;
      const request = new XMLHttpRequest();
      request.open(method, input instanceof Request ? input.url : input);
      new Headers(headers).forEach((value, name) => request.setRequestHeader(name, value));
      request.responseType = 'arraybuffer';
      const abort = (): void => request.abort();
      const end = (settle: () => void) => (): void => {
        signal?.removeEventListener('abort', abort);
        settle();
      };
      request.upload.onprogress = ({ loaded }) => onSent(loaded);
      request.onload = end(() => {
        const body = request.response as ArrayBuffer;
        resolve(new Response(body, { status: request.status, headers: headersOf(request) }));
      });
      request.onerror = end(() => reject(new TypeError('the request could not be sent')));
      request.onabort = end(() => reject((signal?.reason as Error | undefined) ?? new TypeError('aborted')));
      signal?.addEventListener('abort', abort, { once: true });
      if (signal?.aborted) request.onabort(new ProgressEvent('abort'));
      else request.send(init.body as XMLHttpRequestBodyInit);
    });
}

function headersOf(request: XMLHttpRequest): Headers {
  const headers = new Headers();
  for (const line of request.getAllResponseHeaders().split('\r\n')) {
    const at = line.indexOf(': ');
    if (at > 0) headers.append(line.slice(0, at), line.slice(at + 2));
  }
  return headers;
}

const unreadable = (path: string): Error => new Error(transferWords.faults.unreadable(path));

async function isReadable(file: File): Promise<boolean> {
  return file
    .slice(0, 1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );
}
