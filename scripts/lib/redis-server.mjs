/** A throwaway Redis for the tests: own port, nothing kept. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';
import { freePort } from './free-port.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf, isAlive } from './process-identity.mjs';
import { atEnd } from './shutdown.mjs';
import { rememberGroup, temporaryFolder } from './test-remains.mjs';

const START_TIMEOUT_MS = 10_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'));
    socket.setTimeout(1000, () => socket.destroy());
    socket.once('data', (data) => socket.end(() => resolve(data.toString().startsWith('+PONG'))));
    socket.once('error', () => resolve(false)).once('close', () => resolve(false));
  });
}

/** Its port outlives the process, so that it can be ended and started again. */
class RedisServer {
  constructor({ folder, port }) {
    this.url = `redis://127.0.0.1:${port}`;
    this.launching = { folder, port, log: join(folder, 'redis.log') };
  }

  async start() {
    const { folder, port, log } = this.launching;
    const output = openSync(log, 'a');
    const options = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--save',
      '',
      '--appendonly',
      'no',
    ];
    const child = spawn(findCommand('redis-server'), options, {
      cwd: folder,
      detached: true,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    child.on('error', () => {});
    rememberGroup(child.pid);
    this.identity = identityOf(child.pid);
    const until = Date.now() + START_TIMEOUT_MS;
    while (!(await answers(port))) {
      if (!isAlive(this.identity) || Date.now() > until) {
        throw new Problem('Redis did not start.', readFileSync(log, 'utf8').trim().split('\n').slice(-8));
      }
      await sleep(50);
    }
  }

  async end({ signal, hurry } = {}) {
    await endProcess(this.identity, { signal, graceMs: 5000, hurry });
  }

  /** @param {{ signal: 'SIGTERM' | 'SIGKILL' }} how */
  async restart({ signal }) {
    await this.end({ signal });
    await this.start();
  }
}

/** @returns {Promise<RedisServer>} with its URL */
export async function startRedisServer() {
  await ensurePackages({ 'redis-server': 'redis-server' }, { services: ['redis-server.service'] });
  const server = new RedisServer({ folder: temporaryFolder(), port: await freePort() });
  atEnd('stopping Redis', (hurry) => server.end({ hurry }));
  await server.start();
  return server;
}

/** @returns {Promise<string>} the URL of one that nobody restarts */
export async function startRedis() {
  return (await startRedisServer()).url;
}
