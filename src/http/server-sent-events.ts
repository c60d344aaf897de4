import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerResponse } from 'node:http';
import { DomainError, invalidParameters } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter, within } from '../scheduling';
import { accessLog } from './http-setup';

/** Heartbeat interval, short enough that no proxy treats the stream as dead. */
const HEARTBEAT_MS = 15_000;

/** Time that a client waits before it reconnects. */
const RETRY_MS = 2_000;

/** Time in which a slow client may read the last bytes before its connection is cut. */
const GOODBYE_MS = 1_000;

/** Time in which {@link EventStream.drained} lets a client read the sent data before its connection is cut. */
const READ_WITHIN_MS = 30_000;

/** Maximum writes that may wait for a client that does not read. */
export const MAX_WAITING_WRITES = 1_000;

/** Maximum open streams of one user in this process. */
const MAX_STREAMS_PER_USER = 50;

/** The headers of every answer: the request's id, security headers, CORS. */
type EventStreamHeaders = Readonly<Record<string, number | string | string[] | undefined>>;

/** Sends Server-Sent Events to one client over one HTTP response; drops a client that does not read. */
export class EventStream {
  /** Writes that the kernel has not accepted yet. */
  private waiting = 0;
  private onDrained: () => void = () => undefined;

  constructor(private readonly response: ServerResponse) {
    this.onClose(() => this.onDrained());
  }

  /** True if the connection is gone: nothing more is sent, and new {@link onClose} listeners are not called. */
  get isOver(): boolean {
    return this.response.destroyed;
  }

  onClose(listener: () => void): void {
    this.response.once('close', listener);
  }

  /**
   * Sends the head. If there is a position, the client gets its id at once, so that it can resume from there even if
   * the connection breaks before the first event.
   */
  open({ headers, after }: { headers: EventStreamHeaders; after?: number | undefined }): void {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.response.setHeader(name, value);
    this.response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Otherwise nginx holds events back until its buffer is full.
      'x-accel-buffering': 'no',
      // Closes the connection with the stream, so that a shutdown has no idle connection to wait for.
      connection: 'close',
    });
    this.write(`retry: ${String(RETRY_MS)}\n${idLine(after)}\n`);
    const heartbeat = setInterval(() => {
      if (this.waiting === 0) this.write(':\n\n');
    }, HEARTBEAT_MS).unref();
    this.onClose(() => clearInterval(heartbeat));
  }

  /** Sends an event. Senders of many events must await {@link ready} in between, or the connection is cut. */
  send({ type, id, payload }: { type: string; id?: number; payload: object }): void {
    if (this.waiting >= MAX_WAITING_WRITES) this.cut();
    else this.write(`${idLine(id)}event: ${type}\ndata: ${JSON.stringify(payload)}\n\n`);
  }

  /** Resolves once the kernel has accepted all data, or the connection is gone. */
  async ready(): Promise<void> {
    while (this.waiting > 0 && !this.isOver) await new Promise<void>((resolve) => (this.onDrained = resolve));
  }

  /** Like {@link ready}, but cuts the connection of a client that does not read within {@link READ_WITHIN_MS}. */
  async drained(): Promise<void> {
    await within(this.ready(), { ms: READ_WITHIN_MS }).catch(() => this.cut());
  }

  /** Closes the connection once the sent data has been delivered. Does nothing before the head is sent. */
  end(): void {
    if (!this.response.headersSent || this.isOver) return;
    this.response.end();
    const timer = setTimeout(() => this.cut(), GOODBYE_MS);
    this.onClose(() => clearTimeout(timer));
  }

  /** Like {@link end}, and resolves once the connection is closed. */
  async ended(): Promise<void> {
    if (this.isOver) return;
    const closed = new Promise<void>((resolve) => this.onClose(resolve));
    this.end();
    await closed;
  }

  /** Closes the connection at once. The client can reconnect and get a replay of the events it missed. */
  cut(): void {
    this.response.destroy();
  }

  private write(text: string): void {
    if (this.isOver || this.response.writableEnded) return;
    this.waiting += 1;
    this.response.write(text, () => {
      this.waiting -= 1;
      if (this.waiting === 0) this.onDrained();
    });
  }
}

function idLine(id: number | undefined): string {
  return id === undefined ? '' : `id: ${String(id)}\n`;
}

/** Server-Sent Events as answers to requests. */
@Injectable()
export class AnswerStreams {
  private readonly logRequest: ReturnType<typeof accessLog>;
  /** Open streams of each user, of all kinds. */
  private readonly streamsOf = new KeyedLimiter(MAX_STREAMS_PER_USER);

  constructor(@Inject(LOGGER) logger: Logger) {
    this.logRequest = accessLog(logger);
  }

  /**
   * Makes a stream, which counts for its user until it closes. Call it before anything asynchronous, or many
   * concurrent requests would all pass the limit.
   *
   * @throws DomainError `too_many_connections` beyond {@link MAX_STREAMS_PER_USER} in this process
   */
  enter(userId: string, { raw }: FastifyReply): EventStream {
    const stream = new EventStream(raw);
    if (stream.isOver) return stream;
    const leave = this.streamsOf.take(userId);
    if (!leave) throw new DomainError('too_many_connections');
    stream.onClose(leave);
    return stream;
  }

  /**
   * Takes the response over from Fastify and sends its head. After that, errors can only be sent as events.
   *
   * @param to.after as in {@link EventStream.open}
   * @param follow called unless the client has gone, or asked for the head alone: registers the stream with
   *   `OpenConnections`, and begins to send. It returns a function that is called when the stream has closed
   * @returns whether `follow` was called
   */
  open(
    stream: EventStream,
    to: { request: FastifyRequest; reply: FastifyReply; after?: number },
    follow: () => () => void,
  ): boolean {
    const { request, reply, after } = to;
    reply.hijack();
    if (stream.isOver) return false;
    stream.onClose(() => {
      // Fastify itself logs only responses that were completed.
      if (!reply.raw.writableFinished) this.logRequest(request, reply, () => undefined);
    });
    stream.open({ headers: reply.getHeaders(), after });
    // A response to HEAD has no body, so it has no events.
    if (request.method === 'HEAD') {
      stream.end();
      return false;
    }
    stream.onClose(follow());
    return true;
  }
}

/** True if `Accept` names `text/event-stream`: clients that do not know of event streams send wildcards. */
export function acceptsEvents({ headers }: FastifyRequest): boolean {
  const types = (headers.accept ?? '').split(',').map((each) => each.split(';', 1)[0]?.trim().toLowerCase());
  return types.includes('text/event-stream');
}

/**
 * Parses the last event id that a reconnecting client has seen.
 *
 * @param header the value of `Last-Event-ID`; an empty one, which some clients send at first, counts as absent
 * @throws DomainError `invalid_parameters` if no stream can have sent this id
 */
export function parseLastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  if (/^[0-9]{1,16}$/.test(header) && Number.isSafeInteger(Number(header))) return Number(header);
  throw invalidParameters([{ field: 'last-event-id', message: 'must be the id of an event' }]);
}
