import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, resumed, type Told } from './server-sent-events.ts';

export type CodeOptions = Omit<api.RunCodeDto, 'code' | 'detached'> & CallOptions;

/** A message of code that runs: what it writes and shows, and finally how it ended. */
export type CodeMessage =
  | Told<'started', api.CodeStartView>
  | Told<'output', api.CommandOutputView>
  | Told<'result', api.CodeShownView>
  | Told<'exception', api.CodeExceptionView>
  | Told<'end', api.CodeEndView>;

/** Code that kernels run in containers of the image `code`. */
export class Code {
  constructor(private readonly http: Http) {}

  /** Runs code and waits for its end. The request is never retried: the code may have run. */
  run(id: string, code: string, { signal, ...options }: CodeOptions = {}): Promise<api.CodeResultView> {
    return this.http.json('POST', path`/api/containers/${id}/run-code`, { json: { code, ...options }, signal });
  }

  /** Starts code that goes on without a client. {@link output} and {@link follow} read what it writes, by its id. */
  async start(id: string, code: string, { signal, ...options }: CodeOptions = {}): Promise<string> {
    const json = { code, ...options, detached: true };
    const route = path`/api/containers/${id}/run-code`;
    return (await this.http.json<api.CodeResultView>('POST', route, { json, signal })).execution;
  }

  /** Runs code and yields what it writes as it comes. Leaving the loop interrupts the code. */
  async *stream(
    id: string,
    code: string,
    { signal, ...options }: CodeOptions = {},
  ): AsyncGenerator<CodeMessage, void, undefined> {
    const asked = { json: { code, ...options }, headers: EVENT_STREAM, signal };
    const response = await this.http.request('POST', path`/api/containers/${id}/run-code`, asked);
    for await (const { event, data } of readUntil(response, { signal, last: 'end' })) {
      yield { type: event, ...(JSON.parse(data) as object) } as CodeMessage;
    }
  }

  /** Waits for the end of a run, and returns all that the container keeps of it. */
  output(id: string, execution: string, { signal }: CallOptions = {}): Promise<api.CodeResultView> {
    return this.http.json('GET', path`/api/containers/${id}/run-code/${execution}`, { signal });
  }

  /** Yields what a run has written and writes. Reconnects where a broken connection ended; leaving ends nothing. */
  follow(
    id: string,
    execution: string,
    { signal, after }: CallOptions & { readonly after?: number } = {},
  ): AsyncGenerator<CodeMessage, void, undefined> {
    const route = path`/api/containers/${id}/run-code/${execution}`;
    let from = after;
    return resumed({
      signal,
      open: () => this.http.request('GET', route, { query: { after: from }, headers: EVENT_STREAM, signal }),
      read: async function* (response) {
        for await (const { event, data, id: next } of readUntil(response, { signal, last: 'end' })) {
          if (next !== '') from = Number(next);
          yield { type: event, ...(JSON.parse(data) as object) } as CodeMessage;
        }
      },
    });
  }
}
