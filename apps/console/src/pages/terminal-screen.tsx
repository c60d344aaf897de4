import { isBerthError, type Terminal as Session } from '@berth/client';
import { effect, signal } from '@preact/signals';
import { FitAddon } from '@xterm/addon-fit';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import type { Container } from '../data/live';
import { Dialog } from '../ui/dialog';
import { isDark } from '../ui/theme';
import { say, sayFault } from '../ui/toasts';
import { inWords, reasonInWords } from '../words/errors';
import { terminalWords } from '../words/terminals';
import { Explanation, ReloadButton, type Search, SearchBar, TouchKeys } from './terminal-bars';
import { type Ending, endingOf, PAUSED, refusalOf, STOPPED } from './terminal-endings';
import { bytesOf, FONT_SIZE, fontSizeFrom, HeldControl, type Pasting, pastingOf, shortcutOf } from './terminal-keys';
import type { TouchKey } from './terminal-keys';
import { findMatches, type Match } from './terminal-search';
import { sendText } from './terminal-text';

const THEMES = {
  light: {
    background: '#fbfcfc',
    foreground: '#14181c',
    cursor: '#0b5f8f',
    cursorAccent: '#fbfcfc',
    selectionBackground: '#bcdcf0',
    black: '#14181c',
    red: '#b3261e',
    green: '#17753c',
    yellow: '#8a5200',
    blue: '#0b5f8f',
    magenta: '#8a2e82',
    cyan: '#0b6b70',
    white: '#5f6a75',
    brightBlack: '#4c5660',
    brightRed: '#c5362d',
    brightGreen: '#1c8747',
    brightYellow: '#9a6200',
    brightBlue: '#1170a8',
    brightMagenta: '#9d3f95',
    brightCyan: '#0d7c82',
    brightWhite: '#14181c',
  },
  dark: {
    background: '#0c0f11',
    foreground: '#e7ebee',
    cursor: '#62b8ec',
    cursorAccent: '#0c0f11',
    selectionBackground: '#24506e',
    black: '#272e35',
    red: '#ff8d84',
    green: '#5fd08a',
    yellow: '#f0b35a',
    blue: '#62b8ec',
    magenta: '#e39bdc',
    cyan: '#5fd0d0',
    white: '#c8d0d7',
    brightBlack: '#8e99a4',
    brightRed: '#ffaaa3',
    brightGreen: '#86dfa7',
    brightYellow: '#f6c987',
    brightBlue: '#8fcdf3',
    brightMagenta: '#edb9e8',
    brightCyan: '#8ce0e0',
    brightWhite: '#ffffff',
  },
};

const FONT_SIZE_KEY = 'berth.terminal-font-size';
/** In pixels, of all terminals of this browser. */
const fontSize = signal(fontSizeFrom(localStorage.getItem(FONT_SIZE_KEY)));

/** Changes the font size of all terminals, and remembers it in this browser. */
export function resizeFont(by: 'larger' | 'smaller' | 'usual-size'): void {
  const wanted = by === 'usual-size' ? FONT_SIZE.usual : fontSize.value + (by === 'larger' ? 1 : -1);
  fontSize.value = fontSizeFrom(String(wanted));
  localStorage.setItem(FONT_SIZE_KEY, String(fontSize.value));
}

/** What the page does with a terminal from outside of its screen. */
export interface ScreenControls {
  focus(): void;
  copy(): Promise<void>;
  paste(): Promise<void>;
  selectAll(): void;
  /** Opens the search, or goes back to its field. */
  search(): void;
}

interface ScreenProps {
  readonly container: Pick<Container, 'db_id' | 'status'>;
  /** To come back to. */
  readonly session: string | null;
  /** True if this client takes over the writing as soon as it is attached. */
  readonly isWriter: boolean;
  readonly isSeen: boolean;
  /** How the shell ended that was here before the page was loaded, in words. */
  readonly ended: string | null;
  /** @param ended how it ended, if another shell is to take its place when the page is loaded again */
  readonly onSession: (session: string | null, ended?: string) => void;
  /** The program in the terminal set a title. */
  readonly onTitle: (title: string) => void;
  /** Called with the controls while the screen exists. */
  readonly onControls: (controls: ScreenControls | null) => void;
}

/** How long input waits for a server that does not answer: blindly typed, it must not run minutes later. */
const DROP_INPUT_AFTER_MS = 5000;
/** Output that arrives while the search is open is searched at most this often. */
const SEARCH_AGAIN_MS = 500;
/** The search lies over the first rows, as xterm.js (6.0.0) drops its selection when the number of rows changes. */
const ROWS_BEHIND_SEARCH = 3;
/** Lines and characters of a text that the question before pasting shows. */
const PREVIEW = { lines: 10, chars: 800 } as const;

const { states, clipboard } = terminalWords;

interface Drawn {
  readonly terminal: Terminal;
  readonly fit: () => void;
  readonly session: () => Session;
  /** Attaches again after the container was resumed, if the connection broke while it was paused. */
  readonly awake: () => void;
  /** Sends what a composition holds, and then calls back. */
  readonly afterComposition: (then: () => void) => void;
}

/** One terminal as xterm.js draws it. */
export function Screen(props: ScreenProps): JSX.Element {
  const { container, session, isWriter, isSeen, ended, onSession, onTitle, onControls } = props;
  const { db_id, status } = container;
  const place = useRef<HTMLDivElement>(null);
  const screen = useRef<Drawn | null>(null);
  const [isInterrupted, setInterrupted] = useState(false);
  const [isWatching, setWatching] = useState(false);
  const [ending, setEnding] = useState<Ending | null>(null);
  /** Shown until the user types. */
  const [note, setNote] = useState(session === null && ended !== null ? states.newShell(ended) : null);
  const [isAway, setAway] = useState(false);
  /** Counts the shells that were started in this place. */
  const [round, setRound] = useState(0);
  const [pasting, setPasting] = useState<Pasting | null>(null);
  const [hasControl, setControl] = useState(false);
  const control = useRef(new HeldControl(setControl)).current;
  const { search, openSearch, runSearch, stepSearch, closeSearch } = useSearch(screen);
  // For callbacks that outlive a render.
  const latest = useRef({ status });
  latest.current = { status };

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const terminal = new Terminal({
      fontFamily: getComputedStyle(element).getPropertyValue('--mono'),
      fontSize: fontSize.peek(),
      scrollback: 5000,
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      // Makes colours of a program stronger that are too pale for the background.
      minimumContrastRatio: 4.5,
      screenReaderMode: true,
    });
    const fitting = new FitAddon();
    terminal.loadAddon(fitting);
    terminal.loadAddon(new WebLinksAddon());
    terminal.open(element);
    const disposeTheme = effect(() => {
      terminal.options.theme = isDark.value ? THEMES.dark : THEMES.light;
    });
    const fit = (): void => {
      if (element.clientHeight > 0) fitting.fit();
    };
    const disposeFont = effect(() => {
      terminal.options.fontSize = fontSize.value;
      fit();
    });
    const observer = new ResizeObserver(fit);
    observer.observe(element);
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.type !== 'keydown') return true;
      // A terminal that takes no input gives Tab back: the button of the explanation is next.
      if (event.key === 'Tab' && terminal.options.disableStdin) return false;
      // The page handles it, where the event arrives next; pasting is the browser's.
      return shortcutOf(event) === null;
    });
    terminal.onTitleChange(onTitle);
    const onPaste = (event: ClipboardEvent): void => {
      event.preventDefault();
      event.stopPropagation();
      requestPaste(event.clipboardData?.getData('text/plain') ?? '');
    };
    element.addEventListener('paste', onPaste, true);

    let isLeft = false;
    let hasDropped = false;
    let present: Session;
    /** The connection broke while the container was paused: to attach again would resume it. */
    let isSuspended = false;
    const attach = (to: string | null, after = 0): void => {
      isSuspended = false;
      const own = berth.terminal(db_id, {
        cols: terminal.cols,
        rows: terminal.rows,
        takeover: to === null || isWriter,
        ...(to !== null && { session: to, after }),
        dropInputAfterMs: DROP_INPUT_AFTER_MS,
        onOutput: (bytes) => new Promise((resolve) => terminal.write(bytes, resolve)),
        onAttached: ({ session: attached, gap }) => {
          setInterrupted(false);
          if (hasDropped) setNote(states.wasAway);
          hasDropped = false;
          setAway(false);
          if (gap) terminal.reset();
          onSession(attached);
          present.resize(terminal.cols, terminal.rows);
        },
        onRole: (role) => setWatching(role === 'watcher'),
        onInterrupted: () => {
          setInterrupted(true);
          if (latest.current.status !== 'paused' || own.id === undefined) return;
          isSuspended = true;
          own.detach();
        },
      });
      present = own;
      const isOld = (): boolean => isLeft || isSuspended || own !== present;
      own.opened.catch((error: unknown) => {
        if (isOld()) return;
        // The shell of before the reload has ended meanwhile: another one takes its place.
        if (to !== null && isBerthError(error, 'terminal_not_found')) {
          setNote(states.newShell(states.unknownEnd));
          attach(null);
        } else refuse(error);
      });
      own.ended.then(
        (end) => {
          if (!isOld() && own.role !== null) finish(endingOf(end, (detail) => reasonInWords(detail)));
        },
        (error: unknown) => {
          // Refused after a broken connection; `opened` reports a refusal of the first attempt.
          if (!isOld() && own.role !== null) refuse(error);
        },
      );
    };
    const refuse = (error: unknown): void => {
      const isSignedOut = isBerthError(error, 'unauthorized');
      const refusal = refusalOf(isBerthError(error) ? error.code : null, inWords(error));
      // The shell continues for a while: the next sign-in comes back to it.
      if (isSignedOut) setEnding(refusal);
      else finish(refusal);
    };
    const finish = (by: Ending): void => {
      setEnding(by);
      onSession(null, by.isWanted || by.action === 'none' ? undefined : by.title);
    };
    const type = (data: string | Uint8Array): void => {
      present.write(data).then(
        () => setAway((hasDropped = false)),
        (error: unknown) => {
          if (!isLeft && isBerthError(error, 'connection_failed')) setAway((hasDropped = true));
        },
      );
    };
    sendText(terminal, (text) => {
      // What begins with an escape may be the answer to a question of the shell's.
      if (!text.startsWith('\u001b')) setNote(null);
      const sent = control.apply(text);
      if (sent !== '') type(sent);
    });
    terminal.onBinary((text) => type(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => present.resize(cols, rows));
    let composed = '';
    terminal.textarea?.addEventListener('compositionupdate', ({ data }) => {
      composed = data;
      const sent = control.compose(data);
      if (sent !== null) type(sent);
    });
    terminal.textarea?.addEventListener('compositionend', () => (composed = ''));
    attach(round === 0 ? session : null);
    screen.current = {
      terminal,
      fit,
      session: () => present,
      awake: () => {
        if (isSuspended) attach(present.id ?? null, present.position);
      },
      afterComposition: (then) => {
        const text = composed;
        if (text !== '') {
          // The browser ends the composition when the focus leaves. xterm.js (6.0.0) then empties its text field before
          // it would send the text.
          terminal.textarea?.blur();
          terminal.focus();
          terminal.input(text);
        }
        then();
      },
    };

    return () => {
      isLeft = true;
      disposeTheme();
      disposeFont();
      observer.disconnect();
      element.removeEventListener('paste', onPaste, true);
      present.detach();
      terminal.dispose();
      screen.current = null;
    };
  }, [round]);

  useEffect(() => {
    if (!isSeen) return;
    screen.current?.fit();
    // A field that is typed in, as the name of a tab, keeps the focus.
    if (!document.activeElement?.matches('input')) screen.current?.terminal.focus();
  }, [isSeen, round]);

  const isDown = status === 'stopped' || status === 'error';
  const explanation = status === 'paused' ? PAUSED : ending && explained(ending, { isDown });
  const isClosed = explanation !== null;
  useEffect(() => {
    const drawn = screen.current;
    if (!drawn) return;
    drawn.terminal.options.disableStdin = isClosed;
    // The button that was pressed is gone.
    if (!isClosed && isSeen && document.activeElement === document.body) drawn.terminal.focus();
  }, [isClosed, round]);
  useEffect(() => {
    if (status !== 'paused') screen.current?.awake();
  }, [status]);

  const restart = (): void => {
    setEnding(null);
    setNote(null);
    setInterrupted(false);
    setAway(false);
    setWatching(false);
    closeSearch();
    onTitle('');
    setRound((before) => before + 1);
  };
  /** True once the container went down under a shell. */
  const wentDown = useRef(false);
  useEffect(() => {
    if (isDown) wentDown.current = true;
    if (status !== 'running' || !wentDown.current || ending === null) return;
    wentDown.current = false;
    if (ending.isWanted || ending.action === 'none' || ending.action === 'reload') return;
    restart();
    setNote(states.newShell(STOPPED.title));
  }, [status, ending]);

  // When the question is gone: until then it keeps the focus.
  useEffect(() => (pasting ? () => screen.current?.terminal.focus() : undefined), [pasting]);
  const requestPaste = (copied: string): void => {
    const drawn = screen.current;
    if (!drawn || drawn.terminal.options.disableStdin) return;
    const asked = pastingOf(copied, { isBracketed: drawn.terminal.modes.bracketedPasteMode });
    if (asked.text === '') say(clipboard.isEmpty);
    else if (asked.needsQuestion) setPasting(asked);
    else {
      drawn.terminal.paste(asked.text);
      drawn.terminal.focus();
    }
  };

  useEffect(() => {
    onControls({
      focus: () => screen.current?.terminal.focus(),
      copy: async () => {
        const terminal = screen.current?.terminal;
        if (terminal) await copySelection(terminal);
        terminal?.focus();
      },
      paste: async () => {
        try {
          requestPaste(await navigator.clipboard.readText());
        } catch {
          // Also where there is no `clipboard`: the browser has it on pages over HTTPS alone.
          sayFault(new Error(clipboard.cannotRead));
        }
      },
      selectAll: () => {
        screen.current?.terminal.selectAll();
        screen.current?.terminal.focus();
      },
      search: openSearch,
    });
    return () => onControls(null);
  }, []);

  const pressTouchKey = (key: TouchKey): void => {
    if (key === 'Control') {
      control.isHeld = !control.isHeld;
      return;
    }
    const drawn = screen.current;
    drawn?.afterComposition(() => {
      const { applicationCursorKeysMode: isApplication } = drawn.terminal.modes;
      const bytes = bytesOf(key, { hasControl: control.isHeld, isApplication });
      // A character is given its Ctrl where all typed text is.
      if (bytes.startsWith('\u001b')) control.isHeld = false;
      drawn.terminal.input(bytes);
    });
  };

  const passing = isAway
    ? states.away
    : isInterrupted
      ? states.interrupted
      : (note ?? (isWatching ? states.watching : null));
  return (
    <div class="terminal-screen" hidden={!isSeen}>
      {search && <SearchBar search={search} onSearch={runSearch} onStep={stepSearch} onClose={closeSearch} />}
      {!isClosed && passing !== null && (
        <p class="terminal-says" role="status">
          <span class="grow">{passing}</span>
          {isInterrupted && <ReloadButton />}
          {!isInterrupted && isWatching && (
            <button
              type="button"
              class="button slim"
              onClick={() => {
                screen.current?.session().takeOver();
                screen.current?.terminal.focus();
              }}
            >
              {terminalWords.actions.takeOver}
            </button>
          )}
        </p>
      )}
      <div class="terminal-place" ref={place} />
      {explanation && <Explanation of={explanation} container={db_id} onRestart={restart} />}
      {!isClosed && <TouchKeys hasControl={hasControl} onKey={pressTouchKey} />}
      {pasting && (
        <Dialog
          title={clipboard.pasteQuestion(pasting.lines)}
          action={terminalWords.paste}
          onClose={() => setPasting(null)}
          onSubmit={() => screen.current?.terminal.paste(pasting.text)}
        >
          <p>{clipboard.pasteWarning}</p>
          <pre class="terminal-preview">{previewOf(pasting.text)}</pre>
        </Dialog>
      )}
    </div>
  );
}

/** The explanation that fits the container as it is now. */
function explained(ending: Ending, { isDown }: { readonly isDown: boolean }): Ending {
  if (isDown) return ending.action === 'restart' ? STOPPED : ending;
  // The container is running again.
  return ending.action === 'start' ? { ...ending, action: 'restart' } : ending;
}

function previewOf(text: string): string {
  const lines = text.split(/\r\n|\r|\n/);
  const shown = lines.slice(0, PREVIEW.lines).join('\n').slice(0, PREVIEW.chars);
  return shown.length < text.trimEnd().length ? `${shown}\n…` : shown;
}

async function copySelection(terminal: Terminal): Promise<void> {
  const text = terminal.getSelection();
  if (text === '') {
    say(clipboard.nothingSelected);
    return;
  }
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyByCommand(terminal, text)) {
      sayFault(new Error(clipboard.cannotWrite));
      return;
    }
  }
  say(clipboard.copied);
}

/** The older way to copy, which browsers also allow on pages over plain HTTP. */
function copyByCommand({ textarea }: Terminal, text: string): boolean {
  if (!textarea) return false;
  // Browsers copy only where text is selected in the page. xterm.js puts its own selection in its place.
  const before = textarea.value;
  textarea.value = text;
  textarea.select();
  try {
    // oxlint-disable-next-line typescript/no-deprecated -- the only way without HTTPS
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    textarea.value = before;
  }
}

interface SearchControls {
  readonly search: Search | null;
  readonly openSearch: () => void;
  readonly runSearch: (asked: Pick<Search, 'term' | 'isCaseSensitive'>) => void;
  readonly stepSearch: (step: -1 | 1) => void;
  readonly closeSearch: () => void;
}

/** The search in what a terminal has of its output. The selected match is the terminal's selection. */
function useSearch(screen: { readonly current: Drawn | null }): SearchControls {
  const [search, setSearch] = useState<Search | null>(null);
  const matches = useRef<readonly Match[]>([]);
  const selected = useRef(-1);
  /** The search that is open, or was the last. */
  const last = useRef<Pick<Search, 'term' | 'isCaseSensitive'>>({ term: '', isCaseSensitive: false });

  /** @param at chooses among the matches; −1: none */
  const show = (terminal: Terminal, at: number): void => {
    const match = matches.current[at];
    selected.current = match ? at : -1;
    setSearch({ ...last.current, count: matches.current.length, at: selected.current });
    if (!match) return;
    terminal.select(match.column, match.row, match.cells);
    const { viewportY } = terminal.buffer.active;
    const covered = viewportY > 0 ? ROWS_BEHIND_SEARCH : 0;
    if (match.row < viewportY + covered || match.row >= viewportY + terminal.rows) {
      terminal.scrollLines(match.row - viewportY - Math.floor(terminal.rows / 2));
    }
  };
  const find = (terminal: Terminal): void => {
    const { term, isCaseSensitive } = last.current;
    matches.current = findMatches(terminal.buffer.active, term, { columns: terminal.cols, isCaseSensitive });
  };
  const indexOfSelected = (terminal: Terminal): number => {
    const start = terminal.getSelectionPosition()?.start;
    return start ? matches.current.findIndex(({ row, column }) => row === start.y && column === start.x) : -1;
  };

  const runSearch = (asked: Pick<Search, 'term' | 'isCaseSensitive'>): void => {
    const terminal = screen.current?.terminal;
    if (!terminal) return;
    last.current = asked;
    find(terminal);
    // A longer term stays where it is; otherwise the newest match that is seen, or the newest of all.
    const same = indexOfSelected(terminal);
    terminal.clearSelection();
    const bottom = terminal.buffer.active.viewportY + terminal.rows;
    const seen = matches.current.findLastIndex(({ row }) => row < bottom);
    show(terminal, same >= 0 ? same : seen >= 0 ? seen : matches.current.length - 1);
  };
  const openSearch = (): void => {
    const drawn = screen.current;
    if (!drawn) return;
    const text = drawn.terminal.getSelection();
    const field = drawn.terminal.element?.closest('.terminal-screen')?.querySelector<HTMLInputElement>('.input');
    if (field) {
      field.focus();
      field.select();
    } else runSearch(text === '' || /[\r\n]/.test(text) ? last.current : { ...last.current, term: text });
  };
  const stepSearch = (step: -1 | 1): void => {
    const terminal = screen.current?.terminal;
    const { length } = matches.current;
    if (!terminal || length === 0) return;
    const at = indexOfSelected(terminal);
    show(terminal, at < 0 ? (step < 0 ? length - 1 : 0) : (at + step + length) % length);
  };
  const closeSearch = (): void => {
    setSearch(null);
    matches.current = [];
    screen.current?.terminal.focus();
  };

  const isOpen = search !== null;
  useEffect(() => {
    const terminal = screen.current?.terminal;
    if (!terminal || !isOpen) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wasResized = false;
    const again = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        find(terminal);
        if (wasResized && selected.current >= 0) show(terminal, Math.min(selected.current, matches.current.length - 1));
        else {
          selected.current = indexOfSelected(terminal);
          setSearch({ ...last.current, count: matches.current.length, at: selected.current });
        }
        wasResized = false;
      }, SEARCH_AGAIN_MS);
    };
    const listeners = [
      terminal.onWriteParsed(again),
      terminal.onResize(() => {
        wasResized = true;
        again();
      }),
    ];
    return () => {
      clearTimeout(timer);
      for (const listener of listeners) listener.dispose();
    };
  }, [isOpen]);

  return { search, openSearch, runSearch, stepSearch, closeSearch };
}
