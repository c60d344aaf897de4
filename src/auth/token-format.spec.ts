import { hashToken, isTokenFormat, mintToken } from './token.entity';

describe('a token', () => {
  it('must be berth_ and 64 hex, and never the same twice', () => {
    const tokens = Array.from({ length: 100 }, () => mintToken());
    for (const { text } of tokens) expect(text).toMatch(/^berth_[0-9a-f]{64}$/);
    expect(new Set(tokens.map(({ text }) => text)).size).toBe(100);
  });

  it('must be kept as its SHA-256 and its first 12 characters', () => {
    const { text, hash, prefix } = mintToken();
    expect(hash).toBe(hashToken(text));
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(prefix).toBe(text.slice(0, 12));
    expect(text).not.toContain(hash);
  });

  it.each([
    ['empty', ''],
    ['the prefix alone', 'berth_'],
    ['too short', `berth_${'a'.repeat(63)}`],
    ['too long', `berth_${'a'.repeat(65)}`],
    ['upper case', `berth_${'A'.repeat(64)}`],
    ['another prefix', `ghost_${'a'.repeat(64)}`],
    ['a line break after it', `berth_${'a'.repeat(64)}\n`],
    ['SQL', "' OR 1=1 --"],
    ['10 MB', 'a'.repeat(10_000_000)],
  ])('must not be taken for one: %s', (_name, text) => {
    expect(isTokenFormat(text)).toBe(false);
  });
});
