import type * as api from './api-types.ts';
import { BerthError, type BerthErrorCode } from './errors.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { readEvents, type ServerSentEvent } from './server-sent-events.ts';

export type CommandOptions = Omit<api.RunCommandDto, 'command'> & CallOptions;

/** What a command that is followed says: its output as it comes, and last its end. */
export type CommandMessage = Told<'output', api.CommandOutputView> | Told<'result', api.CommandEndView>;

/** A message of a stream, with its name. */
export type Told<Type extends string, Facts> = { readonly type: Type } & Facts;

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
    for await (const { event, data } of untilTold(response, signal, 'result')) {
      yield { type: event, ...(JSON.parse(data) as object) } as CommandMessage;
    }
  }
}

/** Asks for a stream where a route can answer by one. */
export const EVENT_STREAM = { accept: 'text/event-stream' } as const;

/**
 * @param last the event after which the stream ends. @throws BerthError for a `failed` of the server, and where the
 *   stream ends before its last event
 */
export async function* untilTold(
  response: Response,
  signal: AbortSignal | undefined,
  last: string,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  for await (const message of readEvents(response, signal)) {
    if (message.event === 'failed') throw failure(message.data);
    yield message;
    if (message.event === last) return;
  }
  throw new BerthError({ status: 0, code: 'connection_failed', message: 'the server broke off' });
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
