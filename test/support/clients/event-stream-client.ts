import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { BerthEvent } from '../../../src/events';
import { eventually } from '../eventually';
import { noteEvent } from './described';
import { noteHead, openCall } from './http-call';

/** One block of the stream that has data. */
export interface StreamedEvent {
  readonly id: string;
  readonly name: string;
  readonly data: unknown;
}

export interface StreamRequest {
  readonly url: string;
  readonly token: string;
  readonly after?: number | string | undefined;
  readonly lastEventId?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** The path of another stream than the user's events. */
  readonly path?: string;
  /** If present, the request is a POST with this JSON body. */
  readonly body?: object;
}

/** A client of event streams that follows the HTML standard, and can stop reading. */
export class EventStreamClient {
  readonly told: StreamedEvent[] = [];
  /** As in the standard, blocks with only an id set it too. */
  lastEventId = '';
  retry: number | null = null;
  /** Whether the stream ended with its last byte, or was cut before. */
  ending: 'complete' | 'cut' | null = null;
  private text = '';

  private constructor(
    private readonly response: IncomingMessage,
    private readonly asked: { readonly method: string; readonly url: string },
  ) {
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      const blocks = (this.text + chunk).split('\n\n');
      this.text = blocks.pop() ?? '';
      for (const block of blocks) this.take(block);
    });
    response.once('end', () => (this.ending = 'complete'));
    response.once('error', () => undefined);
    response.once('close', () => (this.ending ??= 'cut'));
  }

  /** Resolves with the head of the response, with any status. */
  static async open(asked: StreamRequest): Promise<EventStreamClient> {
    const { url, token, after, lastEventId, path = '/api/events/stream', body } = asked;
    const query = after === undefined ? '' : `?after=${String(after)}`;
    const method = body ? 'POST' : 'GET';
    const headers = {
      accept: 'text/event-stream',
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
      ...asked.headers,
    };
    const response = await openCall(url, `${path}${query}`, { method, token, headers, body });
    const seen = { method, url: path };
    noteHead(response, seen);
    return new EventStreamClient(response, seen);
  }

  get status(): number {
    return this.response.statusCode ?? 0;
  }

  get headers(): IncomingHttpHeaders {
    return this.response.headers;
  }

  get events(): BerthEvent[] {
    return this.told.map(({ data }) => data as BerthEvent);
  }

  get seqs(): number[] {
    return this.events.map(({ seq }) => seq);
  }

  /** Waits for the id at the beginning of a stream. */
  async opened(): Promise<this> {
    expect(this.status).toBe(200);
    await eventually(() => expect(this.lastEventId).not.toBe(''));
    return this;
  }

  pause(): void {
    this.response.pause();
  }

  resume(): void {
    this.response.resume();
  }

  /** Breaks the connection. */
  close(): void {
    this.response.destroy();
  }

  private take(block: string): void {
    let [name, data] = ['message', ''];
    for (const line of block.split('\n')) {
      const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (field === 'id') this.lastEventId = value;
      if (field === 'event') name = value;
      if (field === 'data') data += value;
      if (field === 'retry') this.retry = Number(value);
    }
    if (data === '') return;
    const event = { id: this.lastEventId, name, data: JSON.parse(data) as unknown };
    this.told.push(event);
    if (this.status === 200) noteEvent(this.asked, event);
  }
}
