/** Characters of an answer that its other fields may need: ids, numbers, a path, a note. */
const REST_CHARS = 1_000;

/** Characters of an answer, unless its call asks for another number: about 5,000 tokens. */
export const ANSWER_CHARS = { min: 2 * REST_CHARS, usual: 20_000, max: 100_000 } as const;

/** Characters left for a text whose answer may have `most`, beside fields of `other` characters. */
export function roomFor(most: number, other = 0): number {
  return Math.max(0, most - REST_CHARS - other);
}

/** The length of a text in JSON, without its quotes. */
export function jsonLength(text: string): number {
  return JSON.stringify(text).length - 2;
}

/**
 * The longest beginning of a text that needs at most `most` characters in JSON. Characters of two code units are not
 * split.
 */
export function beginningOf(text: string, most: number): string {
  return longest(text.length, most, (length) => text.slice(0, isSplit(text, length) ? length - 1 : length));
}

/**
 * The longest beginning of bytes that needs at most `most` characters in JSON, as text in UTF-8: U+FFFD stands for what
 * is none. A character whose bytes are cut off is left out, unless the bytes end there.
 *
 * @param options.isEnd whether nothing follows the bytes
 */
export function textOf(
  data: Buffer,
  { most, isEnd }: { most: number; isEnd: boolean },
): { text: string; bytes: number } {
  const cut = (length: number): number =>
    length === data.length && isEnd ? length : length - cutOff(data.subarray(0, length));
  let bytes = 0;
  const text = longest(data.length, most, (length) => data.toString('utf8', 0, (bytes = cut(length))));
  return { text, bytes };
}

/** How many bytes at the end begin a character of UTF-8 that goes on behind it. */
function cutOff(data: Buffer): number {
  const start = data.subarray(-3).findLastIndex((byte) => (byte & 0xc0) !== 0x80);
  const [lead = 0, ...rest] = start < 0 ? [] : data.subarray(-3).subarray(start);
  const needed = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return needed > 1 + rest.length ? 1 + rest.length : 0;
}

/** Like {@link beginningOf}, of the end. */
function endOf(text: string, most: number): string {
  return longest(text.length, most, (length) => {
    const at = text.length - length;
    return text.slice(isSplit(text, at) ? at + 1 : at);
  });
}

/**
 * The longest part that needs at most `most` characters in JSON.
 *
 * @param length of the whole
 * @param partOf grows with the length; called last for the result
 */
function longest(length: number, most: number, partOf: (length: number) => string): string {
  let [low, high] = [0, Math.min(length, 4 * most)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (jsonLength(partOf(middle)) <= most) low = middle;
    else high = middle - 1;
  }
  return partOf(low);
}

/** Whether a cut before the code unit `at` separates the halves of a character. */
function isSplit(text: string, at: number): boolean {
  const [before, after] = [text.charCodeAt(at - 1), text.charCodeAt(at)];
  return before >= 0xd800 && before < 0xdc00 && after >= 0xdc00 && after < 0xe000;
}

/** What stands for the part of an output that is left out. */
const gapText = (bytes: number): string => `\n[${String(bytes)} bytes left out]\n`;

/**
 * The beginning and the end of an output of any length: of a long one, both matter, and the middle mostly does not.
 * Keeps at most `most` bytes in memory, and twice as many while it reads.
 */
export class OutputEnds {
  private readonly head: Buffer[] = [];
  private headBytes = 0;
  private tail: Buffer[] = [];
  private tailBytes = 0;
  private droppedBytes = 0;

  constructor(private readonly most: number) {}

  take(data: Buffer): void {
    const half = Math.ceil(this.most / 2);
    const first = data.subarray(0, half - this.headBytes);
    // Copied, so that a short piece does not keep a large buffer.
    if (first.length > 0) this.head.push(Buffer.from(first));
    this.headBytes += first.length;
    const rest = data.subarray(first.length);
    if (rest.length === 0) return;
    this.tail.push(Buffer.from(rest));
    this.tailBytes += rest.length;
    if (this.tailBytes > 2 * half) this.cut(half);
  }

  /** @returns at most `chars` characters in JSON, and how many bytes are left out */
  text(chars: number): { readonly text: string; readonly leftOut: number } {
    const half = Math.ceil(this.most / 2);
    if (this.tailBytes > half) this.cut(half);
    const [head, tail] = [Buffer.concat(this.head), Buffer.concat(this.tail)];
    if (this.droppedBytes === 0) {
      const whole = Buffer.concat([head, tail]).toString();
      if (jsonLength(whole) <= chars) return { text: whole, leftOut: 0 };
    }
    const all = head.length + this.droppedBytes + tail.length;
    const room = Math.max(0, Math.floor((chars - jsonLength(gapText(all))) / 2));
    const begun = beginningOf(head.toString(), room);
    // The end of a short output may be in the head.
    const ended = endOf((this.droppedBytes === 0 ? Buffer.concat([head, tail]) : tail).toString(), room);
    const leftOut = Math.max(0, all - Buffer.byteLength(begun) - Buffer.byteLength(ended));
    return { text: `${begun}${gapText(leftOut)}${ended}`, leftOut };
  }

  private cut(half: number): void {
    const tail = Buffer.concat(this.tail);
    const kept = tail.subarray(tail.length - half);
    this.droppedBytes += tail.length - kept.length;
    this.tail = [kept];
    this.tailBytes = kept.length;
  }
}
