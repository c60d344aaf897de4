import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, resumed, type Told } from './server-sent-events.ts';

export type ProcessOptions = Omit<api.StartProcessDto, 'command'> & CallOptions;

export interface OutputOptions extends CallOptions {
  /** Offset of the first byte; by default the first byte that is kept. */
  readonly after?: number;
  readonly encoding?: 'utf-8' | 'base64';
  /** Whether each piece has the `time` at which it was written, by the clock of the sandbox. */
  readonly times?: boolean;
}

/** A message of a followed process. After a `gap`, output continues at the gap's offset. */
export type ProcessMessage = ProcessOutput | Told<'exit', api.ProcessExitView>;

type ProcessOutput = Told<'output', api.OutputChunkView> | Told<'gap', api.OutputGapView>;

/** Processes that outlive their request. */
export class Processes {
  constructor(private readonly http: Http) {}

  /** Starts a process. Not retried if the connection breaks: it might be started twice. */
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

  /** @param options limit: maximum bytes */
  output(
    id: string,
    process: string,
    { signal, ...query }: OutputOptions & { readonly limit?: number } = {},
  ): Promise<api.ProcessOutputView> {
    return this.http.json('GET', path`/api/containers/${id}/processes/${process}/output`, { query, signal });
  }

  /**
   * Yields a process's output as it comes, and finally its exit. Reconnects at the same byte after a broken
   * connection, without a limit of attempts.
   *
   * @throws BerthError if the first connection fails, and if the server refuses
   */
  follow(
    id: string,
    process: string,
    { signal, after, encoding, times }: OutputOptions = {},
  ): AsyncGenerator<ProcessMessage, void, undefined> {
    const route = path`/api/containers/${id}/processes/${process}/output`;
    let from = after;
    return resumed({
      signal,
      open: () =>
        this.http.request('GET', route, { query: { after: from, encoding, times }, headers: EVENT_STREAM, signal }),
      read: async function* (response) {
        for await (const { event, data, id: next } of readUntil(response, { signal, last: 'exit' })) {
          if (next !== '') from = Number(next);
          yield { type: event, ...(JSON.parse(data) as object) } as ProcessMessage;
        }
      },
    });
  }

  /** Writes to the process's stdin. @param options close: closes stdin afterwards */
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

  /** Ends a process with its children, or removes an ended one from the list. */
  end(id: string, process: string, { signal }: CallOptions = {}): Promise<api.ProcessMessageView> {
    return this.http.json('DELETE', path`/api/containers/${id}/processes/${process}`, { signal });
  }
}
