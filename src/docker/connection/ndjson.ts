import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';

/** In characters. Docker's own lines have a few hundred; image labels and registry messages can make them longer. */
const MAX_LINE = 1024 * 1024;

/**
 * Splits a stream of newline-delimited JSON into lines; a chunk may end anywhere, even inside a character. Drops
 * lines that are too long to buffer.
 */
export async function* ndjsonLines(
  stream: Readable,
  { maxLine = MAX_LINE }: { maxLine?: number } = {},
): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let isTooLong = false;
  for await (const chunk of stream) {
    const [first = '', ...lines] = decoder.write(chunk as Buffer).split('\n');
    if (!isTooLong) rest += first;
    isTooLong ||= rest.length > maxLine;
    if (isTooLong) rest = '';
    if (lines.length === 0) continue;
    const last = lines.pop() ?? '';
    for (const line of isTooLong ? lines : [rest, ...lines]) {
      if (line.length <= maxLine && line.trim() !== '') yield line.trim();
    }
    isTooLong = last.length > maxLine;
    rest = isTooLong ? '' : last;
  }
  if (rest.trim() !== '') yield rest.trim();
}
