import * as fc from 'fast-check';
import { type OutputChunk, RetainedOutput } from './retained-output';

/** Reads all in pages, as a client does that comes back for what follows. */
function readAll(output: RetainedOutput, limit: number): OutputChunk[] {
  const chunks: OutputChunk[] = [];
  for (let after = 0; ;) {
    const page = output.page({ after, limit, encoding: 'utf-8', isOver: true });
    chunks.push(...page.chunks);
    if (page.next === after) return chunks;
    after = page.next;
  }
}

function textOf(chunks: readonly OutputChunk[], stream: string): string {
  return chunks.filter((chunk) => chunk.stream === stream).reduce((text, { data }) => text + data, '');
}

describe('the output of a kept process', () => {
  it('must be whole characters of each stream, in pages of any size, whatever the pieces that it came in', () => {
    const piece = fc.record({
      stream: fc.constantFrom('stdout' as const, 'stderr' as const),
      text: fc.string({ unit: 'grapheme', maxLength: 12 }),
      bytesAtOnce: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.integer({ min: 16, max: 64 }), (pieces, limit) => {
        const output = new RetainedOutput();
        const written = { stdout: '', stderr: '' };
        for (const { stream, text, bytesAtOnce } of pieces) {
          const bytes = Buffer.from(text);
          for (let at = 0; at < bytes.length; at += bytesAtOnce) {
            output.write({ stream, data: bytes.subarray(at, at + bytesAtOnce) });
          }
          written[stream] += text;
        }
        const chunks = readAll(output, limit);
        expect({ stdout: textOf(chunks, 'stdout'), stderr: textOf(chunks, 'stderr') }).toEqual(written);
      }),
    );
  });

  it('must leave the beginning of a character for the next page, and not for ever', () => {
    const output = new RetainedOutput();
    output.write({ stream: 'stdout', data: Buffer.from('aü').subarray(0, 2) });
    const asked = { after: 0, limit: 100, encoding: 'utf-8' } as const;
    expect(output.page({ ...asked, isOver: false })).toEqual({
      chunks: [{ stream: 'stdout', offset: 0, data: 'a' }],
      next: 1,
      gap: false,
    });
    expect(output.page({ ...asked, isOver: true })).toMatchObject({ chunks: [{ data: 'a\uFFFD' }], next: 2 });
    output.write({ stream: 'stdout', data: Buffer.from([0xff, 0xfe]) });
    expect(output.page({ ...asked, after: 2, isOver: false })).toMatchObject({ next: 4 });
    expect(output.page({ ...asked, encoding: 'base64', isOver: false })).toMatchObject({ next: 4 });
  });

  it('must be forgotten from its beginning where the streams take turns too often, and where it is too much', () => {
    const turns = new RetainedOutput();
    for (let at = 0; at < 20_000; at += 1) {
      turns.write({ stream: at % 2 === 0 ? 'stdout' : 'stderr', data: Buffer.from('x') });
    }
    const page = turns.page({ after: 0, limit: 1_000_000, encoding: 'utf-8', isOver: true });
    expect([page.gap, page.next]).toEqual([true, 20_000]);
    expect(page.chunks.length).toBeGreaterThanOrEqual(8_192);
    expect(page.chunks[0]?.offset).toBe(20_000 - page.chunks.length);
    const much = new RetainedOutput();
    for (let mb = 0; mb < 3; mb += 1) much.write({ stream: 'stdout', data: Buffer.alloc(1024 * 1024, 'y') });
    expect(much.page({ after: 0, limit: 16, encoding: 'utf-8', isOver: false })).toMatchObject({ gap: true });
  });
});
