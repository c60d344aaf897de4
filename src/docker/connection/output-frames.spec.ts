import { OutputFrames } from './output-frames';

function frame(stream: number, text: string): Buffer {
  const body = Buffer.from(text);
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

describe('the output of a command', () => {
  const bytes = Buffer.concat([frame(1, 'out'), frame(2, 'fehler ü'), frame(1, ''), frame(1, 'more\n'), frame(2, '!')]);

  it.each([1, 2, 3, 7, 8, 9, 64])('must be taken apart however the connection cuts it: by %i', (size) => {
    const outputs = { stdout: '', stderr: '' };
    const collected: { stream: 'stdout' | 'stderr'; data: Buffer }[] = [];
    const frames = new OutputFrames((output) => collected.push(output));
    for (let at = 0; at < bytes.length; at += size) frames.take(Buffer.from(bytes.subarray(at, at + size)));
    for (const stream of ['stdout', 'stderr'] as const) {
      outputs[stream] = Buffer.concat(collected.filter((o) => o.stream === stream).map((o) => o.data)).toString();
    }
    expect(outputs).toEqual({ stdout: 'outmore\n', stderr: 'fehler ü!' });
  });

  it('must come in one piece where its neighbours are of one stream', () => {
    const pieces: string[] = [];
    const frames = new OutputFrames(({ stream, data }) => pieces.push(`${stream} ${data.toString()}`));
    frames.take(Buffer.from(bytes.subarray(0, bytes.length - 2)));
    frames.take(Buffer.concat([bytes.subarray(bytes.length - 2), frame(2, '?'), frame(1, '.')]));
    expect(pieces).toEqual(['stdout out', 'stderr fehler ü', 'stdout more\n', 'stderr !?', 'stdout .']);
  });

  it('must be taken apart however many frames come at once', () => {
    const many = Buffer.concat(Array.from({ length: 100_000 }, () => frame(1, 'x')));
    let bytes = 0;
    new OutputFrames(({ data }) => (bytes += data.length)).take(many);
    expect(bytes).toBe(100_000);
  });
});
