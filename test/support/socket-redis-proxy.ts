import { once } from 'node:events';
import { connect, createServer, Server, Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

/** Redis as a process sees it, with a cable that a test can pull. */
export class RedisProxy {
  private readonly sockets = new Set<Socket>();
  private server: Server | undefined;
  private port = 0;
  private carriesNothing = false;

  constructor(private readonly target: URL) {}

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get connections(): number {
    return this.sockets.size;
  }

  /** Listens, on the same port as before if it has listened before. */
  async up(): Promise<void> {
    this.carriesNothing = false;
    this.server = createServer((client) => {
      const redis = connect(Number(this.target.port || 6379), this.target.hostname);
      if (!this.carriesNothing) client.pipe(redis).pipe(client);
      for (const socket of [client, redis]) socket.on('error', () => socket.destroy());
      client.once('close', () => {
        redis.destroy();
        this.sockets.delete(client);
      });
      redis.once('close', () => client.destroy());
      this.sockets.add(client);
    });
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** Connections that stand now carry nothing any more, and do not end; and likewise those that come, until it is `up` again. */
  freeze({ newcomersToo = false } = {}): void {
    this.carriesNothing = newcomersToo;
    for (const socket of this.sockets) socket.unpipe();
  }

  /** Cuts every connection and takes no new ones. */
  async down(): Promise<void> {
    const closed = this.server && once(this.server, 'close');
    this.server?.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

export function testRedisUrl(): string {
  const url = process.env['TEST_REDIS_URL'];
  if (url === undefined) throw new Error('TEST_REDIS_URL is not set; `npm test` sets it');
  return url;
}
