import { Readable } from 'node:stream';
import { ndjsonLines } from './ndjson';

async function linesOf(chunks: Buffer[], options = {}): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of ndjsonLines(Readable.from(chunks), options)) lines.push(line);
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

  it('must leave out a line that is too long, wherever it is cut, and go on after it', async () => {
    const bytes = Buffer.from(`{"a":1}\n{"long":"${'x'.repeat(40)}"}\n{"b":2}\n${'y'.repeat(40)}`);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const chunks = [bytes.subarray(0, cut), bytes.subarray(cut)];
      expect(await linesOf(chunks, { maxLine: 20 })).toEqual(['{"a":1}', '{"b":2}']);
    }
    expect(
      await linesOf(
        [...bytes].map((byte) => Buffer.from([byte])),
        { maxLine: 20 },
      ),
    ).toEqual(['{"a":1}', '{"b":2}']);
  });

  it('must not keep a line that never ends', async () => {
    const endless = function* (): Generator<Buffer> {
      for (let mebibytes = 0; mebibytes < 16; mebibytes += 1) yield Buffer.alloc(2 ** 20, 'x');
      yield Buffer.from('\n{"n":1}\n');
    };
    const lines: string[] = [];
    for await (const line of ndjsonLines(Readable.from(endless()), { maxLine: 2 ** 20 })) lines.push(line);
    expect(lines).toEqual(['{"n":1}']);
  });

  it('must give nothing of nothing', async () => {
    expect(await linesOf([])).toEqual([]);
  });
});
