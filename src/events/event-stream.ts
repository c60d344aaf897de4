import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerResponse } from 'node:http';
import { DomainError } from '../errors';
import { accessLog } from '../http';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter, within } from '../scheduling';
import { MAX_SOCKETS_PER_USER, MAX_WAITING } from './events.gateway';
import type { BerthEvent } from './map';

/** Often enough that no proxy on the way takes the stream for dead. */
const HEARTBEAT_MS = 15_000;

/** How long a client is to wait before it comes back. */
const RETRY_MS = 2_000;

/** How long the last bytes may take to a client that reads slowly before its connection is cut. */
const GOODBYE_MS = 1_000;

/** How long a client that is waited for may take to read what was sent before its connection is cut. */
const READ_WITHIN_MS = 30_000;

/** Those that every answer has: of the request's id, of security, of CORS. */
type EventStreamHeaders = Readonly<Record<string, number | string | string[] | undefined>>;

/** Server-Sent Events to one client over one HTTP response; gives up on a client that does not read. */
export class EventStream {
  /** Writes that the kernel has not taken yet. */
  private waiting = 0;
  private onDrained: () => void = () => undefined;

  constructor(private readonly response: ServerResponse) {
    this.onClose(() => this.onDrained());
  }

  /** Whether the connection is gone. Nothing more is sent, and whoever comes now to {@link onClose} is not called. */
  get isOver(): boolean {
    return this.response.destroyed;
  }

  onClose(listener: () => void): void {
    this.response.once('close', listener);
  }

  /**
   * Sends the head. The client gets the id of its position at once, if there is one, so that it can resume from there
   * even if the connection breaks before the first event.
   */
  open({ headers, after }: { headers: EventStreamHeaders; after?: number | undefined }): void {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.response.setHeader(name, value);
    this.response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Or nginx keeps events back until its buffer is full.
      'x-accel-buffering': 'no',
      // Over with the stream, so that a server that ends has no idle connection to wait for.
      connection: 'close',
    });
    this.write(`retry: ${String(RETRY_MS)}\n${idLine(after)}\n`);
    const heartbeat = setInterval(() => {
      if (this.waiting === 0) this.write(':\n\n');
    }, HEARTBEAT_MS).unref();
    this.onClose(() => clearInterval(heartbeat));
  }

  send(event: BerthEvent): void {
    this.sendAs({ type: event.type, id: event.seq, payload: event });
  }

  /** Events up to `eventSeq` are no longer kept; the client continues after it. */
  sendResyncRequired(eventSeq: number): void {
    const payload = { type: 'resync_required', event_seq: eventSeq };
    this.sendAs({ type: payload.type, id: eventSeq, payload });
  }

  /** Resolves once all that was sent is on its way, or the connection is gone. */
  async ready(): Promise<void> {
    while (this.waiting > 0 && !this.isOver) await new Promise<void>((resolve) => (this.onDrained = resolve));
  }

  /** The same, but not for long: cuts the connection of a client that does not read. */
  async drained(): Promise<void> {
    await within(this.ready(), { ms: READ_WITHIN_MS }).catch(() => this.cut());
  }

  /** Lets what was sent arrive, then ends the connection. Does nothing before the head is sent. */
  end(): void {
    if (!this.response.headersSent || this.isOver) return;
    this.response.end();
    const timer = setTimeout(() => this.cut(), GOODBYE_MS);
    this.onClose(() => clearTimeout(timer));
  }

  /** The same, and waits until it is over. */
  async ended(): Promise<void> {
    if (this.isOver) return;
    const closed = new Promise<void>((resolve) => this.onClose(resolve));
    this.end();
    await closed;
  }

  /** Ends the connection as it is. The client can come back and has what it missed replayed. */
  cut(): void {
    this.response.destroy();
  }

  /** Sends anything else. Whoever sends much waits for {@link ready} in between, or the connection is cut. */
  sendAs({ type, id, payload }: { type: string; id?: number; payload: object }): void {
    if (this.waiting >= MAX_WAITING) this.cut();
    else this.write(`${idLine(id)}event: ${type}\ndata: ${JSON.stringify(payload)}\n\n`);
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

/** Answers to requests that are streams of Server-Sent Events. */
@Injectable()
export class AnswerStreams {
  private readonly logRequest: ReturnType<typeof accessLog>;
  /** The streams of each user, whatever comes in them. */
  private readonly places = new KeyedLimiter(MAX_SOCKETS_PER_USER);

  constructor(@Inject(LOGGER) logger: Logger) {
    this.logRequest = accessLog(logger);
  }

  /**
   * Counts a stream for its user until it closes. To be called first of all, or many that are made at once would all be
   * let in.
   *
   * @throws DomainError `too_many_connections` beyond {@link MAX_SOCKETS_PER_USER} in this process
   */
  enter(userId: string, stream: EventStream): void {
    if (stream.isOver) return;
    const leave = this.places.take(userId);
    if (!leave) throw new DomainError('too_many_connections');
    stream.onClose(leave);
  }

  /**
   * Takes the answer from Fastify and sends its head; from here on, an error is an event.
   *
   * @param to.after as {@link EventStream.open} has it
   */
  open(stream: EventStream, to: { request: FastifyRequest; reply: FastifyReply; after?: number }): void {
    const { request, reply, after } = to;
    reply.hijack();
    if (stream.isOver) return;
    stream.onClose(() => {
      // Fastify itself sees only answers that came to their end.
      if (!reply.raw.writableFinished) this.logRequest(request, reply, () => undefined);
    });
    stream.open({ headers: reply.getHeaders(), after });
  }
}

/** Whether Server-Sent Events are asked for by name: `*` is what clients send that know of none. */
export function acceptsEvents({ headers }: FastifyRequest): boolean {
  const types = (headers.accept ?? '').split(',').map((each) => each.split(';', 1)[0]?.trim().toLowerCase());
  return types.includes('text/event-stream');
}
