const WORDS = /(?:[^\s"']+|"(?:\\.|[^"\\])*"|'[^']*')+/g;
const QUOTED = /"((?:\\.|[^"\\])*)"|'([^']*)'/g;

/**
 * Splits a command into the program and its arguments at blanks, as a shell does. Quotes keep words together; nothing
 * else of a shell is known.
 *
 * @returns null if a quotation mark is not closed
 */
export function splitCommand(text: string): string[] | null {
  if (text.replace(WORDS, '').trim() !== '') return null;
  return (text.match(WORDS) ?? []).map((word) =>
    word.replace(QUOTED, (_all, double?: string, single?: string) =>
      double !== undefined ? double.replace(/\\(.)/g, '$1') : (single ?? ''),
    ),
  );
}

/** Whether a command has what only a shell understands, such as a pipe, outside quotes. */
export const needsShell = (text: string): boolean => /[|&;<>`]|\$[({\w]/.test(text.replace(QUOTED, ''));
