import type { ExecOutput } from '../../docker';
import { OutputRing } from '../output-ring';
import { type OutputEncoding, OutputText } from '../commands/output-text';

const KEPT_BYTES = 1024 * 1024;

/** How many changes between stdout and stderr are kept at least; output before them counts as no longer kept. */
const MOST_CHANGES = 8_192;

/** Consecutive bytes of one output. */
export interface OutputChunk {
  readonly stream: ExecOutput['stream'];
  /** The number of bytes of both outputs before this chunk. */
  readonly offset: number;
  readonly data: string;
}

/** A page of the output, and where the next one begins. */
interface OutputPage {
  readonly chunks: readonly OutputChunk[];
  readonly next: number;
  /** Whether part of the requested output is no longer kept. */
  readonly gap: boolean;
}

/** Where consecutive bytes of one output begin. */
interface Change {
  readonly at: number;
  readonly stream: ExecOutput['stream'];
}

/** Keeps the last output of a process, of both streams in order. */
export class RetainedOutput {
  private readonly ring = new OutputRing(KEPT_BYTES);
  private changes: Change[] = [];

  /** The number of bytes ever written. */
  get bytes(): number {
    return this.ring.end;
  }

  write({ stream, data }: ExecOutput): void {
    if (this.changes.at(-1)?.stream !== stream) this.changes.push({ at: this.ring.end, stream });
    this.ring.write(data);
    if (this.changes.length >= 2 * MOST_CHANGES) this.changes = this.changes.slice(-MOST_CHANGES);
  }

  /**
   * Reads at most `limit` bytes from `after` on. An incomplete UTF-8 character at the end is left for the next page,
   * unless the output is over or the encoding is Base64.
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

/** The number of bytes at the end that begin a UTF-8 character which may still be completed. */
function begunBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) && byte < 0xf8 ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}
