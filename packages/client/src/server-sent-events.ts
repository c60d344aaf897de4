import { BerthError, type BerthErrorCode, isBerthError, UnreachableError } from './errors.ts';
import { brokenOff } from './http.ts';
import { backoff, retryDelay, sleep } from './retries.ts';

/** Header that requests an event stream. */
export const EVENT_STREAM = { accept: 'text/event-stream' } as const;

/** A message of a stream: its event's name as `type`, and its data. */
export type Told<Type extends string, Facts> = { readonly type: Type } & Facts;

/** The server writes at least a comment every 15 seconds; after this silence, the connection counts as dead. */
const LONGEST_SILENCE_MS = 45_000;

export interface ServerSentEvent {
  /** `message` if the stream names no event. */
  readonly event: string;
  readonly data: string;
  /** The stream's last id; empty if it gave none. */
  readonly id: string;
}

export interface ReadEvents {
  readonly signal: AbortSignal | undefined;
  /** The event after which the stream ends; absent if it never ends. */
  readonly last?: string;
  /** Called with the stream's position before its first event, if it gives one. */
  readonly onPosition?: (id: string) => void;
}

/**
 * Reads a stream up to its last event. Leaving the loop closes the connection.
 *
 * @throws BerthError for a `failed` event of the server, and if the stream ends before its last event; the signal's
 *   reason
 */
export async function* readUntil(
  response: Response,
  options: ReadEvents,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  for await (const message of readEvents(response, options)) {
    if (message.event === 'failed') throw failure(message.data);
    yield message;
    if (message.event === options.last) return;
  }
  throw new UnreachableError({ url: response.url, what: 'broke off' });
}

export interface Resumed<Message> {
  /** Requests the stream from the position at which the previous one broke off. */
  readonly open: () => Promise<Response>;
  /** Ends after the last message; throws if the stream breaks off before. */
  readonly read: (response: Response) => AsyncIterable<Message>;
  readonly signal: AbortSignal | undefined;
}

/**
 * A stream that is reopened whenever it breaks off, without a limit of attempts.
 *
 * @throws BerthError if it cannot be opened initially, and if the server refuses; the signal's reason
 */
export async function* resumed<Message>({
  open,
  read,
  signal,
}: Resumed<Message>): AsyncGenerator<Message, void, undefined> {
  let wasOpen = false;
  for (let tries = 1; ; tries++) {
    try {
      const response = await open();
      wasOpen = true;
      for await (const message of read(response)) {
        tries = 0;
        yield message;
      }
      return;
    } catch (error) {
      if (!wasOpen || !isPassing(error)) throw error;
      await sleep(Math.max(backoff(Math.max(tries, 1)), error.retryAfterMs ?? 0), signal);
    }
  }
}

/** True if a later attempt may succeed. */
function isPassing(error: unknown): error is BerthError {
  if (!isBerthError(error)) return false;
  return error.status >= 500 || retryDelay({ error, tries: 1, maxRetries: 1, isRepeatable: true }) !== null;
}

function failure(data: string): BerthError {
  const { error, code, request_id: requestId, ...fields } = JSON.parse(data) as Record<string, unknown>;
  return new BerthError({
    status: 0,
    code: code as BerthErrorCode,
    message: String(error),
    requestId: typeof requestId === 'string' ? requestId : null,
    fields,
  });
}

async function* readEvents(
  response: Response,
  { signal, onPosition }: ReadEvents,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  if (!response.body) return;
  const reader = response.body.getReader();
  const parser = new EventParser();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await readSoon(reader).catch((error: unknown) => {
        throw brokenOff(response, error, signal);
      });
      if (done) return;
      const events = parser.push(decoder.decode(value, { stream: true }));
      if (parser.position !== '') onPosition?.(parser.position);
      yield* events;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

async function readSoon<Chunk>(reader: ReadableStreamDefaultReader<Chunk>): Promise<ReadableStreamReadResult<Chunk>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('nothing came for too long')), LONGEST_SILENCE_MS);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } finally {
    clearTimeout(timer);
  }
}

/** Parses Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html. */
export class EventParser {
  private rest = '';
  private event = '';
  private data: string[] = [];
  private id = '';

  /** The last received id, with or without an event. */
  get position(): string {
    return this.id;
  }

  /** @returns the events that end in this text */
  push(text: string): ServerSentEvent[] {
    const found: ServerSentEvent[] = [];
    // A chunk may end between the CR and the LF of a line end.
    const whole = this.rest + text;
    const end = whole.endsWith('\r') ? whole.length - 1 : whole.length;
    const lines = whole.slice(0, end).split(/\r\n|\r|\n/);
    this.rest = (lines.pop() ?? '') + whole.slice(end);
    for (const line of lines) {
      if (line !== '') this.take(line);
      else if (this.data.length > 0) found.push(this.dispatch());
      else this.event = '';
    }
    return found;
  }

  private dispatch(): ServerSentEvent {
    const found = { event: this.event || 'message', data: this.data.join('\n'), id: this.id };
    this.event = '';
    this.data = [];
    return found;
  }

  private take(line: string): void {
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
    else if (field === 'id') this.id = value;
  }
}
