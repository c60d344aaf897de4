import type { TerminalView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { type Container, now } from '../data/live';
import { ask } from '../ui/dialog';
import { CrossIcon, PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Ago } from '../ui/parts';
import { commonWords } from '../words/common';
import { terminalWords } from '../words/terminals';
import '../styles/terminal.css';
import {
  FullScreenIcon,
  keepFocus,
  LargerTextIcon,
  LeaveFullScreenIcon,
  SearchIcon,
  SmallerTextIcon,
} from './terminal-bars';
import { type Shortcut, shortcutOf } from './terminal-keys';
import { resizeFont, Screen, type ScreenControls } from './terminal-screen';

/** A terminal of this browser tab; without a session it is yet to be opened. */
interface Tab {
  readonly key: number;
  readonly session: string | null;
  /** False if another window is the writer, and is to stay it. */
  readonly isWriter: boolean;
  /** How the shell ended that was here, if another one is to take its place. */
  readonly ended: string | null;
  /** Given by the user. */
  readonly name: string | null;
}

/** Kept by browser tab, so that a reloaded page comes back to its terminals. */
const keptAs = (id: string): string => `berth.terminals-of.${id}`;

function readKept(id: string): readonly Tab[] {
  try {
    const kept = JSON.parse(sessionStorage.getItem(keptAs(id)) ?? '[]') as readonly Omit<Tab, 'key'>[];
    return kept.map((tab) => ({ ...tab, name: tab.name ?? null, key: ++lastKey }));
  } catch {
    return [];
  }
}

function keep(id: string, tabs: readonly Tab[]): void {
  const kept = tabs.flatMap(({ session, isWriter, ended, name }) =>
    session === null && ended === null ? [] : { session, isWriter, ended, name },
  );
  sessionStorage.setItem(keptAs(id), JSON.stringify(kept));
}

let lastKey = 0;
const fresh = (): Tab => ({ key: ++lastKey, session: null, isWriter: true, ended: null, name: null });

/** Names by session, kept in this browser: the server has no names for terminals. */
const NAMES_KEY = 'berth.terminal-names';
/** More than a user has open; the oldest are dropped. */
const MAX_NAMES = 50;

function readNames(): Readonly<Record<string, string>> {
  try {
    return JSON.parse(localStorage.getItem(NAMES_KEY) ?? '{}') as Readonly<Record<string, string>>;
  } catch {
    return {};
  }
}

function keepName(session: string, name: string | null): void {
  const names = readNames();
  if ((names[session] ?? null) === name) return;
  const others = Object.entries(names).filter(([each]) => each !== session);
  const kept = name === null ? others : [...others, [session, name] as const];
  localStorage.setItem(NAMES_KEY, JSON.stringify(Object.fromEntries(kept.slice(-MAX_NAMES))));
}

/** The terminals of a container, one of them seen, and those that are open elsewhere. */
export function Terminals({ container }: { readonly container: Container }): JSX.Element {
  const { textSize, fullScreen } = terminalWords;
  const { db_id, name } = container;
  const [tabs, setTabs] = useState<readonly Tab[]>(() => {
    const kept = readKept(db_id);
    return kept.length > 0 ? kept : [fresh()];
  });
  const [seen, setSeen] = useState(tabs[0]?.key ?? 0);
  const [renamed, setRenamed] = useState<number | null>(null);
  const [isFull, setFull] = useState(false);
  /** What the programs call themselves, by tab. */
  const [titles, setTitles] = useState<ReadonlyMap<number, string>>(new Map());
  const controls = useRef(new Map<number, ScreenControls>()).current;
  const area = useRef<HTMLElement>(null);
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    keep(db_id, tabs);
    // A name also belongs to the shell that takes the place of an ended one.
    for (const { session, name: given } of tabs) if (session !== null && given !== null) keepName(session, given);
  }, [tabs]);
  // On a phone there is room for two of them.
  useEffect(() => bar.current?.querySelector('.seen')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [seen]);
  useAlone(area, isFull);
  useVisibleHeight(area);

  const at = tabs.findIndex(({ key }) => key === seen);
  const labelOf = (tab: Tab | undefined, index: number): string => tab?.name ?? terminalWords.nthTerminal(index + 1);
  const shownTitle = tabs[at]?.name ?? titles.get(seen) ?? '';
  useEffect(() => {
    document.title = `${shownTitle === '' ? terminalWords.terminal : shownTitle} · ${name} · Berth`;
    return () => {
      document.title = `${name} · Berth`;
    };
  }, [shownTitle, name]);

  const change = (key: number, of: Partial<Tab>): void =>
    setTabs((before) => before.map((tab) => (tab.key === key ? { ...tab, ...of } : tab)));
  const add = (tab: Tab): void => {
    setTabs([...tabs, tab]);
    setSeen(tab.key);
  };
  const close = (key: number): void => {
    const rest = tabs.filter((tab) => tab.key !== key);
    const next = rest.length > 0 ? rest : [fresh()];
    const place = tabs.findIndex((tab) => tab.key === key);
    setTabs(next);
    if (seen === key) setSeen((next[Math.min(place, next.length - 1)] ?? next[0])?.key ?? 0);
  };
  const focusTab = (index: number): void =>
    bar.current?.querySelectorAll<HTMLElement>('.terminal-tab > [aria-pressed]')[index]?.focus();
  const rename = ({ key, session }: Tab, { to, isByKey }: Renaming): void => {
    setRenamed(null);
    if (to !== null) {
      const given = to.trim() === '' ? null : to.trim();
      change(key, { name: given });
      if (session !== null) keepName(session, given);
    }
    // The field is replaced by the tab first.
    if (isByKey) requestAnimationFrame(() => focusTab(tabs.findIndex((tab) => tab.key === key)));
  };
  const toggleFull = (): void => {
    setFull(!isFull);
    controls.get(seen)?.focus();
  };

  const doings: Readonly<Partial<Record<Shortcut, () => void>>> = {
    leave: () => focusTab(at),
    copy: () => void controls.get(seen)?.copy(),
    search: () => controls.get(seen)?.search(),
    'full-screen': toggleFull,
    larger: () => resizeFont('larger'),
    smaller: () => resizeFont('smaller'),
    'usual-size': () => resizeFont('usual-size'),
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const shortcut = shortcutOf(event);
    const run = shortcut && doings[shortcut];
    if (!run) return;
    const isInTerminal = event.target instanceof Element && event.target.closest('.terminal-place') !== null;
    // Elsewhere on the page, the browser's own meaning holds: zoom, copy.
    if (!isInTerminal && shortcut !== 'search' && shortcut !== 'full-screen') return;
    event.preventDefault();
    run();
  };

  return (
    <section
      class={`panel terminal-area ${isFull ? 'full' : ''}`}
      aria-label={terminalWords.terminalsOf(name)}
      ref={area}
      onKeyDown={onKeyDown}
    >
      <div class="terminal-head">
        {isFull && <strong class="terminal-of ellipsis">{name}</strong>}
        <div class="terminal-tabs" ref={bar} role="group" aria-label={terminalWords.openTerminals}>
          {tabs.map((tab, index) => (
            <TabOf
              key={tab.key}
              label={labelOf(tab, index)}
              title={titles.get(tab.key) ?? ''}
              isSeen={tab.key === seen}
              isRenamed={tab.key === renamed}
              onSee={() => setSeen(tab.key)}
              onRename={() => setRenamed(tab.key)}
              onRenamed={(renaming) => rename(tab, renaming)}
              onClose={() => close(tab.key)}
            />
          ))}
          <button
            type="button"
            class="button quiet icon"
            aria-label={terminalWords.newTerminal}
            title={terminalWords.newTerminal}
            onClick={() => add(fresh())}
          >
            <PlusIcon />
          </button>
          <Elsewhere
            container={db_id}
            own={tabs.flatMap(({ session }) => session ?? [])}
            onAttach={({ id, clients }) =>
              add({ ...fresh(), session: id, isWriter: clients === 0, name: readNames()[id] ?? null })
            }
          />
          <span class="small faint leave">{terminalWords.leaveHint}</span>
        </div>
        <div class="terminal-tools" role="group" aria-label={terminalWords.tools}>
          <button
            type="button"
            class="button quiet icon"
            aria-label={terminalWords.search.label}
            title={terminalWords.search.openHint}
            onClick={doings.search}
          >
            <SearchIcon />
          </button>
          <button
            type="button"
            class="button quiet icon wide-only"
            aria-label={textSize.smaller}
            title={textSize.smallerHint}
            onMouseDown={keepFocus}
            onClick={doings.smaller}
          >
            <SmallerTextIcon />
          </button>
          <button
            type="button"
            class="button quiet icon wide-only"
            aria-label={textSize.larger}
            title={textSize.largerHint}
            onMouseDown={keepFocus}
            onClick={doings.larger}
          >
            <LargerTextIcon />
          </button>
          <button
            type="button"
            class={`button quiet ${isFull ? 'slim' : 'icon'}`}
            aria-label={isFull ? fullScreen.leave : fullScreen.enter}
            title={isFull ? fullScreen.leaveHint : fullScreen.enterHint}
            onClick={toggleFull}
          >
            {isFull ? (
              <>
                <LeaveFullScreenIcon />
                <span>
                  {fullScreen.leaveShort((text) => (
                    <span class="wide-only">{text}</span>
                  ))}
                </span>
              </>
            ) : (
              <FullScreenIcon />
            )}
          </button>
          <Menu
            label={terminalWords.menu}
            items={[
              { name: commonWords.copy, run: () => void controls.get(seen)?.copy() },
              { name: terminalWords.paste, run: () => void controls.get(seen)?.paste() },
              { name: terminalWords.selectAll, run: () => controls.get(seen)?.selectAll() },
              { name: terminalWords.tab.rename, run: () => setRenamed(seen) },
              { name: textSize.larger, run: () => resizeFont('larger') },
              { name: textSize.smaller, run: () => resizeFont('smaller') },
              { name: textSize.usual, run: () => resizeFont('usual-size') },
            ]}
          />
        </div>
      </div>
      <div class="terminal-screens">
        {tabs.map((tab) => (
          <Screen
            key={tab.key}
            container={container}
            session={tab.session}
            isWriter={tab.isWriter}
            isSeen={tab.key === seen}
            ended={tab.ended}
            onSession={(session, ended) => change(tab.key, { session, ended: ended ?? null })}
            onTitle={(title) => setTitles((before) => new Map(before).set(tab.key, title.trim().slice(0, 80)))}
            onControls={(own) => {
              if (own) controls.set(tab.key, own);
              else controls.delete(tab.key);
            }}
          />
        ))}
      </div>
    </section>
  );
}

interface Renaming {
  /** The new name; null if it stays as it was. */
  readonly to: string | null;
  /** True if the focus goes back to the tab; false if it went elsewhere. */
  readonly isByKey: boolean;
}

interface TabOfProps {
  readonly label: string;
  readonly title: string;
  readonly isSeen: boolean;
  readonly isRenamed: boolean;
  readonly onSee: () => void;
  readonly onRename: () => void;
  readonly onRenamed: (renaming: Renaming) => void;
  readonly onClose: () => void;
}

function TabOf(props: TabOfProps): JSX.Element {
  const { label, title, isSeen, isRenamed, onSee, onRename, onRenamed, onClose } = props;
  const onKeyDown = (event: KeyboardEvent & { readonly currentTarget: HTMLElement }): void => {
    if (event.key === 'F2') onRename();
    else if (!focusBeside(event.currentTarget, event.key)) return;
    event.preventDefault();
  };
  return (
    <div class={`terminal-tab ${isSeen ? 'seen' : ''}`}>
      {isRenamed ? (
        <NameField label={label} onDone={onRenamed} />
      ) : (
        <button
          type="button"
          aria-pressed={isSeen}
          title={`${title === '' ? '' : `${title}\n`}${terminalWords.tab.renameHint}`}
          onClick={onSee}
          onDblClick={onRename}
          onKeyDown={onKeyDown}
        >
          {label}
        </button>
      )}
      <button type="button" aria-label={terminalWords.tab.close(label)} onClick={onClose}>
        <CrossIcon />
      </button>
    </div>
  );
}

/** Moves the focus among the tabs by arrow keys. @returns false if the key is not one of them */
function focusBeside(tab: HTMLElement, key: string): boolean {
  const all = [...(tab.closest('.terminal-tabs')?.querySelectorAll<HTMLElement>('[aria-pressed]') ?? [])];
  const at = all.indexOf(tab);
  const places: Readonly<Record<string, number>> = {
    ArrowLeft: (at + all.length - 1) % all.length,
    ArrowRight: (at + 1) % all.length,
    Home: 0,
    End: all.length - 1,
  };
  const next = places[key];
  if (next === undefined) return false;
  all[next]?.focus();
  return true;
}

interface NameFieldProps {
  readonly label: string;
  readonly onDone: (renaming: Renaming) => void;
}

function NameField({ label, onDone }: NameFieldProps): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  /** The field loses the focus when it goes, too. */
  const isDone = useRef(false);
  // Before the next key, which is the field's.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const done = (renaming: Renaming): void => {
    if (isDone.current) return;
    isDone.current = true;
    onDone(renaming);
  };
  return (
    <input
      ref={field}
      class="input terminal-name"
      aria-label={terminalWords.tab.newNameOf(label)}
      defaultValue={label}
      maxLength={40}
      autoComplete="off"
      spellcheck={false}
      onBlur={(event) => done({ to: event.currentTarget.value, isByKey: false })}
      onKeyDown={(event) => {
        if (event.key === 'Enter') done({ to: event.currentTarget.value, isByKey: true });
        else if (event.key === 'Escape') done({ to: null, isByKey: true });
        else return;
        event.preventDefault();
      }}
    />
  );
}

/** Takes the rest of the page from the keyboard and from screen readers while the terminal covers it. */
function useAlone(area: { readonly current: HTMLElement | null }, isAlone: boolean): void {
  useLayoutEffect(() => {
    const element = area.current;
    if (!isAlone || !element) return undefined;
    const others: HTMLElement[] = [];
    for (let own: Element | null = element; own && !own.matches('.shell'); own = own.parentElement) {
      for (const other of own.parentElement?.children ?? []) {
        if (other !== own && other instanceof HTMLElement && !other.inert) others.push(other);
      }
    }
    for (const other of others) other.inert = true;
    return () => {
      for (const other of others) other.inert = false;
    };
  }, [isAlone]);
}

/** The least that a keyboard on a screen covers, in pixels; less is a bar of the browser's. */
const KEYBOARD_PX = 120;

/** Fits the terminal above a keyboard on the screen, which covers a part of the page without changing its size. */
function useVisibleHeight(area: { readonly current: HTMLElement | null }): void {
  useEffect(() => {
    const view = window.visualViewport;
    if (!view) return undefined;
    let hadKeyboard = false;
    const follow = (): void => {
      const element = area.current;
      if (!element) return;
      // Also smaller while the page is zoomed, which is no keyboard.
      const hasKeyboard = innerHeight - view.height * view.scale > KEYBOARD_PX;
      element.toggleAttribute('data-keyboard', hasKeyboard);
      element.style.setProperty('--visible-height', `${String(Math.floor(view.height))}px`);
      element.style.setProperty('--visible-top', `${String(Math.floor(view.offsetTop))}px`);
      if (hasKeyboard && !hadKeyboard && element.contains(document.activeElement)) element.scrollIntoView();
      hadKeyboard = hasKeyboard;
    };
    follow();
    view.addEventListener('resize', follow);
    view.addEventListener('scroll', follow);
    return () => {
      view.removeEventListener('resize', follow);
      view.removeEventListener('scroll', follow);
    };
  }, []);
}

interface ElsewhereProps {
  readonly container: string;
  /** The sessions of this window. */
  readonly own: readonly string[];
  readonly onAttach: (terminal: TerminalView) => void;
}

/** Terminals that other windows opened, or that continue after their window was closed: to attach to, or to end. */
function Elsewhere({ container, own, onAttach }: ElsewhereProps): JSX.Element | null {
  const { elsewhere, end } = terminalWords;
  const [all, setAll] = useState<readonly TerminalView[]>([]);
  const read = (): void => {
    // A failure needs no words beside the terminals of this window.
    berth.terminals.list(container).then(setAll, () => undefined);
  };
  // No event reports terminals.
  useEffect(read, [container, own.join(' '), now.value]);
  const others = all.filter(({ id }) => !own.includes(id));
  if (others.length === 0) return null;
  const names = readNames();
  const askToEnd = ({ id }: TerminalView): void =>
    ask({
      title: end.title,
      text: end.text,
      action: end.action,
      run: async () => {
        await berth.terminals.end(container, id);
        read();
      },
    });
  return (
    <div class="terminal-others" role="group" aria-label={elsewhere.label}>
      <span class="small faint">{elsewhere.head}</span>
      {others.map((terminal) => (
        <div key={terminal.id} class="terminal-tab other">
          <button type="button" title={elsewhere.show} onClick={() => onAttach(terminal)}>
            {names[terminal.id] ?? <Ago time={terminal.started_at} />}
            {terminal.programs?.length ? <span>{terminal.programs.join(', ')}</span> : null}
            <span class="faint">{attachedInWords(terminal.clients)}</span>
          </button>
          <button type="button" aria-label={end.label} onClick={() => askToEnd(terminal)}>
            <CrossIcon />
          </button>
        </div>
      ))}
    </div>
  );
}

function attachedInWords(clients: number): string {
  const { elsewhere } = terminalWords;
  return clients === 0 ? elsewhere.noWindow : elsewhere.attached(clients);
}
