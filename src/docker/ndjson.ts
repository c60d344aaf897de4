import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';

/** Splits a stream of newline-delimited JSON into its lines, wherever the chunks are cut, in the middle of a character too. */
export async function* ndjsonLines(stream: Readable): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() !== '') yield line.trim();
    }
  }
  if (rest.trim() !== '') yield rest.trim();
}
