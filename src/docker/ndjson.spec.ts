import { Readable } from 'node:stream';
import { ndjsonLines } from './ndjson';

async function linesOf(chunks: Buffer[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of ndjsonLines(Readable.from(chunks))) lines.push(line);
  return lines;
}

describe('a stream of JSON lines', () => {
  const text = '{"name":"Grüße 🚢"}\r\n\n{"n":2}\n{"last":true}';
  const lines = ['{"name":"Grüße 🚢"}', '{"n":2}', '{"last":true}'];

  it('must give the same lines wherever it is cut in two', async () => {
    const bytes = Buffer.from(text);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(await linesOf([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(lines);
    }
  });

  it('must give the same lines byte by byte', async () => {
    expect(await linesOf([...Buffer.from(text)].map((byte) => Buffer.from([byte])))).toEqual(lines);
  });

  it('must give nothing of nothing', async () => {
    expect(await linesOf([])).toEqual([]);
  });
});
