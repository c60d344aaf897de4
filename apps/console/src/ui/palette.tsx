import type { JSX } from 'preact';
import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
import { maySeeInside } from '../data/access';
import { fuzzyMatch } from '../data/fuzzy';
import { type Container, containers, me } from '../data/live';
import { hasNodes, isAdmin } from '../data/server';
import { askToRestart, askToStop, isPending, pause, remove, start } from './verbs';
import { navigate } from '../router';
import { commonWords } from '../words/common';
import { keyboardWords } from '../words/keyboard';
import { paletteWords } from '../words/palette';
import { shellWords } from '../words/shell';
import { statusWords } from '../words/statuses';
import { ADMIN_PAGES, type ConsolePage, OWN_PAGES } from './pages';
import { setTheme, type Theme } from './theme';

export interface PaletteProps {
  readonly onClose: () => void;
  readonly onSignOut: () => Promise<void>;
  /** Shows the list of keyboard shortcuts. */
  readonly onShortcuts: () => void;
}

/** An entry of the palette. */
interface Command {
  readonly id: string;
  readonly title: string;
  /** What it is, shown beside the title. */
  readonly kind: string;
  /** Added to the score of a match. */
  readonly bonus: number;
  readonly run: () => void;
}

/** Added to a match by what is probably meant: a container rather than an action on it. */
const BONUS = { container: 4, page: 3, action: 2, verb: 0 } as const;
/** As many as are shown; with more letters there are fewer. */
const MOST_SHOWN = 50;
/** Containers that are offered before anything is typed, the last used first. */
const RECENT = 6;

/** Finds pages, containers and actions by some letters of their names, and does what is chosen. */
export function Palette({ onClose, onSignOut, onShortcuts }: PaletteProps): JSX.Element {
  const place = useRef<HTMLDialogElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const [query, setQuery] = useState('');
  const [chosen, setChosen] = useState(0);
  const listed = containers.value;
  const commands = useMemo(
    () => [...pageCommands(), ...actionCommands({ onSignOut, onShortcuts }), ...listed.flatMap(containerCommands)],
    [listed, isAdmin.value, hasNodes.value, me.value],
  );
  const found = useMemo(() => search(query, commands, listed), [query, commands]);
  const current = Math.min(chosen, found.length - 1);

  useEffect(() => place.current?.showModal(), []);
  useEffect(() => list.current?.children[current]?.scrollIntoView({ block: 'nearest' }), [current, found]);

  const choose = ({ run }: Command): void => {
    // Closed first: what runs may open a dialog, or a page that takes the focus.
    place.current?.close();
    run();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Readonly<Record<string, number | undefined>> = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    const step = steps[event.key];
    const entry = found[current]?.command;
    // An entry of an input method is confirmed by Enter too.
    if (event.key === 'Enter' && !event.isComposing && entry) {
      event.preventDefault();
      choose(entry);
    }
    if (step === undefined || found.length === 0) return;
    event.preventDefault();
    const next = current + step;
    const isOne = Math.abs(step) === 1;
    setChosen(isOne ? (next + found.length) % found.length : Math.max(0, Math.min(found.length - 1, next)));
  };

  return (
    <dialog
      ref={place}
      class="palette"
      aria-label={paletteWords.title}
      onClose={onClose}
      onClick={(event) => event.target === place.current && place.current?.close()}
    >
      <input
        class="palette-input"
        role="combobox"
        aria-label={paletteWords.field}
        aria-autocomplete="list"
        aria-expanded={found.length > 0}
        aria-controls={`${id}list`}
        aria-activedescendant={found.length > 0 ? `${id}${String(current)}` : undefined}
        placeholder={paletteWords.field}
        autoComplete="off"
        spellcheck={false}
        value={query}
        onInput={(event) => {
          setQuery(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={onKeyDown}
      />
      {found.length === 0 ? (
        <p class="palette-none">{paletteWords.nothing(query.trim())}</p>
      ) : (
        <ul class="palette-list" role="listbox" id={`${id}list`} aria-label={paletteWords.results} ref={list}>
          {found.map(({ command, at }, index) => (
            <li
              key={command.id}
              id={`${id}${String(index)}`}
              role="option"
              aria-selected={index === current}
              onPointerMove={() => setChosen(index)}
              onClick={() => choose(command)}
            >
              <span class="title">{marked(command.title, at)}</span>
              <span class="small muted">{command.kind}</span>
            </li>
          ))}
        </ul>
      )}
      <p class="visually-hidden" role="status">
        {paletteWords.count(found.length)}
      </p>
      <p class="palette-foot" aria-hidden="true">
        <span>
          <kbd>↑</kbd> <kbd>↓</kbd> {paletteWords.keys.choose}
        </span>
        <span>
          <kbd>{paletteWords.keys.enter}</kbd> {paletteWords.keys.open}
        </span>
        <span>
          <kbd>{paletteWords.keys.escape}</kbd> {paletteWords.keys.close}
        </span>
      </p>
    </dialog>
  );
}

interface Found {
  readonly command: Command;
  /** The positions of the matched characters of its title. */
  readonly at: readonly number[];
}

function search(query: string, commands: readonly Command[], listed: readonly Container[]): readonly Found[] {
  const asked = query.trim();
  if (asked === '') {
    const recent = listed
      .toSorted((one, other) => (other.last_used_at ?? '').localeCompare(one.last_used_at ?? ''))
      .slice(0, RECENT)
      .map(openCommand);
    const others = commands.filter(({ bonus }) => bonus === BONUS.page || bonus === BONUS.action);
    return [...recent, ...others].map((command) => ({ command, at: [] }));
  }
  const found = commands.flatMap((command) => {
    const match = fuzzyMatch(asked, command.title);
    return match ? [{ command, at: match.at, score: match.score + command.bonus }] : [];
  });
  found.sort((one, other) => other.score - one.score);
  return [...found.slice(0, MOST_SHOWN), ...searchCommands(asked).map((command) => ({ command, at: [] }))];
}

function pageCommands(): Command[] {
  const command = (kind: string) => (page: ConsolePage) => ({
    id: page.to,
    title: page.name,
    kind,
    bonus: BONUS.page,
    run: () => navigate(page.to),
  });
  const admin = isAdmin.value ? ADMIN_PAGES.filter(({ isOfCluster }) => !isOfCluster || hasNodes.value) : [];
  return [...OWN_PAGES.map(command(paletteWords.kinds.page)), ...admin.map(command(paletteWords.kinds.administration))];
}

const THEMES: readonly Theme[] = ['light', 'dark', 'system'];

function actionCommands({ onSignOut, onShortcuts }: Omit<PaletteProps, 'onClose'>): Command[] {
  const action = (title: string, run: () => void): Command => ({
    id: title,
    title,
    kind: paletteWords.kinds.action,
    bonus: BONUS.action,
    run,
  });
  return [
    ...(mayWrite() ? [action(paletteWords.newContainer, () => navigate('/new'))] : []),
    ...(isAdmin.value ? [action(paletteWords.newUser, () => navigate('/admin/users?new=true'))] : []),
    ...THEMES.map((theme) => action(shellWords.theme.is[theme], () => setTheme(theme))),
    action(keyboardWords.title, onShortcuts),
    action(shellWords.signOut, () => void onSignOut()),
  ];
}

/** Where administrators find more than their own: what the server searches. */
function searchCommands(asked: string): Command[] {
  if (!isAdmin.value) return [];
  const command = (title: string, to: string): Command => ({
    id: to,
    title,
    kind: paletteWords.kinds.administration,
    bonus: 0,
    run: () => navigate(`${to}?search=${encodeURIComponent(asked)}`),
  });
  return [
    command(paletteWords.searchContainers(asked), '/admin/containers'),
    command(paletteWords.searchUsers(asked), '/admin/users'),
  ];
}

const mayWrite = (): boolean => me.value?.scopes.some((scope) => scope === 'write' || scope === 'admin') ?? false;

function openCommand({ db_id, name, status }: Container): Command {
  const kind = paletteWords.kinds.containerIn(statusWords.within[status]);
  return { id: db_id, title: name, kind, bonus: BONUS.container, run: () => navigate(`/containers/${db_id}`) };
}

/** What can be done with a container in its status. */
function containerCommands(container: Container): Command[] {
  const { db_id, name, status } = container;
  const command = (verb: string, run: () => void): Command => ({
    id: `${db_id} ${verb}`,
    title: paletteWords.ofContainer({ container: name, entry: verb }),
    kind: paletteWords.kinds.container,
    bonus: BONUS.verb,
    run,
  });
  const tab = (verb: string, fragment: string): Command =>
    command(verb, () => navigate(`/containers/${db_id}#${fragment}`));
  const isRunning = status === 'running';
  const isInside = isRunning && maySeeInside.value;
  const verbs: Command[] = [];
  if (status === 'stopped' || status === 'error') {
    verbs.push(command(commonWords.start, () => void start(container)));
  }
  if (status === 'paused') verbs.push(command(paletteWords.resume, () => void start(container)));
  if (isRunning || status === 'paused') verbs.push(command(commonWords.stop, () => askToStop(container)));
  if (isRunning) {
    verbs.push(
      command(commonWords.restart, () => askToRestart(container)),
      command(paletteWords.pause, () => void pause(container)),
    );
  }
  verbs.push(command(commonWords.delete, () => void remove(container)));
  return [
    openCommand(container),
    ...(isInside
      ? [
          tab(paletteWords.terminal, 'terminal'),
          tab(paletteWords.files, 'files'),
          tab(paletteWords.processes, 'processes'),
        ]
      : []),
    tab(paletteWords.snapshots, 'snapshots'),
    tab(paletteWords.events, 'events'),
    ...(mayWrite() && !isPending(db_id) ? verbs : []),
  ];
}

/** The title with its matched characters marked. */
function marked(title: string, at: readonly number[]): (string | JSX.Element)[] {
  const parts: (string | JSX.Element)[] = [];
  let end = 0;
  for (let index = 0; index < at.length;) {
    const from = at[index] ?? 0;
    let to = from;
    while (at[index] === to) {
      index += 1;
      to += 1;
    }
    parts.push(title.slice(end, from), <mark key={from}>{title.slice(from, to)}</mark>);
    end = to;
  }
  return [...parts, title.slice(end)];
}
