import { forget, session } from '../session';

/** What a field of a refused request is told. */
export interface FieldFault {
  readonly field: string;
  readonly message: string;
}

/** An answer that is an error, or no answer at all (`code` is `unreachable`). */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: readonly FieldFault[],
    /** All that the answer said beside these, such as `limit`. */
    readonly fields: Readonly<Record<string, unknown>>,
    readonly retryAfterSeconds: number | null,
  ) {
    super(message);
  }
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | null | undefined>>;
  readonly json?: unknown;
  readonly body?: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Of somebody who is not signed in yet. */
  readonly token?: string;
}

/** @throws ApiError */
export async function request(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { query = {}, json, headers = {} } = options;
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') address.searchParams.set(name, String(value));
  }
  const token = options.token ?? session.value?.token;
  const init: RequestInit = {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    credentials: 'omit',
    cache: 'no-store',
    ...(json !== undefined ? { body: JSON.stringify(json) } : options.body !== undefined && { body: options.body }),
    ...(options.signal && { signal: options.signal }),
  };
  let response: Response;
  try {
    response = await fetch(address, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, 'unreachable', 'the server does not answer', [], {}, null);
  }
  if (response.ok) return response;
  const fault = await errorOf(response);
  // A token that was good and is not any more: revoked or expired.
  if (fault.status === 401 && token !== undefined && token === session.value?.token) {
    forget('Your session has ended: its token was revoked or has expired.');
  }
  throw fault;
}

/** @returns the answer's JSON; undefined where it has none @throws ApiError */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const response = await request(method, path, options);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const { code, error, details, ...fields } = body;
  const retryAfter = Number(response.headers.get('retry-after'));
  return new ApiError(
    response.status,
    typeof code === 'string' ? code : `http_${String(response.status)}`,
    typeof error === 'string' ? error : response.statusText,
    Array.isArray(details) ? (details as FieldFault[]) : [],
    fields,
    retryAfter > 0 ? retryAfter : null,
  );
}

/** An event of a `text/event-stream`. */
export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

/** Reads Server-Sent Events until they end. @throws ApiError */
export async function* stream(path: string, options: CallOptions = {}): AsyncGenerator<StreamEvent> {
  const response = await request('GET', path, { ...options, headers: { accept: 'text/event-stream' } });
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      pending += value;
      const blocks = pending.split('\n\n');
      pending = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = block.split('\n').map((line) => /^(\w+): ?(.*)$/.exec(line));
        const valuesOf = (name: string): string[] =>
          fields.flatMap((field) => (field?.[1] === name ? [field[2] ?? ''] : []));
        const data = valuesOf('data').join('\n');
        if (data !== '') yield { event: valuesOf('event')[0] ?? 'message', data };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
