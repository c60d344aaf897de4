import { Logger } from '@nestjs/common';
import { Redis, type RedisOptions } from 'ioredis';

const LONGEST_BACKOFF_MS = 5_000;

/** Times that tests shorten. */
interface RedisTimes {
  /** How long an answer may take, in milliseconds. */
  readonly answerMs?: number;
  /** How often every connection is checked, in milliseconds. */
  readonly checkMs?: number;
}

const OPTIONS: RedisOptions = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  connectTimeout: 5_000,
  disconnectTimeout: 500,
  retryStrategy: (attempt) => Math.min(100 * 2 ** Math.min(attempt - 1, 10), LONGEST_BACKOFF_MS),
};

/**
 * The connections to Redis: one for commands, one for subscriptions (a subscribed connection accepts few other
 * commands), and those that {@link open} adds. They reconnect for ever. While Redis is unreachable, every command
 * fails at once instead of queueing.
 */
export class RedisConnection {
  private readonly logger = new Logger(RedisConnection.name);
  private readonly connections: Redis[] = [];
  private readonly publisher: Redis;
  private readonly subscriber: Redis;
  private readonly watchdog: NodeJS.Timeout;
  private readonly checking = new Set<Redis>();
  private down = false;
  private closed = false;

  /**
   * @param url `redis://…` or `rediss://…`. It connects in the background, so that an unreachable Redis does not
   *   delay the start.
   */
  constructor(
    private readonly url: string,
    { answerMs = 3_000, checkMs = 10_000 }: RedisTimes = {},
  ) {
    this.publisher = this.open({ answerMs });
    this.subscriber = this.open({ answerMs });
    // Not ioredis's `socketTimeout`: its timer outlives the connection and breaks the next one (5.11).
    this.watchdog = setInterval(() => this.check(), checkMs);
    this.watchdog.unref();
  }

  /** A round trip. @throws when Redis does not answer */
  async ping(): Promise<void> {
    await this.publisher.ping();
  }

  /** Sends a message to the current subscribers. Silently dropped while Redis is unreachable. */
  publish(channel: string, message: string): void {
    // An outage is logged once, when the connection breaks or cannot be made.
    this.publisher.publish(channel, message).catch(() => undefined);
  }

  /** Calls `onMessage` for every message of the channel, again after every reconnect. One channel per connection. */
  subscribe(channel: string, onMessage: (message: string) => void): void {
    const subscribe = () => {
      this.subscriber.subscribe(channel).catch((error: unknown) => {
        this.lost(error);
      });
    };
    this.subscriber.on('message', (_channel, message) => {
      onMessage(message);
    });
    this.subscriber.on('ready', subscribe);
    if (this.subscriber.status === 'ready') subscribe();
  }

  /**
   * Opens another connection, for commands that callers await: each fails after `answerMs`. Closed with the others.
   */
  open({ answerMs }: { readonly answerMs: number }): Redis {
    const redis = new Redis(this.url, { ...OPTIONS, commandTimeout: answerMs });
    this.connections.push(redis);
    redis.on('error', (error) => {
      this.lost(error);
    });
    redis.on('ready', () => this.up());
    // The error also comes as an 'error' event.
    redis.connect().catch(() => undefined);
    return redis;
  }

  /** Ends all connections for good. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.watchdog);
    for (const redis of this.connections) redis.disconnect();
  }

  /** Reconnects dead connections: a peer that vanished sends neither data nor an error. */
  private check(): void {
    for (const redis of this.connections) {
      if (redis.status !== 'ready' || this.checking.has(redis)) continue;
      this.checking.add(redis);
      redis
        .ping()
        .catch((error: unknown) => {
          this.lost(error);
          if (!this.closed) redis.disconnect(true);
        })
        .finally(() => this.checking.delete(redis));
    }
  }

  /** Logs one warning per outage, not per publish or reconnect. */
  private lost(error: unknown): void {
    if (this.down || this.closed) return;
    this.down = true;
    this.logger.warn({
      msg: 'Redis does not answer; until it does, other processes are notified late and rate limits are not enforced',
      err: error,
    });
  }

  private up(): void {
    if (!this.down || this.connections.some(({ status }) => status !== 'ready')) return;
    this.down = false;
    this.logger.log('Redis answers again');
  }
}
