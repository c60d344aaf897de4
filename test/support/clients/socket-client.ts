import { io, type Socket } from 'socket.io-client';
import type { BerthEvent } from '../../../src/events';
import { eventually } from '../eventually';
import { noteMessage } from './described';

type Auth = Readonly<Record<string, unknown>>;

/** A standard Socket.IO client that records what it receives, in order. */
export class SocketClient {
  readonly socket: Socket;
  readonly told: { name: string; payloads: unknown[] }[] = [];
  readonly disconnects: string[] = [];
  readonly refusals: (Error & { data?: unknown })[] = [];

  constructor(url: string, auth: Auth | (() => Auth), transports = ['websocket']) {
    this.socket = io(url, {
      auth: typeof auth === 'function' ? (give: (data: object) => void) => give(auth()) : auth,
      transports,
      forceNew: true,
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
    });
    this.socket.onAny((name: string, ...payloads: unknown[]) => this.told.push({ name, payloads }));
    this.socket.on('disconnect', (reason) => this.disconnects.push(reason));
    this.socket.on('connect_error', (error) => this.refusals.push(error));
  }

  get events(): BerthEvent[] {
    return this.told.map(({ payloads }) => payloads[0] as BerthEvent);
  }

  get seqs(): number[] {
    return this.events.map(({ seq }) => seq);
  }

  async connected(): Promise<this> {
    await eventually(() => expect(this.socket.connected).toBe(true), { what: () => this.refusals.join('\n') });
    return this;
  }

  /** Waits for the refusal. @returns its message */
  async refused(): Promise<string | undefined> {
    await eventually(() => expect(this.refusals).not.toEqual([]));
    expect(this.socket.connected).toBe(false);
    return this.refusals[0]?.message;
  }

  close(): void {
    this.socket.close();
  }
}

/** Follows the events of a token's user after the event `after`, from now on if absent. */
export class EventRecorder extends SocketClient {
  constructor(url: string, { token, after }: { token: string; after?: number | undefined }) {
    super(url, { token, ...(after !== undefined && { after }) });
    this.socket.onAny((type: string, event: BerthEvent) => {
      // Each event must arrive under its own name.
      if (event.type !== type) throw new Error(`a ${event.type} came as ${type}`);
      noteMessage('events', type, event);
    });
  }

  /** Waits for an event of this type whose data has these values. */
  async next(
    type: BerthEvent['type'],
    data: Readonly<Record<string, unknown>> = {},
    timeoutMs = 30_000,
  ): Promise<BerthEvent> {
    const fits = (event: BerthEvent): boolean => {
      const facts: Readonly<Record<string, unknown>> = { ...event.data };
      return event.type === type && Object.entries(data).every(([key, value]) => facts[key] === value);
    };
    const found = (): BerthEvent => {
      const event = this.events.find(fits);
      if (!event) throw new Error(`no ${type} ${JSON.stringify(data)}`);
      return event;
    };
    const summary = (): string =>
      this.events.map((event) => `${String(event.seq)} ${event.type} ${JSON.stringify(event.data)}`).join('\n');
    return eventually(found, { timeoutMs, what: summary });
  }

  /** The types in order, without progress, for comparisons. */
  types(): string[] {
    return this.events.map(({ type }) => type).filter((type) => type !== 'container_progress');
  }

  clear(): void {
    this.told.length = 0;
  }
}
