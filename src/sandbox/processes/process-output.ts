import type { ContainerProcess, ExecOutput } from '../../engine';
import { type OutputEncoding, OutputText } from '../commands/output-text';

/** Consecutive bytes of one output. */
export interface OutputChunk {
  readonly stream: ExecOutput['stream'];
  /** The number of bytes of both outputs before this chunk. */
  readonly offset: number;
  readonly data: string;
}

/** A page of the output, and where the next one begins. */
export interface OutputPage {
  readonly chunks: readonly OutputChunk[];
  readonly next: number;
  /** Whether part of the requested output is no longer kept. */
  readonly gap: boolean;
}

type Piece = Pick<ExecOutput, 'stream' | 'data'> & { readonly offset: number };

/**
 * Makes text of the pieces of an output. An incomplete UTF-8 character at the end of a piece waits for the next one,
 * unless the encoding is Base64.
 */
export class OutputChunks {
  private begun: Piece | null = null;

  constructor(private readonly encoding: OutputEncoding) {}

  /** The offset of the first byte that was not yet returned; `end` if nothing waits. */
  next(end: number): number {
    return this.begun?.offset ?? end;
  }

  take(piece: Piece): OutputChunk[] {
    const { begun } = this;
    const isNext = begun?.stream === piece.stream && begun.offset + begun.data.length === piece.offset;
    const chunks = isNext ? [] : this.rest();
    const whole = begun && isNext ? { ...begun, data: Buffer.concat([begun.data, piece.data]) } : piece;
    const left = this.encoding === 'base64' ? 0 : begunBytes(whole.data);
    const end = whole.data.length - left;
    this.begun = left === 0 ? null : { ...whole, data: whole.data.subarray(end), offset: whole.offset + end };
    if (end > 0) chunks.push(this.chunkOf({ ...whole, data: whole.data.subarray(0, end) }));
    return chunks;
  }

  /** What still waits, as no more follows. */
  rest(): OutputChunk[] {
    const { begun } = this;
    this.begun = null;
    return begun ? [this.chunkOf(begun)] : [];
  }

  private chunkOf({ stream, data, offset }: Piece): OutputChunk {
    const text = new OutputText(this.encoding);
    return { stream, offset, data: text.piece({ stream, data }) + text.rest(stream) };
  }
}

/**
 * Reads at most `limit` bytes of what a process had written when the reader attached. An incomplete character at the
 * end is left for the next page, unless the output is over.
 */
export async function readPage(
  program: ContainerProcess,
  { after, limit, encoding, isOver }: { after: number; limit: number; encoding: OutputEncoding; isOver: boolean },
): Promise<OutputPage> {
  const { from, to } = program;
  const runs: { readonly stream: Piece['stream']; readonly offset: number; readonly parts: Buffer[] }[] = [];
  let end = from;
  if (from < to) {
    const upTo = Math.min(to, from + limit);
    for await (const { stream, data, offset = end } of program.output) {
      // The bytes between were overwritten meanwhile: the next page tells it.
      if (offset !== end) break;
      const part = data.subarray(0, upTo - end);
      const last = runs.at(-1);
      if (last?.stream === stream) last.parts.push(part);
      else runs.push({ stream, offset: end, parts: [part] });
      end += part.length;
      if (end >= upTo) break;
    }
  }
  const text = new OutputChunks(encoding);
  const chunks = runs.flatMap(({ parts, ...run }) => text.take({ ...run, data: Buffer.concat(parts) }));
  if (isOver && end >= to) chunks.push(...text.rest());
  return { chunks, next: text.next(end), gap: after < from };
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
