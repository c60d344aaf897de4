import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, type Told } from './server-sent-events.ts';

export type CommandOptions = Omit<api.RunCommandDto, 'command'> & CallOptions;

/** What a command that is followed says: its output as it comes, and last its end. */
export type CommandMessage = Told<'output', api.CommandOutputView> | Told<'result', api.CommandEndView>;

export type CommandInput = string | Uint8Array<ArrayBuffer> | Blob | ReadableStream<Uint8Array>;

export interface CommandStreamOptions extends Omit<api.StreamCommandDto, 'command'>, CallOptions {
  /** Of any length; a stream is read as fast as the command reads. The end of a file if absent. */
  readonly input?: CommandInput;
}

/** What a command that is streamed says: its output as it comes, and last its end. */
export type CommandStreamMessage =
  | { readonly type: 'output'; readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array<ArrayBuffer> }
  | Told<'result', api.CommandEndView>;

/** Commands that a request waits for: they end with it. */
export class Commands {
  constructor(private readonly http: Http) {}

  /** Runs a command and waits for its end. It is never repeated: it may have run. */
  run(
    id: string,
    command: readonly string[],
    { signal, ...options }: CommandOptions = {},
  ): Promise<api.CommandResultView> {
    return this.http.json('POST', path`/api/containers/${id}/exec`, { json: { command, ...options }, signal });
  }

  /** Runs a command; its output as it comes, characters whole. Leaving the loop ends the command. */
  async *follow(
    id: string,
    command: readonly string[],
    { signal, ...options }: CommandOptions = {},
  ): AsyncGenerator<CommandMessage, void, undefined> {
    const asked = { json: { command, ...options }, headers: EVENT_STREAM, signal };
    const response = await this.http.request('POST', path`/api/containers/${id}/exec`, asked);
    for await (const { event, data } of readUntil(response, { signal, last: 'result' })) {
      yield { type: event, ...(JSON.parse(data) as object) } as CommandMessage;
    }
  }

  /**
   * Runs a command with an input and an output of any length, as bytes. The output comes while the input is still sent:
   * in Node.js; a browser sends the whole input first, so there it must end without the output being read.
   */
  async *stream(
    id: string,
    command: readonly string[],
    { signal, input = '', ...options }: CommandStreamOptions = {},
  ): AsyncGenerator<CommandStreamMessage, void, undefined> {
    const line = `${JSON.stringify({ command, ...options })}\n`;
    const whole = typeof input === 'string' ? line + input : null;
    const body = whole ?? (input instanceof ReadableStream ? prefixed(line, input) : new Blob([line, input]));
    const headers = { ...EVENT_STREAM, 'content-type': 'application/octet-stream' };
    const asked = { body, headers, signal, isRepeatable: false };
    const response = await this.http.request('POST', path`/api/containers/${id}/exec/stream`, asked);
    for await (const { event, data } of readUntil(response, { signal, last: 'result' })) {
      const said = JSON.parse(data) as object;
      if (event !== 'output') yield { type: event, ...said } as CommandStreamMessage;
      else {
        const { stream, data: encoded } = said as api.CommandOutputView;
        yield { type: 'output', stream, data: bytesOf(encoded) };
      }
    }
  }
}

/** A stream that begins with a text. Cancelled where it is no longer sent. */
function prefixed(text: string, rest: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = rest.getReader();
  return new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(text)),
    pull: async (controller) => {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
