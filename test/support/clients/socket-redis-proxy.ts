import { TcpProxy } from '../faults/tcp-proxy';

/** A proxy in front of Redis whose connection a test can cut. */
export class RedisProxy extends TcpProxy {
  constructor(target: URL) {
    super({ host: target.hostname, port: Number(target.port || 6379) });
  }

  get url(): string {
    return `redis://127.0.0.1:${String(this.port)}`;
  }
}

export function testRedisUrl(): string {
  const url = process.env['TEST_REDIS_URL'];
  if (url === undefined) throw new Error('TEST_REDIS_URL is not set; `npm test` sets it');
  return url;
}
