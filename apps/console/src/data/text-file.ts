/** The form of a text file that an edit has to keep. */

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
 * The line break to edit a text with, so that a saved file differs in nothing but what was typed.
 *
 * @returns null if there are only line feeds; a line feed also where breaks are mixed: carriage returns are characters
 *   of their lines then
 */
export function lineBreakOf(text: string): '\r\n' | '\n' | null {
  if (!text.includes('\r')) return null;
  return /(^|[^\r])\n|\r(?!\n)/.test(text) ? '\n' : '\r\n';
}

/** What one level of indentation is in a text: a tab, or as many blanks as its least indented lines have. */
export function indentOf(text: string): string {
  let least = 0;
  for (const [, indent = ''] of text.matchAll(/^([ \t]+)(?=[^\s*])/gm)) {
    if (indent.startsWith('\t')) return '\t';
    if (indent.length > 1 && (least === 0 || indent.length < least)) least = indent.length;
  }
  return ' '.repeat(least === 0 || least > 8 ? 2 : least);
}
