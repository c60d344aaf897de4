import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

type Json = Readonly<Record<string, unknown>>;

const documents = ['docs/openapi.json', 'docs/asyncapi.json'].map(
  (path) => JSON.parse(readFileSync(path, 'utf8')) as Json,
);
const [openapi = {}] = documents;

/** The value of every `keyword` in the documents' schemas. */
function valuesOf(keyword: string): unknown[] {
  const found: unknown[] = [];
  const look = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === keyword && (typeof value === 'string' || keyword !== 'pattern')) found.push(value);
      else if (!['example', 'examples'].includes(key)) look(value);
    }
  };
  look(documents);
  return found;
}

const patterns = [...new Set(valuesOf('pattern') as string[])];

/**
 * What the regular expressions of JavaScript, Python, Java, .NET, PCRE, Go and Rust read alike: literals, classes of
 * them, groups, alternatives and greedy repetitions of at most 1000; `\xHH`, and a backslash before what is special.
 */
const ESCAPE = String.raw`\\(?:x[0-9a-f]{2}|[.^$*+?(){}|[\]\\])`;
const CLASS = String.raw`\[\^?(?:[^\\\[\]]|${ESCAPE})+\]`;
const REPEATED = String.raw`(?:[*+?]|\{[0-9]{1,3}(?:,[0-9]{1,3})?\}|\{[0-9]{1,3},\})?(?![*+?{])`;
const OPENED = String.raw`\((?:\?:)?(?![*+?{])`;
const COMMON = new RegExp(
  String.raw`^\^(?:${OPENED}|\||(?:${CLASS}|${ESCAPE}|\)|[^\\.^$*+?(){}|[\]])${REPEATED})*\$?$`,
  'u',
);

describe('the patterns of the documents', () => {
  it('must use what the regular expressions of all languages have in common', () => {
    expect(patterns.length).toBeGreaterThan(15);
    expect(patterns.filter((pattern) => !COMMON.test(pattern))).toEqual([]);
    for (const foreign of [
      '^\\0$',
      '^\\p{C}$',
      '^(?!a)b$',
      '^(?<=a)b$',
      '^a+?$',
      '^a{1,1001}$',
      '^\\d$',
      '^.$',
      'a',
      '^[[a]$',
    ]) {
      expect([foreign, COMMON.test(foreign)]).toEqual([foreign, false]);
    }
  });

  it("must be taken by Python's re, and say the same there", () => {
    const inputs = [
      '',
      'a',
      ' a',
      'a\u00a0',
      'é',
      '💥',
      '/a/..',
      '/a',
      '\u0000',
      'x'.repeat(65),
      '10.0.0.1:80',
      'agent:x',
    ];
    const program =
      'import json, re, sys\npatterns, inputs = json.load(sys.stdin)\n' +
      'print(json.dumps([[bool(re.search(p, i)) for i in inputs] for p in patterns]))';
    const answer = execFileSync('python3', ['-c', program], { input: JSON.stringify([patterns, inputs]) });
    const here = patterns.map((pattern) => inputs.map((input) => new RegExp(pattern, 'u').test(input)));
    expect(JSON.parse(answer.toString())).toEqual(here);
  });
});

describe('a default', () => {
  it('must be said in words, as generators make fields that have the keyword required', () => {
    const schemas = (openapi['components'] as Json)['schemas'] as Json;
    const fields = Object.entries(schemas).flatMap(([name, schema]) => {
      const { properties = {} } = schema as { properties?: Json };
      return Object.entries(properties).map(([field, part]) => ({
        at: `${name}.${field}`,
        text: JSON.stringify(part),
      }));
    });
    expect(fields.filter(({ text }) => text.includes('"default":')).map(({ at }) => at)).toEqual([]);
    const timeout = fields.find(({ at }) => at === 'RunCommandDto.timeout_ms');
    expect(timeout?.text).toContain('Default: 60000.');
  });
});
