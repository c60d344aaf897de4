import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, resumed, type Told } from './server-sent-events.ts';

export type ProcessOptions = Omit<api.StartProcessDto, 'command'> & CallOptions;

export interface OutputOptions extends CallOptions {
  /** From this byte on; from the first that is kept if absent. */
  readonly after?: number;
  readonly encoding?: 'utf-8' | 'base64';
}

/** What a process that is followed says. After a `gap`, output goes on at its offset. */
export type ProcessMessage = ProcessOutput | Told<'exit', api.ProcessExitView>;

type ProcessOutput = Told<'output', api.OutputChunkView> | Told<'gap', api.OutputGapView>;

/** Processes that outlive their request. */
export class Processes {
  constructor(private readonly http: Http) {}

  /** Not repeated where the connection breaks: there might be two. */
  start(id: string, command: readonly string[], { signal, ...options }: ProcessOptions = {}): Promise<api.ProcessView> {
    return this.http.json('POST', path`/api/containers/${id}/processes`, { json: { command, ...options }, signal });
  }

  async list(id: string, { signal }: CallOptions = {}): Promise<api.ProcessView[]> {
    const answer = await this.http.json<api.ProcessListView>('GET', path`/api/containers/${id}/processes`, { signal });
    return answer.processes;
  }

  get(id: string, process: string, { signal }: CallOptions = {}): Promise<api.ProcessView> {
    return this.http.json('GET', path`/api/containers/${id}/processes/${process}`, { signal });
  }

  /** @param options limit: in bytes */
  output(
    id: string,
    process: string,
    { signal, ...query }: OutputOptions & { readonly limit?: number } = {},
  ): Promise<api.ProcessOutputView> {
    return this.http.json('GET', path`/api/containers/${id}/processes/${process}/output`, { query, signal });
  }

  /**
   * Its output as it comes, and last its exit. Comes back by itself where the connection breaks, to the same byte, for
   * as long as it takes.
   * @throws BerthError where the first connection cannot be made, and where the server refuses
   */
  follow(
    id: string,
    process: string,
    { signal, after, encoding }: OutputOptions = {},
  ): AsyncGenerator<ProcessMessage, void, undefined> {
    const route = path`/api/containers/${id}/processes/${process}/output`;
    let from = after;
    return resumed({
      signal,
      open: () => this.http.request('GET', route, { query: { after: from, encoding }, headers: EVENT_STREAM, signal }),
      read: async function* (response) {
        for await (const { event, data, id: next } of readUntil(response, { signal, last: 'exit' })) {
          if (next !== '') from = Number(next);
          yield { type: event, ...(JSON.parse(data) as object) } as ProcessMessage;
        }
      },
    });
  }

  /** Writes to its input. @param options close: ends the input after it */
  write(
    id: string,
    process: string,
    { signal, ...input }: api.WriteInputDto & CallOptions,
  ): Promise<api.ProcessMessageView> {
    return this.http.json('POST', path`/api/containers/${id}/processes/${process}/stdin`, { json: input, signal });
  }

  signal(
    id: string,
    process: string,
    name: api.SendSignalDto['signal'],
    { signal }: CallOptions = {},
  ): Promise<api.ProcessMessageView> {
    const json = { signal: name };
    return this.http.json('POST', path`/api/containers/${id}/processes/${process}/signal`, { json, signal });
  }

  /** Ends it with all that it started, or forgets one that has ended. */
  end(id: string, process: string, { signal }: CallOptions = {}): Promise<api.ProcessMessageView> {
    return this.http.json('DELETE', path`/api/containers/${id}/processes/${process}`, { signal });
  }
}
