import { Duplex } from 'node:stream';
import { OutputFrames } from '../../../src/docker/connection/output-frames';
import { type ChannelConnection, FRAME, frameHead } from '../../../src/engine';

export interface ReceivedFrame {
  readonly stream: number;
  readonly type: number;
  readonly payload: Buffer;
}

const NAMES = new Map<number, keyof typeof FRAME>(
  Object.entries(FRAME).map(([name, type]) => [type, name as keyof typeof FRAME]),
);

/** The other end of a channel's connection, with Docker's multiplexing: a test says what the supervisor sends. */
export class FakeSupervisor {
  readonly received: ReceivedFrame[] = [];
  readonly socket: Duplex;
  /** Docker's frames are this long. */
  pieceBytes = 32 * 1024;
  private pending = Buffer.alloc(0);
  private toldTo: (() => void)[] = [];

  constructor() {
    this.socket = new Duplex({
      // As a socket has it.
      readableHighWaterMark: 64 * 1024,
      read: () => undefined,
      write: (chunk: Buffer, _encoding, callback) => {
        this.take(chunk);
        callback();
      },
    });
  }

  get connection(): ChannelConnection {
    return { socket: this.socket, demultiplexer: (onOutput) => new OutputFrames(onOutput) };
  }

  /** What was received on a stream, in words: a frame's name, and its JSON or its number of bytes. */
  said(stream: number): unknown[] {
    return this.received
      .filter((frame) => frame.stream === stream)
      .map(({ type, payload }) => {
        const name = NAMES.get(type) ?? '?';
        if (type === FRAME.credit) return [name, payload.readUInt32BE(0)];
        if (type === FRAME.data) return [name, payload.toString('latin1')];
        return payload.length > 0 && payload[0] === 0x7b ? [name, JSON.parse(payload.toString()) as unknown] : [name];
      });
  }

  hello(more: object = {}): void {
    const home = Buffer.from('/home/user').toString('base64');
    this.json(0, 'hello', { protocol: 1, version: 'test', boot: 'b', user: '1000', home, limits: {}, ...more });
  }

  json(stream: number, type: keyof typeof FRAME, value: unknown): this {
    return this.frame(stream, FRAME[type], Buffer.from(JSON.stringify(value)));
  }

  frame(stream: number, type: number, payload: Buffer = Buffer.alloc(0)): this {
    this.raw(Buffer.concat([frameHead(stream, type, payload.length), payload]));
    return this;
  }

  /** A program's output. */
  output(stream: number, type: 'stdout' | 'stderr', { offset = 0, time = 1, data = '' }): this {
    const head = Buffer.alloc(16);
    head.writeBigUInt64BE(BigInt(offset), 0);
    head.writeBigInt64BE(BigInt(time), 8);
    return this.frame(stream, FRAME[type], Buffer.concat([head, Buffer.from(data)]));
  }

  /** Bytes of stdout, or of stderr, in Docker's frames. */
  raw(bytes: Buffer, from: 1 | 2 = 1): void {
    for (let at = 0; at < bytes.length; at += this.pieceBytes) {
      const piece = bytes.subarray(at, at + this.pieceBytes);
      const head = Buffer.alloc(8);
      head[0] = from;
      head.writeUInt32BE(piece.length, 4);
      this.socket.push(Buffer.concat([head, piece]));
    }
  }

  /** The connection ends. */
  end(): void {
    this.socket.push(null);
  }

  /** Resolves once `isThere` is true, which is looked at whenever a frame comes. */
  async until(isThere: () => boolean): Promise<void> {
    while (!isThere()) await new Promise<void>((resolve) => this.toldTo.push(resolve));
  }

  private take(chunk: Buffer): void {
    this.pending = Buffer.concat([this.pending, chunk]);
    while (this.pending.length >= 9) {
      const length = this.pending.readUInt32BE(0);
      if (this.pending.length < 9 + length) break;
      this.received.push({
        stream: this.pending.readUInt32BE(4),
        type: this.pending[8] ?? 0,
        payload: Buffer.from(this.pending.subarray(9, 9 + length)),
      });
      this.pending = this.pending.subarray(9 + length);
    }
    for (const tell of this.toldTo.splice(0)) tell();
  }
}
