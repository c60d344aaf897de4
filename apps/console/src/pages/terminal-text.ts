import type { Terminal } from '@xterm/xterm';

/**
 * Passes on text that comes without keys: from an emoji picker, dictation, a keyboard on a screen. With
 * `screenReaderMode`, xterm.js (6.0.0) leaves it in its text field. What it sends by itself is not sent again: the text
 * of keys, pasted text, and after a composition all that has come into the field by the next task.
 *
 * Call it after the terminal's own `onData`: that must be told first.
 */
export function passTextOn(terminal: Terminal): void {
  const { textarea } = terminal;
  if (!textarea) return;
  /** The key press whose text is put into the field next has been sent. */
  let isOfKey = false;
  /** What came while xterm.js was about to send what is in the field; null while it is not. */
  let unsure: string[] | null = null;

  const expectSending = (): void => {
    const own = (unsure ??= []);
    // Behind the timer of xterm.js, which listens to the same events and was first.
    setTimeout(() => {
      if (unsure !== own) return;
      unsure = null;
      pass(own.join(''));
    }, 0);
  };
  const pass = (text: string): void => {
    if (text !== '') terminal.input(text.replace(/\r?\n/g, '\r'));
  };

  terminal.onData((data) => {
    const text = unsure?.join('') ?? '';
    unsure = null;
    if (!data.endsWith(text)) pass(text);
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
  textarea.addEventListener('compositionend', expectSending);
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
