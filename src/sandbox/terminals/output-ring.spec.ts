import * as fc from 'fast-check';
import { OutputRing } from './output-ring';

describe('the end of an output', () => {
  it('must be what was written last, at its offsets, whatever the pieces that it came in', () => {
    const pieces = fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 12 });
    fc.assert(
      fc.property(
        pieces,
        fc.integer({ min: 0, max: 300_000 }),
        fc.integer({ min: 1, max: 70_000 }),
        (sizes, after, limit) => {
          const ring = new OutputRing(64 * 1024);
          const whole = Buffer.from(
            Array.from({ length: sizes.reduce((sum, size) => sum + size, 0) }, (_v, at) => at % 251),
          );
          let at = 0;
          for (const size of sizes) ring.write(whole.subarray(at, (at += size)));
          expect(ring.end).toBe(whole.length);
          expect(ring.end - ring.start).toBeGreaterThanOrEqual(Math.min(whole.length, 64 * 1024));
          expect(ring.end - ring.start).toBeLessThanOrEqual(64 * 1024 + 2 * 8 * 1024);
          const part = ring.read(after, limit);
          expect(part.gap).toBe(after < ring.start);
          expect(part.offset).toBe(Math.min(Math.max(after, ring.start), ring.end));
          expect(part.bytes.equals(whole.subarray(part.offset, part.offset + limit))).toBe(true);
        },
      ),
    );
  });

  it('must take memory for what it keeps alone', () => {
    const ring = new OutputRing(1024 * 1024);
    for (let each = 0; each < 4 * 1024; each += 1) ring.write(Buffer.from('x'));
    expect((ring as unknown as { pages: Buffer[] }).pages).toHaveLength(1);
  });
});
