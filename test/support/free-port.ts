import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/**
 * Below those that Linux gives to outgoing connections, of which one may take a neighbour, or the port of a server
 * between its end and its next start, at any time.
 */
const PORTS = { from: 10_000, to: 32_768 };

/** A port on 127.0.0.1 that nothing uses now. */
export function freePort(): Promise<number> {
  return portsInARow(1);
}

/** The first of that many ports in a row that nothing uses. */
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
