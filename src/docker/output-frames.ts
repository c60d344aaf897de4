import type { ExecOutput } from './container-engine';

/** 1 byte which output, 3 of zeros, 4 of length. */
const HEADER_BYTES = 8;

/** Docker's numbers; 0 is stdin, which is written to stdout. */
const STDERR = 2;

/**
 * Takes Docker's multiplexed stream of a command without a terminal apart. Hands on what is there at once, so that a frame
 * of any length costs no memory.
 */
export class OutputFrames {
  private header = Buffer.alloc(0);
  private left = 0;
  private stream: ExecOutput['stream'] = 'stdout';

  constructor(private readonly onOutput: (output: ExecOutput) => void) {}

  /** The next bytes, cut wherever the connection cut them. */
  take(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) rest = this.left > 0 ? this.body(rest) : this.head(rest);
  }

  private head(bytes: Buffer): Buffer {
    const missing = HEADER_BYTES - this.header.length;
    this.header = Buffer.concat([this.header, bytes.subarray(0, missing)]);
    if (this.header.length === HEADER_BYTES) {
      this.stream = this.header[0] === STDERR ? 'stderr' : 'stdout';
      this.left = this.header.readUInt32BE(4);
      this.header = Buffer.alloc(0);
    }
    return bytes.subarray(missing);
  }

  private body(bytes: Buffer): Buffer {
    const data = bytes.subarray(0, this.left);
    this.left -= data.length;
    this.onOutput({ stream: this.stream, data });
    return bytes.subarray(data.length);
  }
}
