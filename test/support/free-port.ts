import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/**
 * Below the range that Linux uses for outgoing connections: one of those could take a neighbouring port, or a
 * server's port between its end and its next start.
 */
const PORTS = { from: 10_000, to: 32_768 };

/** A free port on 127.0.0.1. */
export function freePort(): Promise<number> {
  return portsInARow(1);
}

/** The first of `count` consecutive free ports. */
export async function portsInARow(count: number): Promise<number> {
  for (;;) {
    const first = randomInt(PORTS.from, PORTS.to - count);
    const tried = await Promise.allSettled(Array.from({ length: count }, (_none, index) => listen(first + index)));
    const servers = tried.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    await Promise.all(servers.map(close));
    if (servers.length === count) return first;
  }
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

function close(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}
