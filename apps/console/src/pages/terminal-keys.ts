import { terminalWords } from '../words/terminals';

/** Keys, pasted text and sizes of a terminal: what belongs to the page, and what the shell gets. */

/** What a key in a terminal does to the page; all other keys are the shell's. */
export type Shortcut = 'leave' | 'paste' | 'copy' | 'search' | 'full-screen' | 'larger' | 'smaller' | 'usual-size';

type Key = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'shiftKey' | 'altKey' | 'metaKey'>;

const WITH_SHIFT: Readonly<Record<string, Shortcut>> = {
  c: 'copy',
  v: 'paste',
  f: 'search',
  enter: 'full-screen',
  '+': 'larger',
};

// Not with Shift: Ctrl+Shift+- is Ctrl+_ in a shell, which undoes an edit.
const WITHOUT_SHIFT: Readonly<Record<string, Shortcut>> = {
  '.': 'leave',
  v: 'paste',
  '+': 'larger',
  '=': 'larger',
  '-': 'smaller',
  '0': 'usual-size',
};

/** Finds the shortcut of a pressed key, if it is one. */
export function shortcutOf({ key, ctrlKey, shiftKey, altKey, metaKey }: Key): Shortcut | null {
  if (!ctrlKey || altKey || metaKey) return null;
  return (shiftKey ? WITH_SHIFT : WITHOUT_SHIFT)[key.toLowerCase()] ?? null;
}

/** Font sizes in pixels. */
export const FONT_SIZE = { smallest: 8, usual: 13, largest: 32 } as const;

/** A stored font size that may be missing, or may have been changed by hand. */
export function fontSizeFrom(stored: string | null): number {
  const size = Math.round(Number(stored));
  if (stored === null || stored === '' || Number.isNaN(size)) return FONT_SIZE.usual;
  return Math.min(FONT_SIZE.largest, Math.max(FONT_SIZE.smallest, size));
}

/** How text from a clipboard is pasted. */
export interface Pasting {
  readonly text: string;
  readonly lines: number;
  /** True if the shell would run the lines one by one as they arrive. */
  readonly needsQuestion: boolean;
}

const isControl = (code: number): boolean => code < 0x20 || (code >= 0x7f && code < 0xa0);

/**
 * Removes control characters but tabs and line breaks: an escape sequence in copied text could end the paste, and what
 * follows it would run as if it was typed.
 *
 * @param isBracketed the program told the terminal that it recognizes pasted text, and runs none of it by itself
 */
export function pastingOf(copied: string, { isBracketed }: { readonly isBracketed: boolean }): Pasting {
  const text = Array.from(copied)
    .filter((char) => char === '\t' || char === '\n' || char === '\r' || !isControl(char.codePointAt(0) ?? 0))
    .join('');
  const lines = text.replace(/(\r\n|\r|\n)$/, '').split(/\r\n|\r|\n/).length;
  return { text, lines, needsQuestion: lines > 1 && !isBracketed };
}

/** The keys that a keyboard on a screen lacks, or hides. */
export const TOUCH_KEYS = [
  [terminalWords.keys.escape, 'Escape'],
  [terminalWords.keys.control, 'Control'],
  [terminalWords.keys.tab, 'Tab'],
  ['←', 'Left'],
  ['↓', 'Down'],
  ['↑', 'Up'],
  ['→', 'Right'],
  ['|', 'Pipe'],
  ['/', 'Slash'],
  ['-', 'Hyphen'],
  ['~', 'Tilde'],
] as const;

export type TouchKey = (typeof TOUCH_KEYS)[number][1];

const ARROWS: Readonly<Partial<Record<TouchKey, string>>> = { Up: 'A', Down: 'B', Right: 'C', Left: 'D' };
const PLAIN: Readonly<Partial<Record<TouchKey, string>>> = {
  Escape: '\u001b',
  Tab: '\t',
  Pipe: '|',
  Slash: '/',
  Hyphen: '-',
  Tilde: '~',
};

/** What xterm sends for a key. @param options.isApplication the program asked for the other form of arrow keys */
export function bytesOf(
  key: TouchKey,
  { hasControl, isApplication }: { readonly hasControl: boolean; readonly isApplication: boolean },
): string {
  const arrow = ARROWS[key];
  if (arrow === undefined) return PLAIN[key] ?? '';
  if (hasControl) return `\u001b[1;5${arrow}`;
  return `\u001b${isApplication ? 'O' : '['}${arrow}`;
}

/** The character that Ctrl makes of a typed one; the same one if there is none. */
export function withControl(char: string): string {
  if (char === ' ') return '\0';
  if (char === '?') return '\u007f';
  const code = char.toUpperCase().charCodeAt(0);
  return char.length === 1 && code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : char;
}

/**
 * The Ctrl key among the touch keys: once pressed, it is held for one typed character.
 *
 * Keyboards on a screen compose words, and send a word only when it is complete. The first character of a word that
 * is composed while Ctrl is held is sent at once, and left out of the word.
 */
export class HeldControl {
  private held = false;
  /** The composed character that has been sent; null if there is none. */
  private sent: string | null = null;

  /** @param onChange called with whether the key is held */
  constructor(private readonly onChange: (isHeld: boolean) => void) {}

  get isHeld(): boolean {
    return this.held;
  }

  set isHeld(held: boolean) {
    if (this.held === held) return;
    this.held = held;
    this.onChange(held);
  }

  /** @returns typed text as the shell gets it */
  apply(text: string): string {
    // Replies of the terminal to the program, and keys that are no characters.
    if (text === '' || text.startsWith('\u001b')) return text;
    const [first = ''] = text;
    const rest = text.slice(first.length);
    if (this.sent !== null) {
      const { sent } = this;
      this.sent = null;
      if (first === sent) return rest;
    }
    if (!this.held) return text;
    this.isHeld = false;
    return withControl(first) + rest;
  }

  /** @param composed the word so far @returns what to send at once, if anything */
  compose(composed: string): string | null {
    // The composition was given up, and no word follows.
    if (composed === '') this.sent = null;
    const [first] = composed;
    if (!this.held || first === undefined || composed !== first || withControl(first) === first) return null;
    this.isHeld = false;
    this.sent = first;
    return withControl(first);
  }
}
