/** Small enough for a terminal at rest, large enough that a flood makes few of them. */
const PAGE_BYTES = 4 * 1024;

/** A part of what was written. */
export interface RingPart {
  /** How many bytes were written before it. */
  readonly offset: number;
  readonly bytes: Buffer;
  /** Whether what was asked for began before what is kept. */
  readonly gap: boolean;
}

/** The end of an output, by the offsets of its bytes since its beginning. Takes memory for what it keeps, in pages. */
export class OutputRing {
  private readonly pages: Buffer[] = [];
  /** Kept no longer, and the next to be written: what is read is copied, so nobody else holds it. */
  private spare: Buffer | undefined;
  /** Bytes of the last page. */
  private filled = PAGE_BYTES;
  private written = 0;

  /** @param capacity bytes that are kept at least, once they were written */
  constructor(private readonly capacity: number) {}

  /** How many bytes were ever written. */
  get end(): number {
    return this.written;
  }

  /** The offset of the oldest byte that is kept. */
  get start(): number {
    return this.written - this.kept;
  }

  write(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      let page = this.pages.at(-1);
      if (page === undefined || this.filled === PAGE_BYTES) {
        page = this.spare ?? Buffer.allocUnsafeSlow(PAGE_BYTES);
        this.spare = undefined;
        this.pages.push(page);
        this.filled = 0;
      }
      const taken = rest.copy(page, this.filled);
      this.filled += taken;
      this.written += taken;
      rest = rest.subarray(taken);
      if (this.kept - PAGE_BYTES >= this.capacity) this.spare = this.pages.shift();
    }
  }

  /** What was written from `after` on; the oldest that is kept if that is no more, nothing if it is ahead. */
  read(after: number, limit: number): RingPart {
    const offset = Math.min(Math.max(after, this.start), this.written);
    const parts: Buffer[] = [];
    let at = offset - this.start;
    let left = Math.min(limit, this.written - offset);
    while (left > 0) {
      const page = this.pages[Math.floor(at / PAGE_BYTES)];
      if (page === undefined) break;
      const from = at % PAGE_BYTES;
      const part = page.subarray(from, Math.min(PAGE_BYTES, from + left));
      parts.push(part);
      at += part.length;
      left -= part.length;
    }
    return { offset, bytes: Buffer.concat(parts), gap: after < this.start };
  }

  private get kept(): number {
    return this.pages.length === 0 ? 0 : (this.pages.length - 1) * PAGE_BYTES + this.filled;
  }
}
