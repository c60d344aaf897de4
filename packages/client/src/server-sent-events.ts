import { brokenConnection } from './http.ts';

export interface ServerSentEvent {
  /** `message` where the stream does not say. */
  readonly event: string;
  readonly data: string;
  /** The last one that the stream gave; empty if none. */
  readonly id: string;
}

/**
 * Reads a `text/event-stream`. Leaving the loop ends the connection.
 * @throws BerthError where it breaks off, the reason of the signal
 */
export async function* readEvents(
  response: Response,
  signal: AbortSignal | undefined,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  if (!response.body) return;
  const reader = response.body.getReader();
  const parser = new EventParser();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw brokenConnection(error, signal);
      });
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** The stream's syntax, as https://html.spec.whatwg.org/multipage/server-sent-events.html has it. */
export class EventParser {
  private rest = '';
  private event = '';
  private data: string[] = [];
  private id = '';

  /** @returns the events that end in this piece of text */
  push(text: string): ServerSentEvent[] {
    const found: ServerSentEvent[] = [];
    // A piece may end between the two characters of one line's end.
    const whole = this.rest + text;
    const end = whole.endsWith('\r') ? whole.length - 1 : whole.length;
    const lines = whole.slice(0, end).split(/\r\n|\r|\n/);
    this.rest = (lines.pop() ?? '') + whole.slice(end);
    for (const line of lines) {
      if (line !== '') this.take(line);
      else if (this.data.length > 0) found.push(this.dispatch());
      else this.event = '';
    }
    return found;
  }

  private dispatch(): ServerSentEvent {
    const found = { event: this.event || 'message', data: this.data.join('\n'), id: this.id };
    this.event = '';
    this.data = [];
    return found;
  }

  private take(line: string): void {
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
    else if (field === 'id') this.id = value;
  }
}
