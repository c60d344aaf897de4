import { isBerthError, type Terminal as Session, type TerminalEnd } from '@berth/client';
import { effect } from '@preact/signals';
import { FitAddon } from '@xterm/addon-fit';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { inWords, reasonInWords } from '../data/words';
import { isDark } from '../ui/theme';
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

interface ScreenProps {
  readonly container: string;
  /** To come back to. */
  readonly session: string | null;
  /** Whether this client takes over the writing as soon as it is attached. */
  readonly isWriter: boolean;
  readonly isSeen: boolean;
  /** How the shell ended that was here before the page was loaded, in words. */
  readonly ended: string | null;
  /** @param ended how it ended, where another shell is to take its place when the page is loaded again */
  readonly onSession: (session: string | null, ended?: string) => void;
}

/** What is typed waits as long for a server that does not answer: blindly typed, it must not run minutes later. */
const DROP_INPUT_AFTER_MS = 5000;
const AWAY = 'The server does not answer. What you type is dropped until the server answers.';
const WAS_AWAY = 'What you typed while the server was away was dropped.';
const UNKNOWN_END =
  'The shell that was here has ended: the server or the container was restarted, or it was left for too long.';
const IS_NEW = 'This is a new shell.';

/** One terminal as xterm.js draws it. */
export function Screen({ container, session, isWriter, isSeen, ended, onSession }: ScreenProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const screen = useRef<{ terminal: Terminal; fit: () => void; session: () => Session } | null>(null);
  const [says, setSays] = useState<string | null>(null);
  const [isWatching, setWatching] = useState(false);
  const [isOver, setOver] = useState(false);
  /** Shown until the user types. */
  const [note, setNote] = useState(session === null && ended !== null ? `${ended} ${IS_NEW}` : null);
  const [isAway, setAway] = useState(false);
  /** One more for each shell that is begun in this place. */
  const [round, setRound] = useState(0);

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const terminal = new Terminal({
      fontFamily: getComputedStyle(element).getPropertyValue('--mono'),
      fontSize: 13,
      scrollback: 5000,
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      // What of a terminal's colours is too pale for its background is made stronger.
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
    fit();
    const observer = new ResizeObserver(fit);
    observer.observe(element);
    terminal.attachCustomKeyEventHandler((event) => isForTerminal(event, terminal, element));

    let isLeft = false;
    let hasDropped = false;
    let present: Session;
    const attach = (to: string | null): void => {
      present = berth.terminal(container, {
        cols: terminal.cols,
        rows: terminal.rows,
        takeover: to === null || isWriter,
        ...(to !== null && { session: to, after: 0 }),
        dropInputAfterMs: DROP_INPUT_AFTER_MS,
        onOutput: (bytes) => new Promise((resolve) => terminal.write(bytes, resolve)),
        onAttached: ({ session: own, gap }) => {
          setSays(null);
          if (hasDropped) setNote(WAS_AWAY);
          hasDropped = false;
          setAway(false);
          if (gap) terminal.reset();
          onSession(own);
          present.resize(terminal.cols, terminal.rows);
        },
        onRole: (role) => setWatching(role === 'watcher'),
        onInterrupted: () => setSays('The connection is broken; it is made again…'),
      });
      const own = present;
      own.opened.catch((error: unknown) => {
        if (isLeft || own !== present) return;
        // The one of before the page was loaded again has ended meanwhile: another one in its place.
        if (to !== null && isBerthError(error, 'terminal_not_found')) {
          setNote(`${UNKNOWN_END} ${IS_NEW}`);
          attach(null);
        } else finish(inWords(error));
      });
      own.ended.then(
        (end) => {
          if (isLeft || own !== present || own.role === null) return;
          const words = endInWords(end);
          finish(words, WANTED.has(end.reason) ? undefined : words);
        },
        (error: unknown) => {
          // Refused after a broken connection; `opened` reports a refusal of the first attempt.
          if (!isLeft && own === present && own.role !== null) finish(inWords(error));
        },
      );
    };
    const finish = (words: string, ended?: string): void => {
      setOver(true);
      setSays(words);
      onSession(null, ended);
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
      type(text);
    });
    terminal.onBinary((text) => type(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => present.resize(cols, rows));
    attach(round === 0 ? session : null);
    screen.current = { terminal, fit, session: () => present };

    return () => {
      isLeft = true;
      disposeTheme();
      observer.disconnect();
      present.detach();
      terminal.dispose();
      screen.current = null;
    };
  }, [round]);

  useEffect(() => {
    if (!isSeen) return;
    screen.current?.fit();
    screen.current?.terminal.focus();
  }, [isSeen, round]);

  const watching = isWatching ? 'Another window writes in this terminal; you watch.' : null;
  const shown = isAway && !isOver ? AWAY : (says ?? note ?? watching);
  return (
    <div class="terminal-screen" hidden={!isSeen}>
      {shown !== null && (
        <p class="terminal-says" role="status">
          <span class="grow">{shown}</span>
          {isOver && (
            <button
              type="button"
              class="button slim"
              onClick={() => {
                setOver(false);
                setSays(null);
                setNote(null);
                setAway(false);
                setRound((before) => before + 1);
              }}
            >
              New shell
            </button>
          )}
          {!isOver && isWatching && (
            <button
              type="button"
              class="button slim"
              onClick={() => {
                screen.current?.session().takeOver();
                screen.current?.terminal.focus();
              }}
            >
              Write here
            </button>
          )}
        </p>
      )}
      <div class="terminal-place" ref={place} />
    </div>
  );
}

/** Of keys with Ctrl, those that are the browser's or the page's, and not the shell's. */
function isForTerminal(event: KeyboardEvent, terminal: Terminal, element: HTMLElement): boolean {
  if (event.type !== 'keydown' || !event.ctrlKey || event.altKey || event.metaKey) return true;
  const key = event.key.toLowerCase();
  if (key === '.') {
    // The way out by keyboard: Tab is the shell's.
    element.closest('.terminal-area')?.querySelector<HTMLElement>('.terminal-tabs [aria-pressed="true"]')?.focus();
    event.preventDefault();
    return false;
  }
  if (key === 'v') return false;
  if (key === 'c' && event.shiftKey) {
    void navigator.clipboard.writeText(terminal.getSelection()).catch(() => undefined);
    event.preventDefault();
    return false;
  }
  return true;
}

const ENDS: Readonly<Record<string, string>> = {
  ended: 'The terminal was ended.',
  detached: 'The terminal ended, as nobody was attached to it.',
  container_stopped: 'The container has stopped.',
  container_recreated: 'The container was made anew, and its terminals ended.',
  container_deleted: 'The container was deleted.',
  server_stopped: 'The server was restarted, and the terminal ended with it.',
  lost: 'The terminal has ended: the server was restarted, or the connection to the container was lost.',
};

/** Reasons of an intended end: no new shell is started automatically. */
const WANTED: ReadonlySet<string> = new Set(['exited', 'ended', 'container_deleted']);

function endInWords({ reason, code, detail }: TerminalEnd): string {
  if (reason === 'exited') return `The shell has ended${code === null ? '' : ` with code ${String(code)}`}.`;
  const words = ENDS[reason] ?? 'The terminal has ended.';
  const why = reasonInWords(detail);
  return why === null ? words : `${words} (${why})`;
}
