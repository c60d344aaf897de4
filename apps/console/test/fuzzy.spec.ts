import { fuzzyMatch } from '../src/data/fuzzy.ts';

const ranked = (query: string, texts: readonly string[]): string[] =>
  texts
    .map((text) => ({ text, score: fuzzyMatch(query, text)?.score }))
    .filter((each) => each.score !== undefined)
    .sort((one, other) => (other.score ?? 0) - (one.score ?? 0))
    .map(({ text }) => text);

describe('a search by the characters of a name', () => {
  it.each<[query: string, best: string, others: readonly string[]]>([
    ['api', 'api-server', ['a-pink-one', 'map-index', 'rapid']],
    ['stop web', 'Stop web', ['Stop worker-bench', 'Restart web']],
    ['web stop', 'Stop web', ['Stop worker-bench']],
    ['all cont', 'All containers', ['Containers']],
    ['ws', 'web-server', ['news']],
    ['WEB', 'web', ['web-server']],
  ])('must rank %j first: %s', (query, best, others) => {
    expect(ranked(query, [...others, best])[0]).toBe(best);
  });

  it('must find nothing where a character is missing, or comes before', () => {
    expect(ranked('xyz', ['web', 'xy', 'zyx'])).toEqual([]);
    expect(ranked('web x', ['web'])).toEqual([]);
  });

  it('must say which characters matched, and match every text with nothing', () => {
    expect(fuzzyMatch('stp', 'Stop')?.at).toEqual([0, 1, 3]);
    expect(fuzzyMatch('  ', 'Stop')?.at).toEqual([]);
    expect(fuzzyMatch('i', 'İi')).not.toBeNull();
  });
});
