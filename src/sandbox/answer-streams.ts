import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { setTimeout as delay } from 'node:timers/promises';
import type { EventStream } from '../events';
import { accessLog } from '../http';
import { LOGGER, type Logger } from '../logging';

/** How long a client may take to read what was sent before its connection is cut. */
const READ_WITHIN_MS = 30_000;

/** Answers to requests that are streams of Server-Sent Events. */
@Injectable()
export class AnswerStreams {
  private readonly logRequest: ReturnType<typeof accessLog>;

  constructor(@Inject(LOGGER) logger: Logger) {
    this.logRequest = accessLog(logger);
  }

  /** Takes the answer from Fastify and sends its head; from here on, an error is an event. */
  open(stream: EventStream, { request, reply }: { request: FastifyRequest; reply: FastifyReply }): void {
    reply.hijack();
    stream.onClose(() => {
      // Fastify itself sees only answers that came to their end.
      if (!reply.raw.writableFinished) this.logRequest(request, reply, () => undefined);
    });
    if (!stream.isOver) stream.open({ headers: reply.getHeaders() });
  }
}

/** Whether Server-Sent Events are asked for by name: `*` is what clients send that know of none. */
export function acceptsEvents({ headers }: FastifyRequest): boolean {
  const types = (headers.accept ?? '').split(',').map((each) => each.split(';', 1)[0]?.trim().toLowerCase());
  return types.includes('text/event-stream');
}

/** Waits until the client has read what was sent; cuts the connection of one that does not. */
export async function drained(stream: EventStream): Promise<void> {
  const late = new AbortController();
  const timer = delay(READ_WITHIN_MS, undefined, { signal: late.signal, ref: false });
  const cut = timer.then(
    () => stream.cut(),
    () => undefined,
  );
  await Promise.race([stream.ready(), cut]);
  late.abort();
}

/** Ends the stream, and waits until it is over. */
export async function ended(stream: EventStream): Promise<void> {
  if (stream.isOver) return;
  const closed = new Promise<void>((resolve) => stream.onClose(resolve));
  stream.end();
  await closed;
}
