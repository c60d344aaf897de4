import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, type Told } from './server-sent-events.ts';

export type CommandOptions = Omit<api.RunCommandDto, 'command'> & CallOptions;

/** What a command that is followed says: its output as it comes, and last its end. */
export type CommandMessage = Told<'output', api.CommandOutputView> | Told<'result', api.CommandEndView>;

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
}
