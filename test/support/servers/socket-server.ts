import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { randomUUID } from 'node:crypto';
import type { Server } from 'socket.io';
import { io, Socket } from 'socket.io-client';
import { dataSourceOptions } from '../../../ormconfig';
import { type Scope, TokenService, UserService } from '../../../src/auth';
import { ConfigModule, parseConfig } from '../../../src/config';
import { Database, DatabaseModule } from '../../../src/database';
import { BerthEvent, BerthIoAdapter, EventLog, EventsModule } from '../../../src/events';
import { EventEntity, EventRetention } from '../../../src/events/log';
import { createHttpAdapter, HttpModule, setUpHttp } from '../../../src/http';
import { createLogger, LoggingModule, NestLogger } from '../../../src/logging';
import { SignalsModule } from '../../../src/signals';
import { draft } from './events-process';
import { eventually } from '../eventually';

export interface SocketUser {
  readonly id: string;
  readonly token: string;
  readonly tokenId: string;
}

/** A server with only the events module, on real HTTP. */
export class SocketServer {
  private constructor(
    readonly app: NestFastifyApplication,
    readonly url: string,
    private readonly adapter: TestedAdapter,
  ) {}

  static async start(options: {
    url: string;
    port?: number;
    environment?: Record<string, string>;
  }): Promise<SocketServer> {
    const config = parseConfig({
      NODE_ENV: 'test',
      DATABASE_URL: options.url,
      LOG_LEVEL: 'silent',
      ...options.environment,
    });
    const imports = [
      ConfigModule.forRoot(config),
      LoggingModule,
      HttpModule,
      DatabaseModule.forRoot(dataSourceOptions(config.DATABASE_URL)),
      SignalsModule,
      EventsModule,
    ];
    const app = await NestFactory.create<NestFastifyApplication>(
      { module: SocketServerModule, imports },
      createHttpAdapter(config),
      { logger: new NestLogger(createLogger(config)), abortOnError: false },
    );
    setUpHttp(app);
    const adapter = new TestedAdapter(app, config);
    app.useWebSocketAdapter(adapter);
    await app.listen(options.port ?? 0, '127.0.0.1');
    return new SocketServer(app, await app.getUrl(), adapter);
  }

  /** Its Socket.IO server. */
  get io(): Server {
    return this.adapter.server;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async user({
    scopes = ['read'],
    expiresAt = null,
  }: { scopes?: Scope[]; expiresAt?: Date | null } = {}): Promise<SocketUser> {
    const username = `user-${randomUUID().slice(0, 8)}`;
    const { user } = await this.app.get(UserService).ensure({ username, tier: 'pro' });
    const { text, token } = await this.app
      .get(TokenService)
      .issue({ userId: user.id, name: 'test', scopes, expiresAt });
    return { id: user.id, token: text, tokenId: token.id };
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
    return this.app.close();
  }
}

@Module({})
class SocketServerModule {}

/** The real adapter; exposes the Socket.IO server that it made. */
class TestedAdapter extends BerthIoAdapter {
  server: Server;

  override createIOServer(...options: Parameters<BerthIoAdapter['createIOServer']>): Server {
    return (this.server = super.createIOServer(...options));
  }
}

/** A standard client that records what it receives. */
export class SocketClient {
  readonly socket: Socket;
  readonly told: { name: string; payloads: unknown[] }[] = [];
  readonly disconnects: string[] = [];
  readonly refusals: (Error & { data?: unknown })[] = [];

  constructor(
    url: string,
    auth: Record<string, unknown> | (() => Record<string, unknown>),
    transports = ['websocket'],
  ) {
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
    await eventually(() => expect(this.socket.connected).toBe(true));
    return this;
  }

  /** Waits for the refusal. @returns its message */
  async refused(): Promise<string | undefined> {
    await eventually(() => expect(this.refusals).not.toEqual([]));
    expect(this.socket.connected).toBe(false);
    return this.refusals[0]?.message;
  }
}
