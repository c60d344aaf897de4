/** Ports on 127.0.0.1 that nothing uses now. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Below those that Linux gives to outgoing connections: a server that is ended and started again finds its port free,
 * though clients have tried to connect to it meanwhile.
 */
const PORTS = { from: 10_000, to: 32_768 };

/** @param {number} [wanted] if nothing uses it @returns {Promise<number>} */
export async function freePort(wanted) {
  for (let port = wanted || randomPort(); ; port = randomPort()) {
    if (await isFree(port)) return port;
  }
}

const randomPort = () => randomInt(PORTS.from, PORTS.to);

/** @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

const FREE_WITHIN_MS = 10_000;

/**
 * Waits, if not for ever, for a port of a server that was killed: its threads may go on dying after it is known to be
 * dead.
 *
 * @param {number} port
 */
export async function untilFree(port) {
  const until = performance.now() + FREE_WITHIN_MS;
  while (!(await isFree(port)) && performance.now() < until) await sleep(20);
}
