import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A test file that a document names, and the words of its tests that follow it in the same row or item. */
interface Reference {
  readonly file: string;
  readonly title: string | null;
}

/** The rows of tables and the items of lists, each as one line. */
function entries(text: string): string[] {
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const isContinued = line.startsWith('  ') && found.at(-1)?.startsWith('- ') === true;
    if (isContinued) found.push(`${found.pop() ?? ''} ${line.trim()}`);
    else found.push(line);
  }
  return found.filter((entry) => entry.startsWith('|') || entry.startsWith('- '));
}

function references(document: string): Reference[] {
  return entries(readFileSync(document, 'utf8')).flatMap((entry) => {
    let file = '';
    return [...entry.matchAll(/`((?:src|test|packages)\/[^`*]+)`|"([^"|]+)"/g)].flatMap(
      ([, path, title]): Reference[] => {
        if (path !== undefined) file = path;
        if (path !== undefined) return [{ file, title: null }];
        return file === '' ? [] : [{ file, title: title ?? '' }];
      },
    );
  });
}

describe.each([
  ['docs/security.md', { files: 50, titles: 20 }],
  ['test/README.md', { files: 180, titles: 130 }],
])('%s', (document, least) => {
  const named = references(document);

  it('must name tests', () => {
    expect(named.length).toBeGreaterThan(least.files);
    expect(named.filter(({ title }) => title !== null).length).toBeGreaterThan(least.titles);
  });

  it('must name files that are there', () => {
    expect(named.map(({ file }) => file).filter((file) => !existsSync(file))).toEqual([]);
  });

  it('must quote the tests in them', () => {
    const isQuoted = ({ file, title }: Reference): boolean => readFileSync(file, 'utf8').includes(title ?? '');
    const tests = named.filter(({ file }) => file.endsWith('spec.ts') && existsSync(file));
    expect(tests.filter((each) => !isQuoted(each))).toEqual([]);
  });
});

it('docs/security.md must say of each item of the benchmark what is done', () => {
  const items = [...readFileSync('docs/security.md', 'utf8').matchAll(/^\| 5\.(\d+) +\| [^|]+ \| ([^|]+) \|$/gm)];
  expect(items.map(([, number]) => Number(number))).toEqual(Array.from({ length: 32 }, (_, index) => index + 1));
});

describe('prose and tables', () => {
  const documents = ['.', 'docs', 'docs/decisions', 'bench', 'test', 'test/faults'].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  );

  it.each(documents)('of %s must be 120 columns wide at most', (document) => {
    const text = readFileSync(document, 'utf8').replaceAll(/^```[^]*?^```/gm, '');
    expect(text.split('\n').filter((line) => line.length > 120)).toEqual([]);
  });

  const isCode = (name: string): boolean => /\.(ts|m?js)$/.test(name);
  const packages = ['src', 'test', 'scripts']
    .flatMap((folder) => readdirSync('packages').map((name) => join('packages', name, folder)))
    .filter((folder) => existsSync(folder));
  const ours = ['src', 'test', 'scripts', 'bench', ...packages].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  );
  const generated = join('packages', 'client', 'src', 'api-types.ts');
  const code = readdirSync('.')
    .concat(ours)
    .filter((name) => isCode(name) && name !== generated);

  it('of comments must be 120 columns wide at most', () => {
    const isWide = (line: string): boolean => line.length > 120 && /^\s*(\/\/|\/\*|\* )/.test(line);
    const wide = code.flatMap((file) => readFileSync(file, 'utf8').split('\n').filter(isWide));
    expect(wide).toEqual([]);
  });
});
