import { existsSync, readFileSync } from 'node:fs';

const text = readFileSync('docs/security.md', 'utf8');

/** A test file that the document names, and the words of its tests that follow it in the same row. */
interface Reference {
  readonly file: string;
  readonly title: string | null;
}

function references(): Reference[] {
  const rows = text.split('\n').filter((line) => line.startsWith('|'));
  return rows.flatMap((row) => {
    let file = '';
    return [...row.matchAll(/`((?:src|test)\/[^`]+)`|"([^"|]+)"/g)].flatMap(([, path, title]): Reference[] => {
      if (path !== undefined) file = path;
      if (path !== undefined) return [{ file, title: null }];
      return file === '' ? [] : [{ file, title: title ?? '' }];
    });
  });
}

describe('docs/security.md', () => {
  const named = references();

  it('must name tests', () => {
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter(({ title }) => title !== null).length).toBeGreaterThan(20);
  });

  it('must name files that are there', () => {
    expect(named.map(({ file }) => file).filter((file) => !existsSync(file))).toEqual([]);
  });

  it('must quote the tests in them', () => {
    const isQuoted = ({ file, title }: Reference): boolean => readFileSync(file, 'utf8').includes(title ?? '');
    expect(named.filter(({ file }) => file.endsWith('spec.ts')).filter((each) => !isQuoted(each))).toEqual([]);
  });

  it('must say of each item of the benchmark what is done', () => {
    const items = [...text.matchAll(/^\| 5\.(\d+) +\| [^|]+ \| ([^|]+) \|$/gm)];
    expect(items.map(([, number]) => Number(number))).toEqual(Array.from({ length: 32 }, (_, index) => index + 1));
  });
});
