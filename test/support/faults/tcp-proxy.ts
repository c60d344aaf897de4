import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Server, Socket } from 'node:net';

/** A TCP proxy in front of a service, such as PostgreSQL or Redis, whose connections a test can cut or freeze. */
export class TcpProxy {
  /** Each client's connection, with the connection to the service that belongs to it. */
  private readonly pairs = new Map<Socket, Socket>();
  private server: Server | undefined;
  private listening = 0;
  private carriesNothing = false;
  /**
   * Called with each chunk that a client sends, before the service gets it, or instead of the service after `freeze`.
   */
  onRequest: ((chunk: Buffer) => void) | null = null;

  constructor(private readonly target: { readonly host: string; readonly port: number }) {}

  /** On 127.0.0.1; 0 before the first `up`. */
  get port(): number {
    return this.listening;
  }

  get connections(): number {
    return this.pairs.size;
  }

  /** The local ports of the connections to the service. */
  get outgoingPorts(): number[] {
    return [...this.pairs.values()].flatMap(({ localPort }) => localPort ?? []);
  }

  /** Listens, on the same port as before if it has listened before. */
  async up(): Promise<void> {
    this.carriesNothing = false;
    // Half-open, so that a frozen connection does not answer a client's end. Otherwise the pipe passes on the
    // service's end.
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
   * Existing connections carry no more data, and do not end. With `newcomersToo`, neither do new ones, until the next
   * `up`.
   */
  freeze({ newcomersToo = false } = {}): void {
    this.carriesNothing = newcomersToo;
    for (const [client, service] of this.pairs) {
      client.unpipe();
      service.unpipe();
      client.resume();
    }
  }

  /** Cuts every connection and accepts no new ones. */
  async down(): Promise<void> {
    const closed = this.server && once(this.server, 'close');
    this.server?.close();
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
    await closed;
  }
}
