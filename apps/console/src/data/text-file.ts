/** Properties of a text file that editing must not change. */

/** @returns null if the bytes are not UTF-8 text */
export function decode(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/**
 * Chooses the line break of the editor so that saving changes only what the user typed.
 *
 * @returns null if there are only line feeds; a line feed also where breaks are mixed: carriage returns are characters
 *   of their lines then
 */
export function lineBreakOf(text: string): '\r\n' | '\n' | null {
  if (!text.includes('\r')) return null;
  return /(^|[^\r])\n|\r(?!\n)/.test(text) ? '\n' : '\r\n';
}

/** One level of a text's indentation: a tab, or the blanks of its least indented lines; two if it has none. */
export function indentOf(text: string): string {
  let least = 0;
  for (const [, indent = ''] of text.matchAll(/^([ \t]+)(?=[^\s*])/gm)) {
    if (indent.startsWith('\t')) return '\t';
    if (indent.length > 1 && (least === 0 || indent.length < least)) least = indent.length;
  }
  return ' '.repeat(least === 0 || least > 8 ? 2 : least);
}
