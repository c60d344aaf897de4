import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, type Told } from './server-sent-events.ts';

export type CommandOptions = Omit<api.RunCommandDto, 'command'> & CallOptions;

/** A message of a followed command: its output as text, and finally its result. */
export type CommandMessage = Told<'output', api.CommandOutputView> | Told<'result', api.CommandEndView>;

export type CommandInput = string | Uint8Array<ArrayBuffer> | Blob | ReadableStream<Uint8Array>;

export interface CommandStreamOptions extends Omit<api.StreamCommandDto, 'command'>, CallOptions {
  /**
   * Input of any length; a stream is read as fast as the command reads it. If absent, the command reads the end of
   * file.
   */
  readonly input?: CommandInput;
}

/** A message of a streamed command: its output as bytes, and finally its result. */
export type CommandStreamMessage =
  | { readonly type: 'output'; readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array<ArrayBuffer> }
  | Told<'result', api.CommandEndView>;

/** Commands that end with their request. */
export class Commands {
  constructor(private readonly http: Http) {}

  /** Runs a command and waits for its end. The request is never retried: the command may have run. */
  run(
    id: string,
    command: readonly string[],
    { signal, ...options }: CommandOptions = {},
  ): Promise<api.CommandResultView> {
    return this.http.json('POST', path`/api/containers/${id}/exec`, { json: { command, ...options }, signal });
  }

  /** Runs a command and yields its output as it comes, without split characters. Leaving the loop ends the command. */
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
   * Runs a command with input and output of any length, as bytes. In Node.js, output arrives while input is still
   * being sent. A browser sends the whole input first, so the command must be able to read it without its output
   * being read.
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

/** A stream that starts with a text. Cancelling it cancels the rest. */
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
