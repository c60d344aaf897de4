import { LogLines, MOST_LINES } from '../src/data/log-lines.ts';

type Piece = readonly [stream: 'stdout' | 'stderr', data: string, time?: string];

function linesOf(...pieces: readonly Piece[]): string[] {
  const lines = new LogLines();
  for (const [stream, data, time] of pieces) lines.take({ stream, data, ...(time !== undefined && { time }) });
  return lines.all.map(({ stream, time, text }) => `${time ?? ''}${stream === 'stderr' ? '!' : ''}${text}`);
}

describe('the lines of an output', () => {
  it.each<[what: string, pieces: readonly Piece[], lines: readonly string[]]>([
    ['one piece', [['stdout', 'a\n\nb\n']], ['a', '', 'b']],
    [
      'pieces that end within a line',
      [
        ['stdout', 'on', '1 '],
        ['stdout', 'e\ntw', '2 '],
        ['stdout', 'o', '3 '],
      ],
      ['1 one', '2 two'],
    ],
    [
      'both outputs, each with its own line',
      [
        ['stdout', 'Name: '],
        ['stderr', 'warn'],
        ['stdout', 'ada\n'],
        ['stderr', 'ing\n'],
      ],
      ['Name: ada', '!warning'],
    ],
    [
      'line breaks of a terminal, also in two pieces',
      [
        ['stdout', 'a\r\nb\r'],
        ['stdout', '\nc\rd'],
      ],
      ['a', 'b', 'c', 'd'],
    ],
    [
      'colours, also in two pieces',
      [
        ['stdout', '\u001b[31mred\u001b'],
        ['stdout', '[0m\n'],
      ],
      ['red'],
    ],
  ])('must be right for %s', (_what, pieces, lines) => {
    expect(linesOf(...pieces)).toEqual(lines);
  });

  it('must be the last ones of a long output, and know when they were written', () => {
    const lines = new LogLines();
    for (let each = 0; each < 3 * MOST_LINES; each += 1) lines.take({ stream: 'stdout', data: `${String(each)}\n` });
    const kept = lines.all;
    expect([kept.length, kept[0]?.text, kept.at(-1)?.text]).toEqual([
      MOST_LINES,
      String(2 * MOST_LINES),
      String(3 * MOST_LINES - 1),
    ]);
  });

  it('must not grow without a line break', () => {
    const lines = new LogLines();
    for (let each = 0; each < 100; each += 1) lines.take({ stream: 'stdout', data: 'x'.repeat(1_024) });
    expect(lines.all.map(({ text }) => text.length)).toEqual([16 * 1_024]);
  });
});
