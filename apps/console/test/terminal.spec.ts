import { endingOf, refusalOf } from '../src/pages/terminal-endings.ts';
import { bytesOf, fontSizeFrom, HeldControl, pastingOf, shortcutOf, withControl } from '../src/pages/terminal-keys.ts';
import { findMatches, MAX_MATCHES, type SearchedBuffer } from '../src/pages/terminal-search.ts';

const WIDE = /\p{Script=Han}/u;

/** A buffer of rows as xterm.js has them: a wide character has a second, empty cell; `~` begins a wrapped row. */
function bufferOf(columns: number, ...rows: string[]): SearchedBuffer {
  const lines = rows.map((row) => {
    const text = row.replace(/^~/, '');
    const cells = Array.from(text).flatMap((char) =>
      WIDE.test(char)
        ? [
            { chars: char, width: 2 },
            { chars: '', width: 0 },
          ]
        : [{ chars: char, width: 1 }],
    );
    while (cells.length < columns) cells.push({ chars: '', width: 1 });
    return {
      isWrapped: row.startsWith('~'),
      length: columns,
      translateToString: (trimRight?: boolean): string =>
        trimRight ? text : cells.map(({ chars, width }) => (width === 0 ? '' : chars || ' ')).join(''),
      getCell: (column: number) => {
        const cell = cells[column];
        return cell && { getChars: () => cell.chars, getWidth: () => cell.width };
      },
    };
  });
  return { length: lines.length, getLine: (row) => lines[row] };
}

describe('the search in a terminal', () => {
  it.each<[string, string, SearchedBuffer, readonly (readonly number[])[]]>([
    ['nothing', '', bufferOf(8, 'a'), []],
    [
      'all places in a row, which do not overlap',
      'aa',
      bufferOf(8, 'aaaaa', 'b aa'),
      [
        [0, 0, 2],
        [0, 2, 2],
        [1, 2, 2],
      ],
    ],
    ['a text over the end of a row that was wrapped', 'cdef', bufferOf(4, 'abcd', '~efgh', '~i'), [[0, 2, 4]]],
    ['no text over the end of a line', 'cdef', bufferOf(4, 'abcd', 'efgh'), []],
    ['a text behind wide characters, in cells', 'b漢', bufferOf(8, '漢字b漢c'), [[0, 4, 3]]],
    ['a text over a cell that a wide character did not fit into', 'cd漢', bufferOf(5, 'abcd', '~漢e'), [[0, 2, 5]]],
    ['a text with spaces that were never written', 'b  c', bufferOf(4, 'ab', '~c'), [[0, 1, 4]]],
  ])('must find %s', (_name, term, buffer, expected) => {
    const columns = buffer.getLine(0)?.length ?? 0;
    const found = findMatches(buffer, term, { columns, isCaseSensitive: true });
    expect(found.map(({ row, column, cells }) => [row, column, cells])).toEqual(expected);
  });

  it('must match case if asked to, and keep its places beside letters that are longer in lower case', () => {
    const buffer = bufferOf(12, 'İ Err error');
    const find = (term: string, isCaseSensitive: boolean): number[] =>
      findMatches(buffer, term, { columns: 12, isCaseSensitive }).map(({ column }) => column);
    expect(find('ERR', false)).toEqual([2, 6]);
    expect(find('err', true)).toEqual([6]);
  });

  it('must stop counting at a limit', () => {
    const rows = Array.from({ length: 200 }, () => 'a'.repeat(100));
    const found = findMatches(bufferOf(100, ...rows), 'a', { columns: 100, isCaseSensitive: true });
    expect(found).toHaveLength(MAX_MATCHES);
  });
});

describe('keys of a terminal', () => {
  const press = (keys: string): ReturnType<typeof shortcutOf> => {
    const parts = keys.split(' ');
    const [ctrlKey, shiftKey, altKey, metaKey] = ['Ctrl', 'Shift', 'Alt', 'Meta'].map((name) => parts.includes(name));
    return shortcutOf({ key: parts.at(-1), ctrlKey, shiftKey, altKey, metaKey } as KeyboardEvent);
  };

  it.each([
    ['Ctrl Shift F', 'search'],
    ['Ctrl Shift C', 'copy'],
    ['Ctrl V', 'paste'],
    ['Ctrl Shift Enter', 'full-screen'],
    ['Ctrl +', 'larger'],
    ['Ctrl =', 'larger'],
    ['Ctrl -', 'smaller'],
    ['Ctrl 0', 'usual-size'],
    // The shell's: interrupt, search, undo, and with other keys.
    ['Ctrl c', null],
    ['Ctrl f', null],
    ['Ctrl Shift _', null],
    ['Ctrl Alt f', null],
    ['Meta c', null],
    ['Enter', null],
  ])('must take %s for %s', (keys, expected) => expect(press(keys)).toBe(expected));

  it('must be what xterm sends for keys that a phone lacks', () => {
    const plain = { hasControl: false, isApplication: false };
    expect(bytesOf('Escape', plain)).toBe('\u001b');
    expect(bytesOf('Up', plain)).toBe('\u001b[A');
    expect(bytesOf('Up', { ...plain, isApplication: true })).toBe('\u001bOA');
    expect(bytesOf('Left', { hasControl: true, isApplication: true })).toBe('\u001b[1;5D');
    expect(['c', 'C', '[', ' ', '?', '1', 'é'].map(withControl)).toEqual([
      '\u0003',
      '\u0003',
      '\u001b',
      '\0',
      '\u007f',
      '1',
      'é',
    ]);
  });

  it('must hold Ctrl for one typed character, and for none that the terminal sends itself', () => {
    const changes: boolean[] = [];
    const control = new HeldControl((isHeld) => changes.push(isHeld));
    expect(control.apply('c')).toBe('c');
    control.isHeld = true;
    expect(control.apply('\u001b[0n')).toBe('\u001b[0n');
    expect(control.apply('cd')).toBe('\u0003d');
    expect(control.apply('c')).toBe('c');
    expect(changes).toEqual([true, false]);
  });

  it('must hold Ctrl for the first character of a word that is composed, and send that once', () => {
    const control = new HeldControl(() => undefined);
    control.isHeld = true;
    expect([control.compose(''), control.compose('r'), control.compose('re')]).toEqual([null, '\u0012', null]);
    expect(control.apply('read')).toBe('ead');
    expect(control.apply('read')).toBe('read');
    control.isHeld = true;
    expect([control.compose('r'), control.compose('')]).toEqual(['\u0012', null]);
    expect(control.apply('read')).toBe('read');
  });

  it('must keep font sizes within limits for any stored text', () => {
    expect([null, '', 'x', '15', '15.4', '1', '99'].map(fontSizeFrom)).toEqual([13, 13, 13, 15, 15, 8, 32]);
  });
});

describe('text that is pasted', () => {
  it.each([
    ['one line', 'ls -l', 1, false],
    ['one line with its end', 'ls -l\n', 1, false],
    ['several lines', 'cd /\r\nls\n', 2, true],
  ])('must be asked about by its lines: %s', (_name, text, lines, needsQuestion) => {
    expect(pastingOf(text, { isBracketed: false })).toEqual({ text, lines, needsQuestion });
    expect(pastingOf(text, { isBracketed: true }).needsQuestion).toBe(false);
  });

  it('must not contain what ends the paste, and lose nothing that is text', () => {
    const pasted = pastingOf('a\u001b[201~\u009b201~\nrm\u007f\t😀é', { isBracketed: true });
    expect(pasted.text).toBe('a[201~201~\nrm\t😀é');
  });
});

describe('a terminal that takes no input', () => {
  const why = (detail: string | undefined): string | null => (detail === 'idle' ? 'unused' : null);

  it.each([
    ['exited', 7, undefined, 'The shell exited with code 7.', null, 'restart'],
    ['exited', 0, undefined, 'The shell exited.', null, 'restart'],
    ['exited', 127, undefined, 'The shell exited with code 127.', 'The last program was not found.', 'restart'],
    ['container_stopped', null, undefined, 'The container was stopped.', null, 'start'],
    ['container_stopped', null, 'idle', 'The container was stopped.', 'Reason: unused.', 'start'],
    ['ended', null, 'exec_not_allowed', 'The terminal was ended.', 'Your tier no longer allows terminals.', 'none'],
    ['of_a_later_version', null, undefined, 'The terminal has ended.', null, 'restart'],
  ])('must say what happened and what helps: %s, code %s, %s', (reason, code, detail, title, text, action) => {
    const end = { reason, code, ...(detail !== undefined && { detail }) };
    expect(endingOf(end, why)).toMatchObject({ title, text, action });
  });

  it('must say the same of a refusal', () => {
    expect(refusalOf('unauthorized', 'words')).toMatchObject({ title: 'Your session has ended.', action: 'reload' });
    expect(refusalOf('container_not_running', 'words')).toMatchObject({ action: 'start' });
    expect(refusalOf('too_many_terminals', 'words')).toMatchObject({ title: 'words', action: 'restart' });
  });
});
