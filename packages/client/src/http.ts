import { BerthError, errorOf, isBerthError, UnreachableError } from './errors.ts';
import { retryDelay, sleep } from './retries.ts';

/** A token, or a function that returns the current one; called for each request and connection. */
export type TokenSource = string | (() => string | Promise<string>);

export interface BerthOptions {
  /** The server's address, such as `https://berth.example.org`; in the server's own pages, `location.origin`. */
  readonly url: string;
  readonly token?: TokenSource;
  /** Maximum retries of a failed request if a retry is safe. 3 if absent; 0: none. */
  readonly retries?: number;
  /** Replaces the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** Options of every method. */
export interface CallOptions {
  /** Aborts the request and the rest of its answer; the method rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>;

export interface RequestOptions extends CallOptions {
  readonly query?: Query;
  /** Sent as JSON; `headers` may name a type of JSON. */
  readonly json?: unknown;
  /** Sent unchanged. A stream can be sent only once, so such a request is never retried. */
  readonly body?: NonNullable<RequestInit['body']>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether executing the request twice is harmless; by default true for `GET`, `HEAD` and `PUT`. */
  readonly isRepeatable?: boolean;
}

const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT']);

/** Sends requests to one server with a user's token, and retries them. */
export class Http {
  /** Without a trailing slash. */
  readonly url: string;
  private readonly maxRetries: number;
  private readonly fetch: typeof fetch;

  constructor(private readonly options: BerthOptions) {
    this.url = options.url.replace(/\/+$/, '');
    this.maxRetries = options.retries ?? 3;
    // Wrapped in a function: a browser's `fetch` throws if it is called as a method of another object than the
    // window.
    this.fetch = options.fetch ?? ((...asked) => fetch(...asked));
  }

  async token(): Promise<string | undefined> {
    const { token } = this.options;
    return typeof token === 'function' ? await token() : token;
  }

  /** @returns the parsed body of the answer. @throws BerthError, or the signal's reason */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const response = await this.request(method, path, options);
    return await reading(response, options.signal, () => response.json() as Promise<T>);
  }

  /** @returns a successful answer, whose body must be read or cancelled. @throws BerthError, or the signal's reason */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const isStream = options.body instanceof ReadableStream;
    const isRepeatable = !isStream && (options.isRepeatable ?? REPEATABLE.has(method));
    for (let tries = 1; ; tries++) {
      try {
        return await this.try(method, path, options);
      } catch (error) {
        if (!isBerthError(error) || isStream) throw error;
        const delay = retryDelay({ error, tries, maxRetries: this.maxRetries, isRepeatable });
        if (delay === null) throw error;
        await sleep(delay, options.signal);
      }
    }
  }

  private async try(method: string, path: string, options: RequestOptions): Promise<Response> {
    const { json, body, signal } = options;
    const token = await this.token();
    const headers: Record<string, string> = { ...options.headers };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (json !== undefined) headers['content-type'] ??= 'application/json';
    const init: RequestInit & { duplex?: 'half' } = { method, headers, body: body ?? null, signal: signal ?? null };
    if (json !== undefined) init.body = JSON.stringify(json);
    // Node.js and Chromium require the declaration that the answer comes after the stream.
    if (body instanceof ReadableStream) init.duplex = 'half';
    const response = await this.fetch(`${this.url}${path}${queryString(options.query)}`, init).catch(
      (cause: unknown) => {
        if (signal?.aborted) throw signal.reason as Error;
        throw new UnreachableError({ url: this.url, what: 'could not be reached', cause });
      },
    );
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  /**
   * Detects CORS. A browser does not tell a page why a request to another origin failed; if the server answers a
   * request that needs no permission, the cause was CORS.
   */
  async explain(error: BerthError): Promise<BerthError> {
    const page = (globalThis as { readonly location?: { readonly origin: string } }).location?.origin;
    const isElsewhere = page !== undefined && URL.canParse(this.url) && new URL(this.url).origin !== page;
    if (error.code !== 'connection_failed' || !isElsewhere) return error;
    const asked = { mode: 'no-cors', credentials: 'omit', cache: 'no-store' } as const;
    const isThere = await this.fetch(`${this.url}/health/live`, asked).then(
      () => true,
      () => false,
    );
    if (!isThere) return error;
    const what = `is there, but does not allow this page to call it: its CORS_ORIGINS must have ${page}`;
    return new UnreachableError({ url: this.url, what, reason: 'CORS' });
  }
}

/** Reads an answer. @throws BerthError if it breaks off, or the signal's reason */
export async function reading<T>(
  response: Response,
  signal: AbortSignal | undefined,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof SyntaxError) {
      const message = 'the answer is no JSON';
      throw new BerthError({ status: response.status, code: 'unexpected_answer', message, cause: error });
    }
    throw brokenOff(response, error, signal);
  }
}

/** @returns the error for an answer that broke off */
export function brokenOff({ url }: Response, cause: unknown, signal: AbortSignal | undefined): Error {
  if (signal?.aborted) return signal.reason as Error;
  return new UnreachableError({ url, what: 'broke off', cause });
}

function queryString(query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    for (const each of Array.isArray(value) ? (value as readonly string[]) : [value]) search.append(name, String(each));
  }
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}

/** Builds a path from values that need not be safe, such as ids: `` path`/api/containers/${id}` ``. */
export function path(texts: TemplateStringsArray, ...values: readonly string[]): string {
  return texts.reduce((whole, text, at) => `${whole}${encodeURIComponent(values[at - 1] ?? '')}${text}`);
}
