import { Errno } from './errno';
import type { DirectoryNode, FileNode, MadeNode } from './file-tree';
import type { ExecOutput, TerminalSize } from '../../../src/docker/programs/container-process';

/** What can wait: a process, which signals interrupt, or Berth itself. */
export interface Waiter {
  /** @param start is given what ends the wait, and returns what takes it back */
  block(start: (done: () => void) => () => void): Promise<void>;
  /** Others have a turn, too. */
  point?(): Promise<void>;
  /** It wrote where nobody reads. */
  onBrokenPipe?(): void;
}

/** Berth, which nothing interrupts. */
export const OUTSIDE: Waiter = {
  block: (start) => new Promise((resolve) => void start(resolve)),
};

/** Those who wait for a change. */
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

/** What programs read and change of a terminal. */
export interface TerminalSettings {
  readonly size: TerminalSize;
  /** Lines are edited and come as a whole; off, keys come as they are typed. */
  canonical: boolean;
  echo: boolean;
}

/** What a descriptor names; several may name the same. */
export abstract class OpenFile {
  private references = 1;
  readonly terminal: TerminalSettings | null = null;
  /** What it is of, where it is of a file. */
  readonly node: FileNode | MadeNode | DirectoryNode | null = null;

  dup(): this {
    this.references += 1;
    return this;
  }

  close(): void {
    this.references -= 1;
    // One side may close it twice: at its end, and when it is dropped.
    if (this.references === 0) this.onClosed();
  }

  /** At most `most` bytes; null at the end. @throws Errno */
  read(_who: Waiter, _most: number): Promise<Buffer | null> {
    return Promise.reject(new Errno('EBADF'));
  }

  /** @throws Errno */
  write(_who: Waiter, _data: Buffer): Promise<void> {
    return Promise.reject(new Errno('EBADF'));
  }

  protected onClosed(): void {
    // Nothing is held.
  }
}

/** How much a pipe holds. */
const PIPE_BYTES = 64 * 1024;

/** A pipe: what is written waits until it is read. */
export class Pipe {
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private readonly changed = new Waiters();
  private hasReaders = true;
  private hasWriters = true;

  /** Where it is read. */
  readonly source: OpenFile;
  /** Where it is written to. */
  readonly sink: OpenFile;

  constructor() {
    this.source = new PipeEnd(this, 'read');
    this.sink = new PipeEnd(this, 'write');
  }

  async read(who: Waiter, most: number): Promise<Buffer | null> {
    for (;;) {
      const first = this.chunks[0];
      if (first) {
        const taken = first.subarray(0, most);
        if (taken.length === first.length) this.chunks.shift();
        else this.chunks[0] = first.subarray(most);
        this.bytes -= taken.length;
        this.changed.wake();
        return taken;
      }
      if (!this.hasWriters) return null;
      await this.changed.wait(who);
    }
  }

  async write(who: Waiter, data: Buffer): Promise<void> {
    while (this.bytes >= PIPE_BYTES && this.hasReaders) await this.changed.wait(who);
    if (!this.hasReaders) {
      who.onBrokenPipe?.();
      return;
    }
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

/** A file of the tree, with the place where it is read and written next. */
export class TreeFile extends OpenFile {
  offset = 0;
  private readonly made: Buffer;

  constructor(
    override readonly node: FileNode | MadeNode | DirectoryNode,
    private readonly options: { readonly append?: boolean } = {},
  ) {
    super();
    this.made = node.kind === 'made' ? Buffer.from(node.make(), 'latin1') : Buffer.alloc(0);
  }

  override read(_who: Waiter, most: number): Promise<Buffer | null> {
    const { node } = this;
    if (node.kind === 'directory') return Promise.reject(new Errno('EISDIR'));
    const data =
      node.kind === 'file' ? node.read(this.offset, most) : this.made.subarray(this.offset, this.offset + most);
    this.offset += data.length;
    return Promise.resolve(data.length === 0 ? null : data);
  }

  override async write(who: Waiter, data: Buffer): Promise<void> {
    const { node } = this;
    if (node.kind !== 'file') return;
    if (this.options.append === true) this.offset = node.size;
    node.write(this.offset, data);
    this.offset += data.length;
    await who.point?.();
  }
}

/** A device that gives bytes without end, or none, and takes all. */
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

/** What a program writes, on its way to Berth: both streams in order. What is not read makes the program wait. */
export class Output implements AsyncIterable<ExecOutput> {
  private readonly queue: ExecOutput[] = [];
  private bytes = 0;
  private readonly changed = new Waiters();
  private isEnded = false;
  private isClosed = false;

  /** Where a stream of it is written to. */
  sink(stream: ExecOutput['stream']): OpenFile {
    return new OutputSink(this, stream);
  }

  async write(who: Waiter, output: ExecOutput): Promise<void> {
    while (this.bytes >= PIPE_BYTES && !this.isClosed) await this.changed.wait(who);
    this.push(output);
  }

  /** Does not wait. */
  push(output: ExecOutput): void {
    if (this.isClosed || this.isEnded || output.data.length === 0) return;
    this.queue.push(output);
    this.bytes += output.data.length;
    this.changed.wake();
  }

  /** Nothing more comes. */
  end(): void {
    this.isEnded = true;
    this.changed.wake();
  }

  /** Nobody reads any more: what comes is lost. */
  close(): void {
    this.isClosed = true;
    this.queue.length = 0;
    this.bytes = 0;
    this.changed.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ExecOutput, void> {
    for (;;) {
      const next = this.queue.shift();
      if (next) {
        this.bytes -= next.data.length;
        this.changed.wake();
        yield next;
      } else if (this.isEnded || this.isClosed) return;
      else await this.changed.wait(OUTSIDE);
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
