import { randomInt } from 'node:crypto';
import { type AddressInfo, createServer, type Server } from 'node:net';

/** Below the ports that the kernel gives to outgoing connections, of which one may take a neighbour at any time. */
const IN_A_ROW = { from: 10_000, to: 30_000 };

/** A port on 127.0.0.1 that nothing uses now. */
export async function freePort(): Promise<number> {
  const server = await listen(0);
  const { port } = server.address() as AddressInfo;
  await close(server);
  return port;
}

/** The first of that many ports in a row that nothing uses. */
export async function portsInARow(count: number): Promise<number> {
  for (;;) {
    const first = randomInt(IN_A_ROW.from, IN_A_ROW.to);
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
