import { io, type Socket } from 'socket.io-client';
import { type ClientOptions, WebSocket } from 'ws';
import { noteMessage } from './described';
import { eventually } from '../eventually';

export interface TerminalAuth {
  readonly token: string;
  readonly container: string;
  readonly session?: string;
  readonly cols?: number;
  readonly rows?: number;
  readonly after?: number;
  readonly takeover?: boolean;
}

/** A client of the namespace `/terminal`. It acknowledges output unless it is told otherwise. */
export class TerminalClient {
  readonly socket: Socket;
  readonly roles: string[] = [];
  readonly refused: { code: string }[] = [];
  readonly disconnects: string[] = [];
  attached: { session: string; offset: number; gap: boolean; role: string } | null = null;
  exit: { code: number | null; reason: string; detail?: string } | null = null;
  refusal: { message: string; data: Record<string, unknown> } | null = null;
  bytes = 0;
  /** The offset after the last byte. */
  end = 0;
  acknowledges: boolean;
  private readonly decoder = new TextDecoder();
  private said = '';

  constructor(
    url: string,
    auth: TerminalAuth | object,
    { acknowledges = true, transports = ['websocket'] }: { acknowledges?: boolean; transports?: string[] } = {},
  ) {
    this.acknowledges = acknowledges;
    this.socket = io(`${url}/terminal`, { auth, transports, forceNew: true, reconnection: false });
    this.socket.onAny((name: string, ...args: unknown[]) => {
      noteMessage('terminal', name, args.length > 1 ? args : args[0]);
    });
    this.socket.on('attached', (message: NonNullable<TerminalClient['attached']>) => (this.attached = message));
    this.socket.on('output', (offset: number, bytes: Buffer) => {
      this.bytes += bytes.length;
      this.end = offset + bytes.length;
      this.said = (this.said + this.decoder.decode(bytes, { stream: true })).slice(-400_000);
      if (this.acknowledges) this.socket.emit('ack', bytes.length);
    });
    this.socket.on('role', ({ role }: { role: string }) => this.roles.push(role));
    this.socket.on('exit', (exit: NonNullable<TerminalClient['exit']>) => (this.exit = exit));
    this.socket.on('refused', (refused: { code: string }) => this.refused.push(refused));
    this.socket.on('disconnect', (reason) => this.disconnects.push(reason));
    this.socket.on('connect_error', (error) => {
      this.refusal = error as Error & { data: Record<string, unknown> };
    });
  }

  get text(): string {
    return this.said;
  }

  get session(): string {
    return this.attached?.session ?? '';
  }

  async opened(options: { timeoutMs?: number } = {}): Promise<this> {
    await eventually(() => {
      if (this.refusal) throw new Error(`refused: ${JSON.stringify(this.refusal.data)}`);
      expect(this.attached).not.toBeNull();
    }, options);
    return this;
  }

  type(text: string): void {
    this.socket.emit('input', text);
  }

  async says(expected: string | RegExp): Promise<void> {
    await eventually(() => expect(this.text).toMatch(expected instanceof RegExp ? expected : escaped(expected)));
  }

  leave(): void {
    this.socket.close();
  }

  /** Emits a message. @returns the server's acknowledgement */
  ask(name: string, ...message: unknown[]): Promise<unknown> {
    return this.socket.timeout(10_000).emitWithAck(name, ...message);
  }
}

/** A plain WebSocket, as Rexec's clients open one. */
export class PlainTerminal {
  readonly frames: Record<string, unknown>[] = [];
  readonly socket: WebSocket;
  closed: { code: number; reason: string } | null = null;
  /** The HTTP response if the handshake was refused. */
  answer: { status: number; body: Record<string, unknown> } | null = null;

  constructor(url: string, options: ClientOptions, protocols: string[] = []) {
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, options);
    this.socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(String(data)) as Record<string, unknown>;
      noteMessage('terminal_websocket', String(frame['type']), frame);
      this.frames.push(frame);
    });
    this.socket.on('close', (code, reason) => (this.closed = { code, reason: String(reason) }));
    this.socket.on('error', () => undefined);
    this.socket.on('unexpected-response', (request, response) => {
      let body = '';
      response.on('data', (chunk) => (body += String(chunk)));
      response.on('end', () => {
        this.answer = { status: response.statusCode ?? 0, body: JSON.parse(body) as Record<string, unknown> };
        request.destroy();
      });
    });
  }

  get text(): string {
    return this.frames.map(({ type, data }) => (type === 'output' ? String(data) : '')).join('');
  }

  /** Disconnects at once: a client that does not read receives no close frame. */
  leave(): void {
    this.socket.terminate();
  }

  of(type: string): Record<string, unknown>[] {
    return this.frames.filter((frame) => frame['type'] === type);
  }

  async opened(): Promise<this> {
    await eventually(() => {
      if (this.answer) throw new Error(`refused: ${JSON.stringify(this.answer)}`);
      expect(this.of('connected')).toHaveLength(1);
    });
    return this;
  }

  send(message: object | string | Buffer): void {
    this.socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  async says(expected: string | RegExp): Promise<void> {
    await eventually(() => expect(this.text).toMatch(expected instanceof RegExp ? expected : escaped(expected)));
  }
}

function escaped(text: string): RegExp {
  return new RegExp(text.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&'));
}
