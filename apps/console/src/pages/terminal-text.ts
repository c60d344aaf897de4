import type { Terminal } from '@xterm/xterm';

/**
 * Sends what the terminal sends, and text that comes without keys: from an emoji picker, dictation, a keyboard on a
 * screen. With `screenReaderMode`, xterm.js (6.0.0) leaves it in its text field. What it sends by itself is not sent
 * again: the text of keys, pasted text, and after a composition all that has come into the field by the next task.
 */
export function sendText(terminal: Terminal, send: (text: string) => void): void {
  const { textarea } = terminal;
  if (!textarea) return;
  /** The key press whose text is put into the field next has been sent. */
  let isOfKey = false;
  /** What came while xterm.js was about to send what is in the field; null while it is not. */
  let unsure: string[] | null = null;
  /** Where the last composition begins in the field; null if xterm.js is not about to send one. */
  let composedFrom: number | null = null;
  let start = 0;

  const expectSending = (): void => {
    const own = (unsure ??= []);
    // Behind the timer of xterm.js, which listens to the same events and was first.
    setTimeout(() => {
      if (unsure !== own) return;
      unsure = composedFrom = null;
      pass(own.join(''));
    }, 0);
  };
  const pass = (text: string): void => {
    if (text !== '') terminal.input(text.replace(/\r?\n/g, '\r'));
  };

  /**
   * The text of a composition. If a key comes before the timer of xterm.js, xterm.js sends the field up to the end that an
   * earlier timer noted. On a busy machine that is a part of the composition, nothing, or text before the composition.
   */
  const wholeOf = (data: string, from: number): string => {
    const inField = textarea.value.slice(from);
    return data !== '' && (inField === '' || inField.endsWith(data)) ? data : inField;
  };

  terminal.onData((data) => {
    const text = unsure?.join('') ?? '';
    const from = composedFrom;
    // A reply of the terminal to the program, which comes at any time.
    if (data.startsWith('\u001b')) {
      send(data);
      return;
    }
    unsure = composedFrom = null;
    if (from === null) {
      send(data);
      if (!data.endsWith(text)) pass(text);
    } else send(wholeOf(data, from));
  });
  textarea.addEventListener(
    'keydown',
    // oxlint-disable-next-line typescript/no-deprecated -- what xterm.js goes by; `key` differs by browser
    ({ keyCode }) => {
      isOfKey = false;
      // A key that an input method has taken: xterm.js then sends what becomes of the field.
      if (keyCode === 229) expectSending();
    },
    true,
  );
  textarea.addEventListener(
    'keypress',
    () => {
      isOfKey = true;
      // Its text comes in the same task, if it comes.
      setTimeout(() => (isOfKey = false), 0);
    },
    true,
  );
  textarea.addEventListener('compositionstart', () => (start = textarea.value.length));
  textarea.addEventListener('compositionend', () => {
    composedFrom = start;
    expectSending();
  });
  textarea.addEventListener('input', (event) => {
    const { inputType, data, isComposing } = event;
    if (isOfKey || isComposing) {
      isOfKey = false;
      return;
    }
    const text = inputType === 'insertText' ? (data ?? '') : inputType === 'insertLineBreak' ? '\n' : '';
    if (unsure) unsure.push(text);
    else pass(text);
  });
}
