import { setTimeout as delay } from 'node:timers/promises';
import { io, type Socket } from 'socket.io-client';
import type { BerthEvent } from '../../src/events';
import { SeededRandom } from '../support/seeded-random';
import { FaultyCluster } from './faulty-cluster';
import { Journal } from './journal';

const AGAIN_MS = 200;

/**
 * A client that follows a user's events over Socket.IO from the first one on, on any process that accepts it. After a
 * break it resumes where it was.
 */
export class Follower {
  readonly events: BerthEvent[] = [];
  private socket: Socket | null = null;
  private closed = false;
  private readonly ended: Promise<void>;

  constructor(
    private readonly user: { readonly name: string; readonly token: string },
    private readonly cluster: FaultyCluster,
    private readonly random: SeededRandom,
    private readonly journal: Journal,
  ) {
    this.ended = this.follow();
  }

  get seq(): number {
    return this.events.at(-1)?.seq ?? 0;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.socket?.close();
    await this.ended;
  }

  private async follow(): Promise<void> {
    while (!this.closed) {
      await this.connection();
      this.journal.note('follower', 'disconnected');
      await delay(AGAIN_MS);
    }
  }

  /** Resolves when the connection has ended. */
  private async connection(): Promise<void> {
    const { url } = this.cluster.pick(this.random);
    const auth = { token: this.user.token, after: this.seq };
    const socket = io(url, { auth, transports: ['websocket'], forceNew: true, reconnection: false });
    this.socket = socket;
    socket.onAny((type: string, event: BerthEvent) => this.take(type, event));
    await new Promise((resolve) => {
      socket.once('disconnect', resolve);
      socket.once('connect_error', resolve);
      if (this.closed) resolve(null);
    });
    socket.close();
  }

  private take(type: string, event: BerthEvent): void {
    if (type !== event.type || event.seq !== this.seq + 1) {
      this.journal.complain(`${this.user.name} was sent ${type} ${String(event.seq)} after ${String(this.seq)}`);
    }
    this.events.push(event);
  }
}
