import { once } from 'node:events';
import type { Socket } from 'node:net';
import {
  BaseAgent,
  type ClientChannel,
  Client,
  type ConnectConfig,
  type ParsedKey,
  type SignCallback,
  type SigningRequestOptions,
} from 'ssh2';

/** What ssh2 keeps private, by which a client breaks the protocol. */
interface Internals {
  readonly _sock: Socket;
  readonly _protocol: {
    channelData(channel: number, data: Buffer): void;
    channelWindowAdjust(channel: number, bytes: number): void;
    rekey(): void;
    /** Sends a global request that asks for an answer. */
    ping(): void;
  };
}

/** No part of ssh2's window, which ends a violation by itself if it is used up exactly. */
const PIECE = Buffer.alloc(30_000);

/** A client of SSH that ssh2 itself is: it does what OpenSSH does not, and breaks the protocol where a test asks. */
export class SshVisitor {
  readonly client = new Client();
  /** Resolves when the connection is closed. */
  readonly end = new Promise<void>((resolve) => void this.client.on('close', () => resolve()));

  /** Connects, and does not wait for the login. */
  static connect(port: number, config: ConnectConfig): SshVisitor {
    const visitor = new SshVisitor();
    visitor.client.on('error', () => undefined).connect({ host: '127.0.0.1', port, ...config });
    return visitor;
  }

  static async open(port: number, config: ConnectConfig): Promise<SshVisitor> {
    const visitor = new SshVisitor();
    const { client } = visitor;
    return new Promise((resolve, reject) => {
      client.on('error', reject).on('ready', () => resolve(visitor));
      client.connect({ host: '127.0.0.1', port, ...config });
    });
  }

  get socket(): Socket {
    return this.internals._sock;
  }

  close(): void {
    this.client.end();
  }

  start(command: string): Promise<ClientChannel> {
    return new Promise<ClientChannel>((resolve, reject) => {
      this.client.exec(command, (error, opened) => (error ? reject(error) : resolve(opened)));
    });
  }

  async exec(command: string): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
    const channel = await this.start(command);
    const said = { stdout: '', stderr: '' };
    channel.on('data', (data: Buffer) => (said.stdout += data.toString()));
    channel.stderr.on('data', (data: Buffer) => (said.stderr += data.toString()));
    const [code] = (await once(channel, 'close')) as [number | undefined];
    return { code, ...said };
  }

  forward(host: string, port: number): Promise<ClientChannel> {
    return new Promise((resolve, reject) => {
      this.client.forwardOut('127.0.0.1', 1, host, port, (error, channel) =>
        error ? reject(error) : resolve(channel),
      );
    });
  }

  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.client.forwardIn('127.0.0.1', 0, (error, port) => (error ? reject(error) : resolve(port)));
    });
  }

  /** Sends input without regard to the channel's window. @returns the bytes sent before the connection ended */
  async sendBeyondWindow(channel: ClientChannel, bytes: number): Promise<number> {
    const { socket } = this;
    let sent = 0;
    for (; sent < bytes && socket.writable; sent += PIECE.length) {
      this.internals._protocol.channelData(idOf(channel), PIECE);
      if (socket.writableNeedDrain) await Promise.race([once(socket, 'drain').catch(() => undefined), this.end]);
    }
    return sent;
  }

  /** Takes any amount of output of a channel. */
  openWindow(channel: ClientChannel): void {
    this.internals._protocol.channelWindowAdjust(idOf(channel), 0x7fff_ffff);
  }

  /** Begins a key exchange. */
  exchangeKeys(): void {
    this.internals._protocol.rekey();
  }

  /** Begins a key exchange and takes no further part in it. */
  beginEndlessExchange(): void {
    this.exchangeKeys();
    this.socket.removeAllListeners('data').resume();
  }

  /** Sends global requests that ask for answers. */
  requestGlobally(count: number): void {
    for (let each = 0; each < count && this.socket.writable; each += 1) this.internals._protocol.ping();
  }

  private get internals(): Internals {
    return this.client as unknown as Internals;
  }
}

/** Offers a public key without having the private one: signs nothing, or wrongly. */
export class KeylessAgent extends BaseAgent {
  constructor(
    private readonly key: ParsedKey,
    private readonly signature: Buffer | null,
  ) {
    super();
  }

  getIdentities(answer: (error: undefined, keys: ParsedKey[]) => void): void {
    answer(undefined, [this.key]);
  }

  override sign(
    _key: ParsedKey | Buffer | string,
    _data: Buffer,
    options: SigningRequestOptions | SignCallback,
    callback?: SignCallback,
  ): void {
    const answer = typeof options === 'function' ? options : callback;
    if (this.signature) answer?.(undefined, this.signature);
    else answer?.(new Error('there is no private key'));
  }
}

function idOf(channel: ClientChannel): number {
  return (channel as unknown as { readonly outgoing: { readonly id: number } }).outgoing.id;
}
