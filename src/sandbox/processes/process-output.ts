import type { ExecOutput } from '../../docker';
import { OutputRing } from '../output-ring';
import { type OutputEncoding, OutputText } from '../commands/output-text';

const KEPT_BYTES = 1024 * 1024;

/** How often a kept output may change between stdout and stderr; what is before counts as no longer kept. */
const MOST_CHANGES = 8_192;

/** Some bytes of one output, in a row. */
export interface OutputChunk {
  readonly stream: ExecOutput['stream'];
  /** How many bytes of both outputs came before. */
  readonly offset: number;
  readonly data: string;
}

/** A part of an output, and where the next one begins. */
export interface OutputPage {
  readonly chunks: readonly OutputChunk[];
  readonly next: number;
  /** Whether what was asked for is in part no longer kept. */
  readonly gap: boolean;
}

/** Where a run of bytes of one output begins. */
interface Change {
  readonly at: number;
  readonly stream: ExecOutput['stream'];
}

/** The end of what a process has written to both outputs, in order. */
export class ProcessOutput {
  private readonly ring = new OutputRing(KEPT_BYTES);
  private changes: Change[] = [];

  /** How many bytes were ever written. */
  get bytes(): number {
    return this.ring.end;
  }

  write({ stream, data }: ExecOutput): void {
    if (this.changes.at(-1)?.stream !== stream) this.changes.push({ at: this.ring.end, stream });
    this.ring.write(data);
    if (this.changes.length >= 2 * MOST_CHANGES) this.changes = this.changes.slice(-MOST_CHANGES);
  }

  /**
   * What was written from `after` on, at most `limit` bytes. The beginning of a character at its end is left for the
   * next page, unless the output is over.
   */
  page({
    after,
    limit,
    encoding,
    isOver,
  }: {
    after: number;
    limit: number;
    encoding: OutputEncoding;
    isOver: boolean;
  }): OutputPage {
    const start = Math.max(this.ring.start, this.changes[0]?.at ?? 0);
    const { offset, bytes } = this.ring.read(Math.max(after, start), limit);
    const isLast = isOver && offset + bytes.length === this.ring.end;
    const whole = isLast || encoding === 'base64' ? bytes : bytes.subarray(0, bytes.length - begunBytes(bytes));
    return { chunks: this.chunks(whole, offset, encoding), next: offset + whole.length, gap: after < start };
  }

  private chunks(bytes: Buffer, offset: number, encoding: OutputEncoding): OutputChunk[] {
    const text = new OutputText(encoding);
    const chunks: { stream: Change['stream']; offset: number; data: string }[] = [];
    const lastOf: Partial<Record<Change['stream'], { data: string }>> = {};
    const end = offset + bytes.length;
    for (const [index, { at, stream }] of this.changes.entries()) {
      const [from, to] = [Math.max(at, offset), Math.min(this.changes[index + 1]?.at ?? end, end)];
      if (from >= to) continue;
      const data = text.piece({ stream, data: bytes.subarray(from - offset, to - offset) });
      const chunk = { stream, offset: from, data };
      chunks.push(chunk);
      lastOf[stream] = chunk;
    }
    for (const stream of ['stdout', 'stderr'] as const) {
      const last = lastOf[stream];
      if (last) last.data += text.rest(stream);
    }
    return chunks;
  }
}

/** How many bytes at the end are the beginning of a character in UTF-8 that may still become whole. */
function begunBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) && byte < 0xf8 ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}
