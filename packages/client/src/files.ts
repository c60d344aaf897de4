import type * as api from './api-types.ts';
import { type CallOptions, type Http, path, reading } from './http.ts';
import { Pages } from './pages.ts';
import { EVENT_STREAM, readUntil, type Told } from './server-sent-events.ts';

export type FileContent = string | Uint8Array<ArrayBuffer> | Blob | ReadableStream<Uint8Array>;

export interface ReadOptions extends CallOptions {
  /** The first and last byte, both included. */
  readonly range?: readonly [first: number, last?: number];
}

export interface WriteOptions extends CallOptions {
  /** The `etag` of a {@link Download}: replaces the file only if it is still the same, else `precondition_failed`. */
  readonly ifMatch?: string | undefined;
  /** `*`: the file is written only if there is none, else `precondition_failed`. */
  readonly ifNoneMatch?: '*' | undefined;
}

export interface SearchOptions extends CallOptions {
  readonly name?: string | undefined;
  readonly content?: string | undefined;
  readonly limit?: number | undefined;
}

export interface WatchOptions extends CallOptions {
  /** Watches the directories below it too, also new ones. */
  readonly recursive?: boolean | undefined;
}

/** Changes in a watched directory, and finally the reason for the end. */
export type FilesMessage = Told<'changes', api.FileChangesView> | Told<'end', api.WatchEndView>;

/** A file or an archive whose download has started. Read it once, or dispose of it. */
export class Download implements AsyncDisposable {
  /** Size in bytes; null if unknown in advance. */
  readonly size: number | null;
  readonly etag: string | null;

  constructor(
    private readonly response: Response,
    private readonly signal: AbortSignal | undefined,
  ) {
    const size = response.headers.get('content-length');
    this.size = size === null ? null : Number(size);
    this.etag = response.headers.get('etag');
  }

  get stream(): ReadableStream<Uint8Array> {
    return this.response.body ?? new Blob([]).stream();
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return this.read(async () => new Uint8Array(await this.response.arrayBuffer()));
  }

  text(): Promise<string> {
    return this.read(() => this.response.text());
  }

  blob(): Promise<Blob> {
    return this.read(() => this.response.blob());
  }

  /** Cancels an unread download. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.response.bodyUsed) await this.response.body?.cancel();
  }

  private read<T>(how: () => Promise<T>): Promise<T> {
    return reading(this.response, this.signal, how);
  }
}

/** Files in running containers. Paths are absolute. */
export class Files {
  constructor(private readonly http: Http) {}

  async read(id: string, file: string, { range, signal }: ReadOptions = {}): Promise<Download> {
    const headers: Record<string, string> = range
      ? { range: `bytes=${String(range[0])}-${String(range[1] ?? '')}` }
      : {};
    const asked = { query: { path: file }, headers, signal };
    return new Download(await this.http.request('GET', path`/api/containers/${id}/files`, asked), signal);
  }

  /**
   * Creates or replaces a file atomically. Neither a stream nor a write with a condition is retried if the connection
   * breaks: the first attempt may have changed the file.
   */
  write(
    id: string,
    file: string,
    content: FileContent,
    { ifMatch, ifNoneMatch, signal }: WriteOptions = {},
  ): Promise<api.FileView> {
    const headers = {
      'content-type': 'application/octet-stream',
      ...(ifMatch !== undefined && { 'if-match': ifMatch }),
      ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch }),
    };
    const isRepeatable = ifMatch === undefined && ifNoneMatch === undefined;
    const asked = { query: { path: file }, body: content, headers, signal, isRepeatable };
    return this.http.json('PUT', path`/api/containers/${id}/files`, asked);
  }

  /** Lists a directory by name. @param options limit: size of a page, 1 to 1,000 */
  list(
    id: string,
    directory: string,
    { limit, signal }: CallOptions & { readonly limit?: number } = {},
  ): Pages<api.FileView, api.FileView[]> {
    return new Pages(async (cursor) => {
      const asked = { query: { path: directory, limit, cursor }, signal };
      const response = await this.http.request('GET', path`/api/containers/${id}/files/list`, asked);
      const answer = await reading(response, signal, () => response.json() as Promise<api.FileView[]>);
      return { items: answer, answer, nextCursor: nextCursor(response.headers.get('link')) };
    });
  }

  /**
   * Makes a link that downloads a file for a minute without a token, for programs that cannot send headers. Its `url`
   * is relative to the server's.
   */
  link(id: string, file: string, { signal }: CallOptions = {}): Promise<api.FileLinkView> {
    return this.http.json('POST', path`/api/containers/${id}/files/links`, { query: { path: file }, signal });
  }

  /** Searches below a directory, by a part of names (or a pattern with `*`), by a part of lines, or both. */
  search(id: string, directory: string, { name, content, limit, signal }: SearchOptions): Promise<api.FoundFilesView> {
    const asked = { query: { path: directory, name, content, limit }, signal };
    return this.http.json('GET', path`/api/containers/${id}/files/search`, asked);
  }

  /**
   * Watches a directory. Resolves once it is watched: list it afterwards, and no change is missed. The messages end
   * with the directory or the run of its container; leaving the loop, or `signal`, ends the watch. A change of the type
   * `overflow` says that others were lost: list the directory again.
   *
   * The watch is not resumed if the connection breaks: changes would be missing.
   *
   * @throws BerthError if the server refuses; from the messages, if the connection breaks
   */
  async watch(
    id: string,
    directory: string,
    { recursive, signal }: WatchOptions = {},
  ): Promise<AsyncGenerator<FilesMessage, void, undefined>> {
    const asked = { query: { path: directory, recursive }, headers: EVENT_STREAM, signal };
    const response = await this.http.request('GET', path`/api/containers/${id}/files/watch`, asked);
    return filesMessages(response, signal);
  }

  /** Creates a directory and its missing parents. */
  makeDirectory(id: string, directory: string, { signal }: CallOptions = {}): Promise<api.FileView> {
    return this.http.json('POST', path`/api/containers/${id}/files/mkdir`, { json: { path: directory }, signal });
  }

  move(id: string, from: string, to: string, { signal }: CallOptions = {}): Promise<api.FileView> {
    return this.http.json('POST', path`/api/containers/${id}/files/move`, { json: { from, to }, signal });
  }

  /** @param options recursive: deletes a directory with its contents */
  async delete(
    id: string,
    file: string,
    { recursive, signal }: CallOptions & { readonly recursive?: boolean } = {},
  ): Promise<void> {
    const asked = { query: { path: file, recursive }, signal };
    await this.http.request('DELETE', path`/api/containers/${id}/files`, asked);
  }

  /** Reads a directory as a tar stream. */
  async readArchive(id: string, directory: string, { signal }: CallOptions = {}): Promise<Download> {
    const asked = { query: { path: directory }, signal };
    return new Download(await this.http.request('GET', path`/api/containers/${id}/archive`, asked), signal);
  }

  /** Unpacks a tar stream into a directory, which is created if missing: all of it, or nothing. */
  writeArchive(
    id: string,
    directory: string,
    tar: FileContent,
    { signal }: CallOptions = {},
  ): Promise<api.ArchiveView> {
    const headers = { 'content-type': 'application/x-tar' };
    const asked = { query: { path: directory }, body: tar, headers, signal };
    return this.http.json('PUT', path`/api/containers/${id}/archive`, asked);
  }
}

async function* filesMessages(
  response: Response,
  signal: AbortSignal | undefined,
): AsyncGenerator<FilesMessage, void, undefined> {
  for await (const { event, data } of readUntil(response, { signal, last: 'end' })) {
    if (event === 'changes') yield { type: event, ...(JSON.parse(data) as api.FileChangesView) };
    else if (event === 'end') yield { type: event, ...(JSON.parse(data) as api.WatchEndView) };
  }
}

/** @param link a header such as `</api/…?cursor=abc>; rel="next"` */
function nextCursor(link: string | null): string | null {
  const address = /<([^>]+)>;\s*rel="?next"?/.exec(link ?? '')?.[1];
  return address === undefined ? null : new URL(address, 'http://any').searchParams.get('cursor');
}
