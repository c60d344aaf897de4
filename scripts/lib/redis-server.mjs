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

/** @returns {Promise<string>} its URL */
export async function startRedis() {
  await ensurePackages({ 'redis-server': 'redis-server' }, { services: ['redis-server.service'] });
  const [folder, port] = [temporaryFolder(), await freePort()];
  const log = join(folder, 'redis.log');
  const output = openSync(log, 'w');
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
  const child = spawn(findCommand('redis-server'), options, {
    cwd: folder,
    detached: true,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  child.on('error', () => {});
  rememberGroup(child.pid);
  const identity = identityOf(child.pid);
  atEnd('stopping Redis', (hurry) => endProcess(identity, { graceMs: 5000, hurry }));
  const until = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(port))) {
    if (!isAlive(identity) || Date.now() > until) {
      throw new Problem('Redis did not start.', readFileSync(log, 'utf8').trim().split('\n').slice(-8));
    }
    await sleep(50);
  }
  return `redis://127.0.0.1:${port}`;
}
