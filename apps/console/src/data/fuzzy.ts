/** How well a text matches a query. */
interface Match {
  /** The greater the better. */
  readonly score: number;
  /** The positions of the matched characters, ascending. */
  readonly at: readonly number[];
}

const WORD_START = 8;
/** More than the beginning of a word, so that a whole word is better than initials. */
const ADJACENT = 9;
const GAP = -0.2;

/**
 * Matches the words of a query with a text: each word's characters must come in this order, with others between them.
 * Beginnings of words and adjacent characters count more, so that `stp` finds “Stop” and `api` finds “api-server”
 * before “a-pink-one”. The order of the words does not matter.
 *
 * @returns null if a word is not in the text
 */
export function fuzzyMatch(query: string, text: string): Match | null {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const lower = text.toLowerCase();
  // Lower case may have another length, as of "İ": positions would not fit the text.
  if (lower.length !== text.length) return words.every((word) => lower.includes(word)) ? { score: 0, at: [] } : null;
  // Most texts lack a character, which is found out in one pass.
  if (!words.every((word) => isWithin(word, lower))) return null;
  const found = words.map((word) => best(word, lower));
  if (found.some((match) => match === null)) return null;
  const at = new Set(found.flatMap((match) => match?.at ?? []));
  const score = found.reduce((sum, match) => sum + (match?.score ?? 0), 0);
  // Of two texts that match alike the shorter one.
  return { score: score - text.length * 0.01, at: [...at].sort((a, b) => a - b) };
}

const isWordStart = (text: string, at: number): boolean => at === 0 || !/[\p{L}\p{N}]/u.test(text[at - 1] ?? '');

/** Whether the characters of a word are in the text, in this order. */
function isWithin(word: string, text: string): boolean {
  let at = -1;
  return word.split('').every((character) => (at = text.indexOf(character, at + 1)) !== -1);
}

/** The best of all matches of a word, by dynamic programming over its characters. */
function best(word: string, text: string): Match | null {
  // For the characters so far: the best match that ends at each position.
  let ends: (Match | null)[] = [];
  for (const [index, character] of word.split('').entries()) {
    const next: (Match | null)[] = Array.from({ length: text.length }, () => null);
    let before: Match | null = null;
    for (let at = 0; at < text.length; at += 1) {
      if (index > 0 && at > 0) {
        const adjacent = ends[at - 1] ?? null;
        const further: Match | null = before && { ...before, score: before.score + GAP };
        before = better(adjacent, further);
      }
      if (text[at] !== character || (index > 0 && !before)) continue;
      const isAdjacent = index > 0 && before?.at.at(-1) === at - 1;
      const gained = 1 + (isWordStart(text, at) ? WORD_START : 0) + (isAdjacent ? ADJACENT : 0);
      next[at] = { score: (before?.score ?? 0) + gained, at: [...(before?.at ?? []), at] };
    }
    ends = next;
  }
  return ends.reduce<Match | null>(better, null);
}

const better = (one: Match | null, other: Match | null): Match | null =>
  one && (!other || one.score >= other.score) ? one : other;
