import { OutputTail } from './install-output';

function tailOf(text: string, secrets: readonly string[] = [], cutBy = 1_000): string {
  const tail = new OutputTail(secrets);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += cutBy) tail.takeBytes(bytes.subarray(at, at + cutBy));
  return tail.toString();
}

describe('the end of what a program said', () => {
  it('must be its last two kilobytes, however it came', () => {
    const text = Array.from({ length: 9_000 }, (_line, index) => `line ${String(index)} größer`).join('\n');
    for (const cutBy of [1, 7, 4_096]) {
      const told = tailOf(text, [], cutBy);
      expect(told.length).toBeLessThanOrEqual(2_048);
      expect(text.endsWith(told)).toBe(true);
      expect(told.length).toBeGreaterThan(2_000);
    }
    expect(tailOf('short\n')).toBe('short');
  });

  it('must hold nothing that a terminal obeys or that hides text', () => {
    const hostile =
      'a\u001b[31mred\u001b[0m\u001b]0;title\u0007 b\u0000\u0008c\r\nd\u202ee\u2028f\u200bg\ud800\u009bh\tend';
    expect(tailOf(hostile)).toMatch(/^ared bc\ndefg\ufffd?h\tend$/);
  });

  it.each<[string, string, readonly string[]]>([
    ['a value', 'proxy says s3cret-value!', ['s3cret-value']],
    ['a value cut by control characters', 's3c\u0000ret-\u001b[1mvalue', ['s3cret-value']],
    ['a value that is part of another', 's3cret-value-long', ['s3cret', 's3cret-value-long']],
    ['a line of a key', 'x MIIEvQIBADANBg x', ['-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n']],
    ['a password in an address', 'http://user:s3cret-value@proxy.example/ failed', []],
  ])('must not show %s', (_what, text, secrets) => {
    expect(tailOf(text, secrets)).toContain('***');
    expect(tailOf(text, secrets)).not.toMatch(/s3cret|MIIE/);
  });

  it('must not show the rest of a value that was cut', () => {
    const secret = 'k'.repeat(4_096);
    for (let before = 0; before < 6_000; before += 500) {
      const text = secret + 'x'.repeat(before) + '\n' + `${secret}\n`.repeat(12);
      expect(tailOf(text, [secret], 512)).not.toContain('k');
    }
  });

  it('must not take a short value for a secret', () => {
    expect(tailOf('1 of 1 packages', ['1', 'of'])).toBe('1 of 1 packages');
  });
});
