import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Server, Socket } from 'node:net';
import { Transform } from 'node:stream';

/**
 * A TCP proxy in front of a service, such as PostgreSQL, Redis or a registry, whose connections a test can cut, freeze
 * or slow down.
 */
export class TcpProxy {
  /** Each client's connection, with the connection to the service that belongs to it. */
  private readonly pairs = new Map<Socket, Socket>();
  private readonly target: URL;
  private server: Server | undefined;
  private port = 0;
  private carriesNothing = false;
  /** Of what the service sends, in bytes per second; unlimited if null. */
  speed: number | null = null;
  /** While true, new connections are closed at once. */
  gone = false;
  /** If set, the answer to what the client of a new connection sends first, before the connection is closed. */
  refusal: Buffer | null = null;
  /** How many connections were closed at once. */
  turnedAway = 0;
  /**
   * Called with each chunk that a client sends, before the service gets it, or instead of the service after `freeze`.
   */
  onRequest: ((chunk: Buffer) => void) | null = null;

  /** @param service its URL, with a port */
  constructor(service: string) {
    this.target = new URL(service);
  }

  /** A proxy that listens. */
  static async before(service: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(service);
    await proxy.up();
    return proxy;
  }

  /** The address for clients; known after the first `up`. */
  get host(): string {
    return `127.0.0.1:${String(this.port)}`;
  }

  /** The service's URL, by way of the proxy. */
  get url(): string {
    return Object.assign(new URL(this.target), { host: this.host }).href;
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
    this.server = createServer({ allowHalfOpen: true }, (client) => this.accept(client));
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    ({ port: this.port } = this.server.address() as AddressInfo);
  }

  private accept(client: Socket): void {
    client.on('error', () => client.destroy());
    if (this.gone) {
      this.turnedAway += 1;
      client.destroy();
      return;
    }
    const { refusal } = this;
    if (refusal) {
      client.once('data', () => client.end(refusal));
      return;
    }
    const service = connect(Number(this.target.port), this.target.hostname);
    service.on('error', () => service.destroy());
    client.on('data', (chunk: Buffer) => this.onRequest?.(chunk));
    const pace = this.pace();
    pace.pipe(client);
    if (this.carriesNothing) client.resume();
    else client.pipe(service).pipe(pace);
    client.once('close', () => {
      service.destroy();
      this.pairs.delete(client);
    });
    // What the service sent before its end still goes to the client.
    service.once('close', () => pace.end());
    pace.once('end', () => client.destroySoon());
    this.pairs.set(client, service);
  }

  private pace(): Transform {
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        if (this.speed === null) done(null, chunk);
        else setTimeout(done, (1_000 * chunk.length) / this.speed, null, chunk);
      },
    });
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
