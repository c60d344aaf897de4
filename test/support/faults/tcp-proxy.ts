import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Server, Socket } from 'node:net';

/** A TCP proxy before a service, such as PostgreSQL or Redis: a cable that a test can pull. */
export class TcpProxy {
  /** What a client has opened, and the connection to the service that belongs to it. */
  private readonly pairs = new Map<Socket, Socket>();
  private server: Server | undefined;
  private listening = 0;
  private carriesNothing = false;
  /** Told what clients send, before the service is, or instead of it once connections are frozen. */
  onRequest: ((chunk: Buffer) => void) | null = null;

  constructor(private readonly target: { readonly host: string; readonly port: number }) {}

  /** On 127.0.0.1; 0 before it is `up` for the first time. */
  get port(): number {
    return this.listening;
  }

  get connections(): number {
    return this.pairs.size;
  }

  /** The local ports from which the service sees the connections come. */
  get outgoingPorts(): number[] {
    return [...this.pairs.values()].flatMap(({ localPort }) => localPort ?? []);
  }

  /** Listens, on the same port as before if it has listened before. */
  async up(): Promise<void> {
    this.carriesNothing = false;
    // A client that ends its side learns nothing from a cable that is pulled; the service's end is passed on by the
    // pipe.
    this.server = createServer({ allowHalfOpen: true }, (client) => {
      const service = connect(this.target.port, this.target.host);
      client.on('data', (chunk: Buffer) => this.onRequest?.(chunk));
      if (this.carriesNothing) client.resume();
      else client.pipe(service).pipe(client);
      for (const socket of [client, service]) socket.on('error', () => socket.destroy());
      client.once('close', () => {
        service.destroy();
        this.pairs.delete(client);
      });
      service.once('close', () => client.destroy());
      this.pairs.set(client, service);
    });
    this.server.listen(this.listening, '127.0.0.1');
    await once(this.server, 'listening');
    this.listening = (this.server.address() as AddressInfo).port;
  }

  /**
   * Connections that stand now carry nothing any more, and do not end; and likewise those that come, until it is `up`
   * again.
   */
  freeze({ newcomersToo = false } = {}): void {
    this.carriesNothing = newcomersToo;
    for (const [client, service] of this.pairs) {
      client.unpipe();
      service.unpipe();
      client.resume();
    }
  }

  /** Cuts every connection and takes no new ones. */
  async down(): Promise<void> {
    const closed = this.server && once(this.server, 'close');
    this.server?.close();
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
    await closed;
  }
}
