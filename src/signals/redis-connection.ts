import { Logger } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';

const LONGEST_BACKOFF_MS = 5_000;

/**
 * The connections to Redis: one to publish and ask on, one that is subscribed (a subscribed connection can do nothing
 * else). They reconnect for ever; while Redis is away every command fails at once instead of queueing.
 */
export class RedisConnection {
  private readonly logger = new Logger(RedisConnection.name);
  private readonly publisher: Redis;
  private readonly subscriber: Redis;
  private down = false;
  private closed = false;

  /** @param url `redis://…` or `rediss://…`; connecting goes on in the background, so that a missing Redis delays no start */
  constructor(url: string) {
    const options: RedisOptions = {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      connectTimeout: 5_000,
      keepAlive: 10_000,
      retryStrategy: (attempt) => Math.min(100 * 2 ** Math.min(attempt - 1, 10), LONGEST_BACKOFF_MS),
    };
    // A peer that vanished without a word answers nothing: give the connection up and make a new one.
    this.publisher = this.open(url, { ...options, socketTimeout: 5_000 });
    this.subscriber = this.open(url, options);
    this.publisher.on('ready', () => {
      this.up();
    });
  }

  /** A round trip. @throws when Redis does not answer */
  async ping(): Promise<void> {
    await this.publisher.ping();
  }

  /** Sends a message to whoever is subscribed now. Dropped without a word while Redis is away. */
  publish(channel: string, message: string): void {
    this.publisher.publish(channel, message).catch((error: unknown) => {
      this.lost(error);
    });
  }

  /** Calls `onMessage` for every message of the channel, again after every reconnect. One channel a connection. */
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

  /** Ends both connections for good. */
  close(): void {
    this.closed = true;
    this.publisher.disconnect();
    this.subscriber.disconnect();
  }

  private open(url: string, options: RedisOptions): Redis {
    const redis = new Redis(url, options);
    redis.on('error', (error) => {
      this.lost(error);
    });
    // The reason comes as an 'error' too.
    redis.connect().catch(() => undefined);
    return redis;
  }

  /** One warning an outage, not one a publish or a reconnect. */
  private lost(error: unknown): void {
    if (this.down || this.closed) return;
    this.down = true;
    this.logger.warn({ msg: 'Redis does not answer; other processes are told late until it does', err: error });
  }

  private up(): void {
    if (!this.down) return;
    this.down = false;
    this.logger.log('Redis answers again');
  }
}
