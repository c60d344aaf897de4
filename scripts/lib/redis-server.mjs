/** Redis from Debian's package, on a port of the project's own; nothing is kept. */
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';
import { ServiceProcess } from './service-process.mjs';

const START_MS = 60_000;
const STOP_MS = 5_000;

export const redisPackages = { packages: { 'redis-server': 'redis-server' }, services: ['redis-server.service'] };

export async function ensureRedis() {
  await ensurePackages(redisPackages.packages, redisPackages);
}

export class RedisServer {
  /**
   * @param {string} folder where configuration and log lie
   * @param {{ port: number, password?: string }} options without a password it asks for none
   */
  constructor(folder, { port, password }) {
    Object.assign(this, { folder, port, password });
  }

  get url() {
    return `redis://${this.password ? `:${this.password}@` : ''}127.0.0.1:${this.port}`;
  }

  /** @returns {ServiceProcess} its `untilReady()` is next */
  launch() {
    // A file: everybody on the machine can read the arguments of a process.
    const config = join(this.folder, 'redis.conf');
    rmSync(config, { force: true });
    const lines = [`port ${this.port}`, 'bind 127.0.0.1', 'save ""', 'appendonly no'];
    if (this.password) lines.push(`requirepass ${this.password}`);
    writeFileSync(config, `${lines.join('\n')}\n`, { mode: 0o600 });
    return new ServiceProcess('Redis', {
      command: findCommand('redis-server'),
      args: [config],
      cwd: this.folder,
      log: join(this.folder, 'redis.log'),
      answers: () => this.answers(),
      startMs: START_MS,
      stopMs: STOP_MS,
    });
  }

  /** @returns {Promise<boolean>} */
  answers() {
    return new Promise((resolve) => {
      const hello = `${this.password ? `AUTH ${this.password}\r\n` : ''}PING\r\n`;
      const socket = connect({ port: this.port, host: '127.0.0.1' }, () => socket.write(hello));
      let answer = '';
      socket.setTimeout(1000, () => socket.destroy());
      socket.on('data', (data) => {
        answer += data;
        if (answer.includes('+PONG')) socket.end(() => resolve(true));
      });
      socket.once('error', () => resolve(false)).once('close', () => resolve(false));
    });
  }
}
