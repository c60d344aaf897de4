import { pipeline, type Readable } from 'node:stream';
import split from 'split2';

/** In characters. Docker's own lines have a few hundred; image labels and registry messages can make them longer. */
const MAX_LINE = 1024 * 1024;

/** Splits a stream of newline-delimited JSON into lines. Drops lines that are too long to buffer. */
export async function* ndjsonLines(
  stream: Readable,
  { maxLine = MAX_LINE }: { maxLine?: number } = {},
): AsyncGenerator<string> {
  // A constant, as @types/split2 (4.2) lacks `skipOverflow`.
  const options = { maxLength: maxLine, skipOverflow: true };
  const splitter = split('\n', options);
  // The loop below throws the stream's errors; leaving it early destroys the stream.
  const lines = pipeline(stream, splitter, () => undefined);
  for await (const line of lines as AsyncIterable<string>) {
    // split2 (4.2) still passes on a long line that ends within its chunk, and the beginning of one without an end.
    if (line.length <= maxLine && line.trim() !== '') yield line.trim();
  }
}
