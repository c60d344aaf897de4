import {
  differenceOf,
  faultsOfPairs,
  LABEL_RULES,
  newPair,
  pairsOf,
  readEnvText,
  valuesOf,
  VARIABLE_RULES,
  withValues,
} from '../src/data/pairs.ts';

describe('.env text', () => {
  it.each<[string, string, Record<string, string>, number[]]>([
    ['plain values', 'A=1\nB=two words\n', { A: '1', B: 'two words' }, []],
    ['comments and blank lines', '# all\n\nA=1 # one\n  # more\nB=a#b', { A: '1', B: 'a#b' }, []],
    ['exports', 'export A=1\n  export   B=2', { A: '1', B: '2' }, []],
    ['blanks around the sign', 'A = 1 \nB= 2', { A: '1', B: '2' }, []],
    ['an empty value', 'A=\nB=""\nC=# none', { A: '', B: '', C: '' }, []],
    ['single quotes, as they are', String.raw`A='a # b \n "c"'`, { A: String.raw`a # b \n "c"` }, []],
    ['double quotes, with escapes', String.raw`A="a\nb\t\"c\" \$d \\ \z"`, { A: 'a\nb\t"c" $d \\ \\z' }, []],
    ['backticks', 'A=`it\'s "so"`', { A: 'it\'s "so"' }, []],
    ['a comment behind quotes', 'A="1" # one\nB=2', { A: '1', B: '2' }, []],
    ['several lines in quotes', 'A="one\ntwo"\nB=3\nC=\'x\n\ny\'', { A: 'one\ntwo', B: '3', C: 'x\n\ny' }, []],
    ['a quote that is not closed', 'A="one\nB=2', { A: '"one', B: '2' }, []],
    ['quotes within a value', 'A="a" and "b"', { A: '"a" and "b"' }, []],
    ['signs in a value', 'URL=postgres://u:p@host/db?x=1&y=2', { URL: 'postgres://u:p@host/db?x=1&y=2' }, []],
    ['ends of lines of Windows', '\uFEFFA=1\r\nB="2"\r\n', { A: '1', B: '2' }, []],
    ['the last of several values', 'A=1\nB=2\nA=3', { B: '2', A: '3' }, []],
    ['lines that assign nothing', 'A=1\nnonsense\nB="x\ny"\n1C=3\n', { A: '1', B: 'x\ny' }, [2, 5]],
    ['no text', '', {}, []],
  ])('must be read: %s', (_case, text, values, leftOut) => {
    const read = readEnvText(text);
    expect([...read.values]).toEqual(Object.entries(values));
    expect(read.leftOut).toEqual(leftOut);
  });

  it('must fill the row that it is pasted into and rows behind it, and replace values of rows with the same name', () => {
    const rows = [newPair('A', 'old'), newPair(), newPair('Z', 'last')];
    const filled = withValues(rows, rows[1]?.id ?? 0, readEnvText('B=2\nA=1\nC=3').values);
    expect(filled.map(({ name, value }) => [name, value])).toEqual([
      ['A', '1'],
      ['B', '2'],
      ['C', '3'],
      ['Z', 'last'],
    ]);
    expect(withValues([newPair('KEPT', '')], 0, new Map([['B', '2']]))).toHaveLength(2);
  });
});

describe('rows', () => {
  it('must say all that is wrong, each at its row, and ignore blank ones', () => {
    const rows = [
      newPair(),
      newPair('', 'x'),
      newPair('Bad', '1'),
      newPair('a', '1'),
      newPair('a', 'x'.repeat(256)),
      { ...newPair('b'), isValueMissing: true },
    ];
    const at = (index: number): string => `labels.${String(rows[index]?.id)}`;
    expect(faultsOfPairs(rows, LABEL_RULES)).toEqual({
      [at(1)]: 'Enter a name.',
      [at(2)]: expect.stringContaining('a-z'),
      [at(4)]: expect.stringContaining('another row'),
      [`${at(4)}.value`]: 'At most 255 characters.',
      [`${at(5)}.value`]: expect.stringContaining('The link does not contain'),
    });
    const many = Array.from({ length: 65 }, (_each, index) => newPair(`V${String(index)}`, ''));
    expect(faultsOfPairs(many, VARIABLE_RULES)).toEqual({ env: 'At most 64.' });
  });

  it('must become a merge patch with what changes', () => {
    const before = pairsOf({ team: 'core', stage: 'dev', kept: '' });
    const after = [...before.slice(1), newPair('stage2', 'x'), newPair()].map((pair) =>
      pair.name === 'stage' ? { ...pair, value: 'prod' } : pair,
    );
    expect(differenceOf(before, after)).toEqual({ team: null, stage: 'prod', stage2: 'x' });
    expect(differenceOf(before, before)).toEqual({});
    expect(valuesOf(after)).toEqual({ stage: 'prod', kept: '', stage2: 'x' });
  });
});
