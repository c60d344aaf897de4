import { ANSWER_CHARS, beginningOf, jsonLength, OutputEnds, roomFor, textOf } from './answer-bounds';

/** An output that was written in pieces of `size` bytes. */
function written(text: string, { most, size = 7 }: { most: number; size?: number }): OutputEnds {
  const ends = new OutputEnds(most);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) ends.take(bytes.subarray(at, at + size));
  return ends;
}

describe('the bounds of an answer', () => {
  it.each<[string, number, string]>([
    ['short', 5, 'short'],
    ['longer', 5, 'longe'],
    ['a\nb', 3, 'a\n'],
    ['"""', 4, '""'],
    ['\u0001\u0001', 11, '\u0001'],
    ['é😀é', 2, 'é'],
    ['é😀é', 3, 'é😀'],
    ['x', 0, ''],
  ])('must keep of %j what needs %i characters in JSON', (text, most, kept) => {
    expect(beginningOf(text, most)).toBe(kept);
    expect(jsonLength(kept)).toBeLessThanOrEqual(most);
  });

  it('must leave room in the smallest answer', () => {
    expect(roomFor(ANSWER_CHARS.min)).toBeGreaterThanOrEqual(1_000);
  });

  it.each<[string, boolean, number, { text: string; bytes: number }]>([
    ['6772c3bc', false, 9, { text: 'grü', bytes: 4 }],
    ['6772c3', false, 9, { text: 'gr', bytes: 2 }],
    ['6772c3', true, 9, { text: 'gr\u{fffd}', bytes: 3 }],
    ['61f09f9880', false, 3, { text: 'a😀', bytes: 5 }],
    ['61f09f9880', false, 2, { text: 'a', bytes: 1 }],
    ['61f09f98', false, 9, { text: 'a', bytes: 1 }],
    ['80808080', false, 3, { text: '\u{fffd}\u{fffd}\u{fffd}', bytes: 3 }],
    ['e974e9', false, 9, { text: '\u{fffd}t', bytes: 2 }],
    ['c3', false, 9, { text: '', bytes: 0 }],
    ['', true, 9, { text: '', bytes: 0 }],
  ])('must count the bytes that are shown of %s (end: %s), in %i characters', (bytes, isEnd, most, shown) => {
    expect(textOf(Buffer.from(bytes, 'hex'), { most, isEnd })).toEqual(shown);
  });

  it('must show an output that fits as it is', () => {
    expect(written('one\ntwo\n', { most: 100 }).text(100)).toEqual({ text: 'one\ntwo\n', leftOut: 0 });
    expect(new OutputEnds(100).text(100)).toEqual({ text: '', leftOut: 0 });
  });

  it.each([1, 7, 4_096])('must show the beginning and the end of a long output, in pieces of %i bytes', (size) => {
    const text = `first\n${'x'.repeat(20_000)}\nlast`;
    const shown = written(text, { most: 1_000, size }).text(1_000);
    expect(shown.text).toMatch(/^first\nx+\n\[\d+ bytes left out\]\nx+\nlast$/);
    expect(jsonLength(shown.text)).toBeLessThanOrEqual(1_000);
    const seen = shown.text.replace(/\n\[\d+ bytes left out\]\n/, '');
    expect(shown.leftOut).toBe(text.length - seen.length);
  });

  it('must not split characters, and must count those that need more room in JSON', () => {
    for (const character of ['😀', '\u0001', '"', 'é']) {
      const { text } = written(character.repeat(2_000), { most: 2_000 }).text(500);
      expect(jsonLength(text)).toBeLessThanOrEqual(500);
      expect(text.replaceAll('\u{fffd}', '').replace(/\n\[\d+ bytes left out\]\n/, '')).toMatch(
        new RegExp(`^(?:${character})+$`, 'u'),
      );
    }
  });
});
