import { needsShell, splitCommand } from '../src/index.ts';

describe('a command without a shell', () => {
  it.each<[text: string, words: readonly string[] | null]>([
    ['', []],
    ['  npm   start ', ['npm', 'start']],
    [`sh -c 'cd app && npm start'`, ['sh', '-c', 'cd app && npm start']],
    [String.raw`echo "two \"words\"" ''`, ['echo', 'two "words"', '']],
    [String.raw`printf 'a\nb' a"b c"d`, ['printf', String.raw`a\nb`, 'ab cd']],
    [`echo 'it`, null],
    [`echo "it`, null],
  ])('%j must be split as a shell does', (text, words) => {
    expect(splitCommand(text)).toEqual(words);
  });

  it.each([
    'a | b',
    'a && b',
    'a; b',
    'a > file',
    'a < file',
    'echo $HOME',
    'echo ${HOME}',
    'echo $(date)',
    'echo `date`',
  ])('%j must be known to need one', (text) => expect(needsShell(text)).toBe(true));

  it.each(['npm start', `sh -c 'a | b > "$HOME"'`, 'grep "a;b" file', 'echo 5$', 'python -m http.server 80'])(
    '%j must be known to need none',
    (text) => expect(needsShell(text)).toBe(false),
  );
});
