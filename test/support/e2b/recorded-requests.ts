import { readFileSync } from 'node:fs';
import { eventually } from '../eventually';

/** A type of JSON (`null`: any), an id as `{{name}}`, or the shapes of fields and of the first element. */
type Shape = string | readonly Shape[] | { readonly [field: string]: Shape };

/** A request of an SDK, and what the SDK reads of the answer: see `record-requests.mjs`. */
export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  /** Of requests to a sandbox. */
  readonly sandbox?: string;
  readonly headers: Readonly<Record<string, string>>;
  /** In Latin-1. */
  readonly body?: string;
  /** Of a call of Connect that is answered by a stream. */
  readonly messages?: readonly string[];
  readonly status: number;
  readonly answer?: Shape;
  /** The shapes of a stream's messages, as JSON. */
  readonly events?: readonly string[];
  /** The number of requests that did not wait for the stream's end. */
  readonly until?: number;
  /** Who ended the stream's connection before its end. */
  readonly cut?: 'by the client' | 'by Berth';
}

interface Stream {
  readonly recorded: RecordedRequest;
  readonly received: unknown[];
  readonly end: Promise<unknown>;
  readonly leave: AbortController;
}

/** @param name of a file of this folder, whose first line says what was recorded */
export function recordedRequests(name: string): RecordedRequest[] {
  const [, ...lines] = readFileSync(`${__dirname}/${name}`, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as RecordedRequest);
}

/** Sends recorded requests, each when those that it waited for are answered, and checks the answers. */
export class Replay {
  private readonly ids = new Map<string, string>();
  /** By sandbox. */
  private readonly secrets = new Map<string, string>();
  private streams: Stream[] = [];

  constructor(
    private readonly url: string,
    private readonly apiKey: string,
  ) {}

  async run(requests: readonly RecordedRequest[]): Promise<void> {
    for (const [at, recorded] of requests.entries()) {
      await this.endStreams((stream) => (stream.recorded.until ?? 0) <= at);
      // Changes that a poll asks for may come later.
      await (recorded.path.endsWith('/GetWatcherEvents')
        ? eventually(() => this.replay(recorded))
        : this.replay(recorded));
    }
    await this.endStreams(() => true);
  }

  private async replay(recorded: RecordedRequest): Promise<void> {
    const leave = new AbortController();
    const answer = await this.send(recorded, leave.signal);
    const title = `${recorded.method} ${recorded.path} ${recorded.body ?? recorded.messages?.[0] ?? ''}`;
    expect([title, answer.status]).toEqual([title, recorded.status]);
    const { answer: shape, events } = recorded;
    if (events) {
      const received: unknown[] = [];
      const end = readMessages(answer, received).catch((error: unknown) => error);
      this.streams.push({ recorded, received, end, leave });
      await eventually(() => expect([title, this.faults(received[0], shapeIn(events[0]))]).toEqual([title, []]));
    } else if (typeof shape === 'object') {
      expect([title, this.faults(await answer.json(), shape)]).toEqual([title, []]);
    } else {
      expect([title, await answer.text()]).toEqual([title, shape ?? '']);
    }
  }

  private async endStreams(which: (stream: Stream) => boolean): Promise<void> {
    for (const { recorded, received, end, leave } of this.streams.filter(which)) {
      const isThere = (shape: string): boolean =>
        received.some((each) => this.faults(each, shapeIn(shape)).length === 0);
      if (recorded.cut !== 'by the client') await end;
      await eventually(() => expect(recorded.events?.filter(isThere)).toEqual(recorded.events));
      leave.abort();
      if (recorded.cut === 'by Berth') expect(await end).toMatchObject({ message: 'terminated' });
    }
    this.streams = this.streams.filter((stream) => !which(stream));
  }

  private send(recorded: RecordedRequest, signal: AbortSignal): Promise<Response> {
    const { method, path, sandbox, headers, messages, body = '' } = recorded;
    const id = sandbox === undefined ? '' : this.fill(sandbox);
    const access = { 'e2b-sandbox-id': id, 'e2b-sandbox-port': '49983', 'x-access-token': this.secrets.get(id) ?? '' };
    const bytes = messages
      ? Buffer.concat(messages.map((message) => enveloped(this.fill(message))))
      : Buffer.from(this.fill(body), 'latin1');
    return fetch(`${this.url}${this.fill(path)}`, {
      method,
      signal,
      headers: { ...headers, ...(sandbox === undefined ? { 'x-api-key': this.apiKey } : access) },
      // Of unknown length: it is sent in chunks.
      ...(bytes.length > 0 && { body: messages ? new Blob([bytes]).stream() : bytes, duplex: 'half' }),
    });
  }

  private fill(text: string): string {
    return text.replaceAll(/\{\{(.+?)\}\}/g, (_, name: string) => this.ids.get(name) ?? `unknown ${name}`);
  }

  /** The fields of an answer that are missing or of another type. Remembers ids, and the secrets of sandboxes. */
  private faults(value: unknown, shape: Shape, path = ''): string[] {
    if (typeof shape === 'string') {
      if (value === undefined) return [`${path}: missing`];
      const [, name] = /^\{\{(.+)\}\}$/.exec(shape) ?? [];
      if (name !== undefined && isText(value)) this.ids.set(name, String(value));
      const isRight = name !== undefined || shape === 'null' || typeof value === shape;
      return isRight ? [] : [`${path}: ${typeof value}, not ${shape}`];
    }
    if (Array.isArray(shape)) {
      if (!Array.isArray(value)) return [`${path}: no list`];
      return shape.flatMap((each: Shape) => this.faults(value[0], each, `${path}[0]`));
    }
    if (typeof value !== 'object' || value === null) return [`${path}: no object`];
    const fields = value as Record<string, unknown>;
    const { sandboxID, envdAccessToken } = fields;
    if (typeof envdAccessToken === 'string') this.secrets.set(String(sandboxID), envdAccessToken);
    // Connect ends a stream that has failed so.
    if ('error' in fields && !('error' in shape)) return [`${path}: ${JSON.stringify(fields['error'])}`];
    return Object.entries(shape).flatMap(([field, each]) => this.faults(fields[field], each, `${path}.${field}`));
  }
}

const shapeIn = (text = 'null'): Shape => JSON.parse(text) as Shape;

/** The messages of Connect's stream, as they come. */
async function readMessages({ body }: Response, into: unknown[]): Promise<void> {
  let rest = Buffer.alloc(0);
  for await (const chunk of body ?? []) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      into.push(JSON.parse(rest.toString('utf8', 5, end)));
      rest = rest.subarray(end);
    }
  }
}

function enveloped(message: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(message), 1);
  return Buffer.concat([head, Buffer.from(message)]);
}

function isText(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}
