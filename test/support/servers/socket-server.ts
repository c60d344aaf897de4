import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Server } from 'socket.io';
import type { Scope } from '../../../src/auth';
import { Database } from '../../../src/database';
import { BerthEvent, EventLog } from '../../../src/events';
import { EventsGateway } from '../../../src/events/events.gateway';
import { EventEntity, EventRetention } from '../../../src/events/log';
import { FakeEngine } from '../fakes/fake-engine';
import { Berth, type NewUser } from './berth';
import { draft } from './events-process';

/** A server on Docker in memory, with events that the tests commit themselves. */
export class SocketServer {
  private constructor(private readonly berth: Berth) {}

  /** @param url of the database, which several servers can share */
  static async start({
    url,
    port = 0,
    environment = {},
  }: {
    url: string;
    port?: number;
    environment?: Record<string, string>;
  }): Promise<SocketServer> {
    const database = { url, drop: () => Promise.resolve() };
    const settings = { PORT: String(port), ...environment };
    return new SocketServer(await Berth.start({ database, engine: new FakeEngine(), environment: settings }));
  }

  get app(): NestFastifyApplication {
    return this.berth.app;
  }

  get url(): string {
    return this.berth.url;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** Its Socket.IO server. */
  get io(): Server {
    return this.app.get<{ server: Server }>(EventsGateway).server;
  }

  user({ scopes = ['read'], expiresAt = null }: { scopes?: Scope[]; expiresAt?: Date | null } = {}): Promise<NewUser> {
    return this.berth.user('pro', scopes, { expiresAt });
  }

  commit(userId: string, ...messages: string[]): Promise<BerthEvent[]> {
    const drafts = messages.map(draft);
    return this.app.get(Database).runInTx(() => this.app.get(EventLog).append({ userId, drafts }));
  }

  /** Backdates a user's events up to `upTo`, and prunes old events. */
  async forget(userId: string, upTo: number): Promise<void> {
    const { manager } = this.app.get(Database);
    const old = new Date(Date.now() - 3_600_000);
    await manager
      .createQueryBuilder()
      .update(EventEntity)
      .set({ createdAt: old })
      .where('user_id = :userId AND seq <= :upTo', { userId, upTo })
      .execute();
    await this.app.get(EventRetention).prune(new Date(Date.now() - 1_800_000));
  }

  stop(): Promise<void> {
    return this.berth.stop();
  }
}
