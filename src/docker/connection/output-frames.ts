import type { ExecOutput } from '../../engine';

/** One byte for the stream, 3 zero bytes, and 4 bytes for the length. */
const HEADER_BYTES = 8;

/** Docker's stream numbers: 2 is stderr. 0 (stdin) is written to stdout. */
const STDERR = 2;

/**
 * Demultiplexes Docker's stream of a command without a terminal. Passes bytes on at once, so frames of any length
 * need no buffer. A program may write single bytes, each in its own frame, so adjacent frames of the same stream are
 * merged in place. Does not use docker-modem's `demuxStream` (5.0.7): that calls itself for each frame, so a command
 * that writes single bytes overflows the stack, which ends the process.
 */
export class OutputFrames {
  private readonly header = Buffer.alloc(HEADER_BYTES);
  /** How many bytes of the header have arrived. */
  private known = 0;
  /** How many bytes of the frame are still to come. */
  private left = 0;
  private stream: ExecOutput['stream'] = 'stdout';

  constructor(private readonly onOutput: (output: ExecOutput) => void) {}

  /** @param chunk the next bytes, cut at any position; it is overwritten, and the output refers to its memory */
  take(chunk: Buffer): void {
    let at = 0;
    let begin = 0;
    let end = 0;
    let { stream } = this;
    while (at < chunk.length) {
      if (this.left === 0) {
        at += this.head(chunk, at);
        continue;
      }
      const length = Math.min(this.left, chunk.length - at);
      if (end > begin && this.stream === stream) {
        chunk.copyWithin(end, at, at + length);
        end += length;
      } else {
        this.hand(stream, chunk.subarray(begin, end));
        ({ stream } = this);
        begin = at;
        end = at + length;
      }
      at += length;
      this.left -= length;
    }
    this.hand(stream, chunk.subarray(begin, end));
  }

  private hand(stream: ExecOutput['stream'], data: Buffer): void {
    if (data.length > 0) this.onOutput({ stream, data });
  }

  /** @returns how many bytes of the header this chunk held */
  private head(chunk: Buffer, at: number): number {
    const came = chunk.copy(this.header, this.known, at, at + HEADER_BYTES - this.known);
    this.known += came;
    if (this.known === HEADER_BYTES) {
      this.stream = this.header[0] === STDERR ? 'stderr' : 'stdout';
      this.left = this.header.readUInt32BE(4);
      this.known = 0;
    }
    return came;
  }
}
