/** Small enough for an idle terminal, large enough that a flood of output allocates few pages. */
const PAGE_BYTES = 4 * 1024;

/** A part of the output. */
interface RingPart {
  /** The number of bytes written before this part. */
  readonly offset: number;
  readonly bytes: Buffer;
  /** Whether the requested offset is before the oldest byte that is kept. */
  readonly gap: boolean;
}

/**
 * Keeps the last bytes of an output, addressed by their offsets from its beginning. Allocates memory page by page, for
 * the kept bytes only.
 */
export class OutputRing {
  private readonly pages: Buffer[] = [];
  /** The page dropped last, which is written to next. Readers get copies, so no reader refers to this page. */
  private spare: Buffer | undefined;
  /** Used bytes of the last page. */
  private filled = PAGE_BYTES;

  /**
   * @param capacity the last bytes that are kept at least, once that many were written
   * @param written the offset at which the ring begins
   */
  constructor(
    private readonly capacity: number,
    private written = 0,
  ) {}

  /** The number of bytes ever written. */
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

  /**
   * Reads at most `limit` bytes from the offset `after` on. Starts at the oldest kept byte if `after` is older, and
   * returns nothing if `after` is ahead of the output.
   */
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
