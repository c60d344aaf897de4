import { signal } from '@preact/signals';
import { type ComponentType, Fragment, type JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { commonWords } from '../words/common';
import { keyboardWords } from '../words/keyboard';
import { Dialog } from './dialog';
import { SearchIcon } from './icons';
import type { PaletteProps } from './palette';
import { sayFault } from './toasts';

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
/** As it is printed beside the button. */
const PALETTE_KEYS = isMac ? keyboardWords.paletteKeys.mac : keyboardWords.paletteKeys.other;

const PRELOAD_MS = 1500;

/** The palette's script is loaded after the page's own, or when the palette is opened before. */
const Palette = signal<ComponentType<PaletteProps> | null>(null);
const isPaletteOpen = signal(false);
const isListOpen = signal(false);
/** What had the focus before the palette or the list was opened. */
let focused: HTMLElement | null = null;

async function loadPalette(): Promise<void> {
  Palette.value ??= (await import('./palette')).Palette;
}

/** Opens the command palette. */
async function openPalette(): Promise<void> {
  if (isPaletteOpen.value) return;
  noteFocus();
  try {
    await loadPalette();
    isPaletteOpen.value = true;
  } catch {
    sayFault(new Error(keyboardWords.paletteFault));
  }
}

function closePalette(): void {
  isPaletteOpen.value = false;
  giveFocusBack();
}

/** Shows the list of keyboard shortcuts. */
function openShortcuts(): void {
  noteFocus();
  isListOpen.value = true;
}

function noteFocus(): void {
  focused = document.activeElement instanceof HTMLElement ? document.activeElement : null;
}

/** Gives the focus back, unless a page or a dialog that was opened has taken it. */
function giveFocusBack(): void {
  const before = focused;
  requestAnimationFrame(() => {
    const isFree = document.activeElement === null || document.activeElement === document.body;
    if (isFree && before?.isConnected) before.focus({ preventScroll: true });
  });
}

/** Whether the key belongs to a field in which text is written. */
function isWriting(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.closest('input, textarea, select, .xterm') !== null)
  );
}

/** Whether the key belongs to the program in a terminal: in a shell Ctrl K deletes to the end of the line. */
const isTerminal = (target: EventTarget | null): boolean =>
  target instanceof Element && target.closest('.xterm') !== null;

const isPaletteKey = ({ key, ctrlKey, metaKey, altKey, shiftKey }: KeyboardEvent): boolean =>
  key.toLowerCase() === 'k' && !altKey && !shiftKey && (isMac ? metaKey && !ctrlKey : ctrlKey && !metaKey);

function onKeyDown(event: KeyboardEvent): void {
  if (isPaletteKey(event)) {
    if (!isMac && isTerminal(event.target)) return;
    // Firefox would go to its search field.
    event.preventDefault();
    event.stopPropagation();
    if (isPaletteOpen.value) closePalette();
    else if (document.querySelector('dialog[open]') === null) void openPalette();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isWriting(event.target) || document.querySelector('dialog[open]') !== null) return;
  if (event.key === '?') {
    event.preventDefault();
    openShortcuts();
  }
  if (event.key === '/') {
    const search = document.querySelector<HTMLInputElement>('main input[type="search"]');
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  }
}

/** The visible way to the command palette. */
export function PaletteButton(): JSX.Element {
  return (
    <button
      type="button"
      class="palette-button"
      title={keyboardWords.openPalette}
      aria-keyshortcuts={isMac ? 'Meta+K' : 'Control+K'}
      aria-haspopup="dialog"
      onClick={() => void openPalette()}
      // The script is there when the button is pressed.
      onPointerEnter={() => void loadPalette().catch(() => undefined)}
    >
      <SearchIcon />
      <span class="words">{keyboardWords.search}</span>
      <kbd aria-hidden="true">{PALETTE_KEYS}</kbd>
    </button>
  );
}

/** Listens for the shortcuts, and shows what they open. */
export function Keyboard({ onSignOut }: Pick<PaletteProps, 'onSignOut'>): JSX.Element {
  useEffect(() => {
    // Before the page's own handlers: a terminal or an editor may stop the event.
    addEventListener('keydown', onKeyDown, { capture: true });
    // Once the page has settled: what is typed after the very first Ctrl K must not be lost to the download.
    const preload = setTimeout(() => void loadPalette().catch(() => undefined), PRELOAD_MS);
    return () => {
      clearTimeout(preload);
      removeEventListener('keydown', onKeyDown, { capture: true });
      isPaletteOpen.value = false;
      isListOpen.value = false;
    };
  }, []);
  const Loaded = Palette.value;
  return (
    <>
      {isPaletteOpen.value && Loaded && (
        <Loaded onSignOut={onSignOut} onShortcuts={openShortcuts} onClose={closePalette} />
      )}
      {isListOpen.value && <ShortcutList />}
    </>
  );
}

/** All shortcuts of the console. */
function ShortcutList(): JSX.Element {
  const close = (): void => {
    isListOpen.value = false;
    giveFocusBack();
  };
  return (
    <Dialog title={keyboardWords.title} action={commonWords.close} isLast onClose={close}>
      {keyboardWords.shortcuts(PALETTE_KEYS).map(([where, keys]) => (
        <section key={where}>
          <h3>{where}</h3>
          <dl class="shortcuts">
            {keys.map(([each, what]) => (
              <Fragment key={each}>
                <dt>
                  <kbd>{each}</kbd>
                </dt>
                <dd>{what}</dd>
              </Fragment>
            ))}
          </dl>
        </section>
      ))}
      {!isMac && <p class="small muted">{keyboardWords.inTerminal}</p>}
    </Dialog>
  );
}
