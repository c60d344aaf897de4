import type { Socket } from 'socket.io-client';
import type { BerthEvent } from '../../../src/events';
import { noteMessage } from './described';
import { eventually } from '../eventually';

/** Records the events that one Socket.IO client received, in order. */
export class EventRecorder {
  readonly events: BerthEvent[] = [];

  constructor(readonly socket: Socket) {
    socket.onAny((type: string, event: BerthEvent) => {
      // Each event must arrive under its own name.
      if (event.type !== type) throw new Error(`a ${event.type} came as ${type}`);
      noteMessage('events', type, event);
      this.events.push(event);
    });
  }

  async connected(): Promise<void> {
    if (this.socket.connected) return;
    await new Promise<void>((resolve, reject) => {
      this.socket.once('connect', resolve);
      this.socket.once('connect_error', reject);
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
    await eventually(() => expect(this.events.some(fits)).toBe(true), { timeoutMs, what: () => this.summary() });
    const found = this.events.find(fits);
    if (!found) throw new Error('unreachable');
    return found;
  }

  /** The types in order, without progress, for comparisons. */
  types(): string[] {
    return this.events.map(({ type }) => type).filter((type) => type !== 'container_progress');
  }

  clear(): void {
    this.events.length = 0;
  }

  close(): void {
    this.socket.close();
  }

  private summary(): string {
    return this.events.map(({ seq, type, data }) => `${String(seq)} ${type} ${JSON.stringify(data)}`).join('\n');
  }
}
