import type { ServerResponse } from 'node:http';
import type { BerthEvent } from './event-map';
import { MOST_WAITING } from './socket-outbox';

/** Often enough that no proxy on the way takes the stream for dead. */
const HEARTBEAT_MS = 15_000;

/** How long a client is to wait before it comes back. */
const RETRY_MS = 2_000;

/** How long the last bytes may take to a client that reads slowly before its connection is cut. */
const GOODBYE_MS = 1_000;

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
   * Sends the head. The client is told at once the id of what it has, so that it can come back there even if the
   * connection breaks before the first event.
   */
  open({ headers, after }: { headers: EventStreamHeaders; after: number }): void {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.response.setHeader(name, value);
    this.response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Or nginx keeps events back until its buffer is full.
      'x-accel-buffering': 'no',
      // Over with the stream, so that a server that ends has no idle connection to wait for.
      connection: 'close',
    });
    this.write(`retry: ${String(RETRY_MS)}\nid: ${String(after)}\n\n`);
    const heartbeat = setInterval(() => {
      if (this.waiting === 0) this.write(':\n\n');
    }, HEARTBEAT_MS).unref();
    this.onClose(() => clearInterval(heartbeat));
  }

  send(event: BerthEvent): void {
    this.sendAs({ type: event.type, id: event.seq, payload: event });
  }

  /** Events up to `eventSeq` cannot be told; the client goes on from there. */
  sendResyncRequired(eventSeq: number): void {
    const payload = { type: 'resync_required', event_seq: eventSeq };
    this.sendAs({ type: payload.type, id: eventSeq, payload });
  }

  /** Resolves once all that was sent is on its way, or the connection is gone. */
  async ready(): Promise<void> {
    while (this.waiting > 0 && !this.isOver) await new Promise<void>((resolve) => (this.onDrained = resolve));
  }

  /** Lets what was sent arrive, then ends the connection. Does nothing before the head is sent. */
  end(): void {
    if (!this.response.headersSent || this.isOver) return;
    this.response.end();
    const timer = setTimeout(() => this.cut(), GOODBYE_MS);
    this.onClose(() => clearTimeout(timer));
  }

  /** Ends the connection as it is. The client can come back and has what it missed replayed. */
  cut(): void {
    this.response.destroy();
  }

  private sendAs({ type, id, payload }: { type: string; id: number; payload: object }): void {
    if (this.waiting >= MOST_WAITING) this.cut();
    else this.write(`id: ${String(id)}\nevent: ${type}\ndata: ${JSON.stringify(payload)}\n\n`);
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
