import { type AddressInfo, createServer, type Server } from 'node:net';

/** A port on 127.0.0.1 that nothing uses now. */
export async function freePort(): Promise<number> {
  return portsInARow(1);
}

/** The first of that many ports in a row that nothing uses. */
export async function portsInARow(count: number): Promise<number> {
  for (;;) {
    const first = await listen(0);
    const port = (first.address() as AddressInfo).port;
    const others = await Promise.allSettled(
      Array.from({ length: count - 1 }, (_none, index) => listen(port + 1 + index)),
    );
    const free = others.every(({ status }) => status === 'fulfilled');
    for (const server of [first, ...others.flatMap((other) => (other.status === 'fulfilled' ? [other.value] : []))]) {
      await new Promise((resolve) => server.close(resolve));
    }
    if (free) return port;
  }
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
