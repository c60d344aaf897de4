import { Duplex } from 'node:stream';
import type { ExecOutput } from '../../../src/engine';
import { type ContainerFiles, Errno, errnoOf } from './files';

/** What can wait: a process, which signals interrupt, or Berth itself. */
export interface Waiter {
  /** @param start gets the function that ends the wait, and returns one that cancels it */
  block(start: (done: () => void) => () => void): Promise<void>;
  /** Called when it writes to a pipe without readers. */
  onBrokenPipe?(): void;
}

/** Berth, which no signal interrupts. */
export const OUTSIDE: Waiter = {
  block: (start) => new Promise((resolve) => void start(resolve)),
};

/** Waiters for a change. */
export class Waiters {
  private waiting = new Set<() => void>();

  wait(who: Waiter): Promise<void> {
    return who.block((done) => {
      this.waiting.add(done);
      return () => this.waiting.delete(done);
    });
  }

  wake(): void {
    const woken = this.waiting;
    this.waiting = new Set();
    for (const wake of woken) wake();
  }
}

/** What a file descriptor refers to; several may refer to the same. */
export abstract class OpenFile {
  private references = 1;
  readonly isTerminal: boolean = false;

  dup(): this {
    this.references += 1;
    return this;
  }

  async close(): Promise<void> {
    this.references -= 1;
    if (this.references === 0) await this.onClosed();
  }

  /** At most `most` bytes; null at the end. @throws Errno */
  read(_who: Waiter, _most: number): Promise<Buffer | null> {
    return Promise.reject(new Errno('EBADF'));
  }

  /** @throws Errno */
  write(_who: Waiter, _data: Buffer): Promise<void> {
    return Promise.reject(new Errno('EBADF'));
  }

  protected onClosed(): Promise<void> | void {
    // Most hold nothing.
  }
}

/** How many bytes a pipe holds before its writers wait. */
const PIPE_BYTES = 64 * 1024;

/** A pipe. */
export class Pipe {
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private readonly changed = new Waiters();
  private hasReaders = true;
  private hasWriters = true;
  readonly source: OpenFile = new PipeEnd(this, 'read');
  readonly sink: OpenFile = new PipeEnd(this, 'write');

  async read(who: Waiter, most: number): Promise<Buffer | null> {
    while (this.chunks.length === 0) {
      if (!this.hasWriters) return null;
      await this.changed.wait(who);
    }
    const taken = takeFrom(this.chunks, most);
    this.bytes -= taken.length;
    this.changed.wake();
    return taken;
  }

  async write(who: Waiter, data: Buffer): Promise<void> {
    while (this.bytes >= PIPE_BYTES && this.hasReaders) await this.changed.wait(who);
    if (!this.hasReaders) return who.onBrokenPipe?.();
    if (data.length === 0) return;
    this.chunks.push(data);
    this.bytes += data.length;
    this.changed.wake();
  }

  end(side: 'read' | 'write'): void {
    if (side === 'read') this.hasReaders = false;
    else this.hasWriters = false;
    this.changed.wake();
  }
}

/** Takes at most `most` bytes from the first of some chunks, of which there is one. */
export function takeFrom(chunks: Buffer[], most: number): Buffer {
  const first = chunks[0] ?? Buffer.alloc(0);
  if (first.length <= most) chunks.shift();
  else chunks[0] = first.subarray(most);
  return first.subarray(0, most);
}

class PipeEnd extends OpenFile {
  constructor(
    private readonly pipe: Pipe,
    private readonly side: 'read' | 'write',
  ) {
    super();
  }

  override read(who: Waiter, most: number): Promise<Buffer | null> {
    return this.side === 'read' ? this.pipe.read(who, most) : super.read(who, most);
  }

  override write(who: Waiter, data: Buffer): Promise<void> {
    return this.side === 'write' ? this.pipe.write(who, data) : super.write(who, data);
  }

  protected override onClosed(): void {
    this.pipe.end(this.side);
  }
}

/** Files are appended to at once up to this size; larger ones in pieces, because each append copies the whole file. */
const SMALL_FILE = 256 * 1024;

/** An open file, with the offset of the next read or write. */
export class RegularFile extends OpenFile {
  private offset = 0;
  private unwritten: Buffer[] = [];
  private unwrittenBytes = 0;

  constructor(
    private readonly files: ContainerFiles,
    private readonly path: string,
    private readonly options: { readonly append: boolean; size: number },
  ) {
    super();
  }

  override async read(_who: Waiter, most: number): Promise<Buffer | null> {
    await this.flush();
    const content = await errnoOf(this.files.readFileBuffer(this.path));
    const data = Buffer.from(content.subarray(this.offset, this.offset + most));
    this.offset += data.length;
    return data.length === 0 ? null : data;
  }

  override async write(_who: Waiter, data: Buffer): Promise<void> {
    const { options } = this;
    if (options.append) this.offset = options.size;
    if (this.offset === options.size) {
      this.unwritten.push(data);
      this.unwrittenBytes += data.length;
    } else {
      await this.flush();
      const content = Buffer.from(await errnoOf(this.files.readFileBuffer(this.path)));
      const whole = Buffer.alloc(Math.max(content.length, this.offset + data.length));
      content.copy(whole);
      data.copy(whole, this.offset);
      await errnoOf(this.files.writeFile(this.path, whole));
    }
    this.offset += data.length;
    options.size = Math.max(options.size, this.offset);
    if (options.size < SMALL_FILE || this.unwrittenBytes > options.size / 8) await this.flush();
  }

  skip(bytes: number): void {
    this.offset += bytes;
  }

  protected override async onClosed(): Promise<void> {
    await this.flush().catch(() => undefined);
  }

  private async flush(): Promise<void> {
    if (this.unwrittenBytes === 0) return;
    const data = Buffer.concat(this.unwritten);
    this.unwritten = [];
    this.unwrittenBytes = 0;
    await errnoOf(this.files.appendFile(this.path, data));
  }
}

/** What a shell reads as a here-document, or what a command substitution writes to. */
export class Text extends OpenFile {
  constructor(private readonly chunks: Buffer[] = []) {
    super();
  }

  override read(_who: Waiter, most: number): Promise<Buffer | null> {
    return Promise.resolve(this.chunks.length === 0 ? null : takeFrom(this.chunks, most));
  }

  override write(_who: Waiter, data: Buffer): Promise<void> {
    this.chunks.push(data);
    return Promise.resolve();
  }

  override toString(): string {
    return Buffer.concat(this.chunks).toString();
  }
}

/** A device that gives bytes without end, or none, and discards what is written. */
export class Device extends OpenFile {
  constructor(private readonly give: ((most: number) => Buffer) | null) {
    super();
  }

  override read(_who: Waiter, most: number): Promise<Buffer | null> {
    return Promise.resolve(this.give?.(Math.min(most, PIPE_BYTES)) ?? null);
  }

  override write(): Promise<void> {
    return Promise.resolve();
  }
}

/** A longer write is taken in pieces. */
const PIECE_BYTES = 16 * 1024;

/** How much a program's output may be ahead of a reader that it waits for, before one more piece. */
const MOST_AHEAD = PIPE_BYTES;

interface RingPiece extends ExecOutput {
  readonly offset: number;
  readonly time: number;
}

/** The output of a program: both streams in order, as much of it as its ring keeps, and its readers. */
export class Output {
  private readonly pieces: RingPiece[] = [];
  private readonly readers = new Set<OutputReader>();
  readonly changed = new Waiters();
  isEnded = false;
  private readonly ring: number;
  /** The offsets of the first byte that is kept, and of the end. */
  from = 0;
  to = 0;

  /** @param options.waits whether a program with pipes waits for its readers, or one to come */
  constructor(
    private readonly options: { readonly ring: number; readonly waits: boolean; readonly isTerminal: boolean },
  ) {
    const { ring, waits, isTerminal } = options;
    // Nothing is dropped that a reader is waited for to read.
    this.ring = waits || isTerminal ? Math.max(ring, MOST_AHEAD + PIECE_BYTES) : ring;
  }

  get readerCount(): number {
    return this.readers.size;
  }

  sink(stream: ExecOutput['stream']): OpenFile {
    return new OutputSink(this, stream);
  }

  /** @throws RangeError if there is nothing yet at the offset */
  read(after: number, { watches }: { watches: boolean }): OutputReader {
    if (after > this.to) throw new RangeError('no such offset');
    const reader = new OutputReader(this, Math.max(after, this.from), watches, () => {
      this.readers.delete(reader);
      this.changed.wake();
    });
    this.readers.add(reader);
    this.changed.wake();
    return reader;
  }

  async write(who: Waiter, { stream, data }: ExecOutput): Promise<void> {
    for (let from = 0; from < data.length; from += PIECE_BYTES) {
      while (this.mustWait()) await this.changed.wait(who);
      this.push({ stream, data: data.subarray(from, from + PIECE_BYTES) });
    }
  }

  /** Does not wait. */
  push({ stream, data }: ExecOutput): void {
    if (this.isEnded || data.length === 0) return;
    this.pieces.push({ stream, data: Buffer.from(data), offset: this.to, time: Date.now() });
    this.to += data.length;
    for (let [first] = this.pieces; first && this.to - this.from > this.ring; [first] = this.pieces) {
      this.pieces.shift();
      this.from = first.offset + first.data.length;
    }
    this.changed.wake();
  }

  end(): void {
    this.isEnded = true;
    this.changed.wake();
  }

  /** What comes at an offset, or after it; null if there is nothing yet. */
  at(offset: number): RingPiece | null {
    // The first piece that ends behind the offset.
    let [low, high] = [0, this.pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const each = this.pieces[middle];
      if (each && each.offset + each.data.length > offset) high = middle;
      else low = middle + 1;
    }
    const piece = this.pieces[low];
    if (!piece || piece.offset >= offset) return piece ?? null;
    return { ...piece, data: piece.data.subarray(offset - piece.offset), offset };
  }

  private mustWait(): boolean {
    const { waits, isTerminal } = this.options;
    const awaited = [...this.readers].filter(({ watches }) => !watches);
    if (awaited.length === 0) return waits && !isTerminal && this.to - this.from >= MOST_AHEAD;
    return (waits || isTerminal) && awaited.some((reader) => this.to - reader.offset >= MOST_AHEAD);
  }
}

/** One reader of an output. */
export class OutputReader implements AsyncIterable<ExecOutput> {
  isClosed = false;

  constructor(
    private readonly output: Output,
    public offset: number,
    readonly watches: boolean,
    private readonly onClose: () => void,
  ) {}

  close(): void {
    this.isClosed = true;
    this.onClose();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ExecOutput, void> {
    for (;;) {
      if (this.isClosed) return;
      const next = this.output.at(this.offset);
      if (next) {
        this.offset = next.offset + next.data.length;
        this.output.changed.wake();
        yield next;
      } else if (this.output.isEnded) return;
      else await this.output.changed.wait(OUTSIDE);
    }
  }
}

class OutputSink extends OpenFile {
  constructor(
    private readonly output: Output,
    private readonly stream: ExecOutput['stream'],
  ) {
    super();
  }

  override write(who: Waiter, data: Buffer): Promise<void> {
    return this.output.write(who, { stream: this.stream, data });
  }
}

/** What answers at a port of a simulated container. */
export class SimulatedServer extends Duplex {
  private hasAnswered = false;

  constructor(private readonly port: number) {
    super();
  }

  override _read(): void {
    // Everything is pushed at once.
  }

  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.hasAnswered) {
      this.hasAnswered = true;
      const body = `A simulated program listens on port ${String(this.port)}.\n`;
      const head = `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${String(body.length)}`;
      this.push(`HTTP/1.1 200 OK\r\n${head}\r\nConnection: close\r\n\r\n${body}`);
      this.push(null);
    }
    done();
  }
}
