import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { berth } from '../data/berth';
import { CrossIcon, Icon } from '../ui/icons';
import { WorkButton } from '../ui/parts';
import { isRestarting } from '../ui/verbs';
import { commonWords } from '../words/common';
import { terminalWords } from '../words/terminals';
import type { Ending } from './terminal-endings';
import { TOUCH_KEYS, type TouchKey } from './terminal-keys';
import { MAX_MATCHES } from './terminal-search';

/** What is around a terminal's screen: the search, the explanation of an end, the keys that a phone lacks. */

export const SearchIcon = (): JSX.Element => (
  <Icon>
    <circle cx="7" cy="7" r="4.2" />
    <path d="M10.2 10.2L13.5 13.5" />
  </Icon>
);

export const FullScreenIcon = (): JSX.Element => (
  <Icon>
    <path d="M6 2.8H2.8V6M10 2.8h3.2V6M6 13.2H2.8V10M10 13.2h3.2V10" />
  </Icon>
);

export const LeaveFullScreenIcon = (): JSX.Element => (
  <Icon>
    <path d="M2.8 6H6V2.8M13.2 6H10V2.8M2.8 10H6v3.2M13.2 10H10v3.2" />
  </Icon>
);

export const SmallerTextIcon = (): JSX.Element => (
  <Icon>
    <path d="M1.5 12.5L5 3.5l3.5 9M2.8 9.5h4.4M10.5 6h4" />
  </Icon>
);

export const LargerTextIcon = (): JSX.Element => (
  <Icon>
    <path d="M1.5 12.5L5 3.5l3.5 9M2.8 9.5h4.4M10.5 6h4M12.5 4v4" />
  </Icon>
);

/** Keeps the focus in the terminal when a button beside it is pressed. */
export const keepFocus = (event: Event): void => event.preventDefault();

/** What is searched in a terminal's output, and what was found. */
export interface Search {
  readonly term: string;
  readonly isCaseSensitive: boolean;
  readonly count: number;
  /** The selected match, from 0 on; −1 if none is. */
  readonly at: number;
}

interface SearchBarProps {
  readonly search: Search;
  readonly onSearch: (asked: Pick<Search, 'term' | 'isCaseSensitive'>) => void;
  /** @param step −1 to older output, 1 to newer output */
  readonly onStep: (step: -1 | 1) => void;
  readonly onClose: () => void;
}

export function SearchBar({ search, onSearch, onStep, onClose }: SearchBarProps): JSX.Element {
  const { search: words } = terminalWords;
  const { term, isCaseSensitive, count } = search;
  const field = useRef<HTMLInputElement>(null);
  // Before the next key, which is the field's.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') onClose();
    else if (event.key === 'Enter' && event.target === field.current) onStep(event.shiftKey ? 1 : -1);
    else return;
    event.preventDefault();
  };
  return (
    <div class="terminal-search" role="search" aria-label={words.label} onKeyDown={onKeyDown}>
      <input
        ref={field}
        class="input"
        type="text"
        aria-label={words.label}
        placeholder={words.label}
        autoComplete="off"
        autoCapitalize="off"
        spellcheck={false}
        value={term}
        onInput={(event) => onSearch({ term: event.currentTarget.value, isCaseSensitive })}
      />
      <span class="small muted terminal-count" role="status">
        {countInWords(search)}
      </span>
      <button
        type="button"
        class="button quiet icon"
        aria-label={words.matchCase}
        title={words.matchCase}
        aria-pressed={isCaseSensitive}
        onClick={() => onSearch({ term, isCaseSensitive: !isCaseSensitive })}
      >
        {words.matchCaseSign}
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label={words.previous}
        title={words.previousHint}
        disabled={count === 0}
        onClick={() => onStep(-1)}
      >
        ↑
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label={words.next}
        title={words.nextHint}
        disabled={count === 0}
        onClick={() => onStep(1)}
      >
        ↓
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label={words.close}
        title={words.closeHint}
        onClick={onClose}
      >
        <CrossIcon />
      </button>
    </div>
  );
}

function countInWords({ term, count, at }: Search): string {
  if (term === '') return '';
  if (count === 0) return terminalWords.search.nothing;
  return terminalWords.search.found({ nth: at < 0 ? null : at + 1, matches: count, isAll: count < MAX_MATCHES });
}

interface ExplanationProps {
  readonly of: Ending;
  readonly container: string;
  readonly onRestart: () => void;
}

/** Says below the last output why the terminal takes no input, and what to do. */
export function Explanation({ of, container, onRestart }: ExplanationProps): JSX.Element {
  const { actions: words } = terminalWords;
  return (
    <div class="terminal-ending">
      <div class="grow" role="status">
        <strong>{of.title}</strong>
        {of.text !== null && <p class="muted">{of.text}</p>}
      </div>
      {of.action === 'restart' && (
        <button type="button" class="button primary" onClick={onRestart}>
          {words.restart}
        </button>
      )}
      {of.action === 'start' && !isRestarting(container) && (
        <WorkButton class="button primary" run={() => berth.containers.start(container)}>
          {words.start}
        </WorkButton>
      )}
      {of.action === 'resume' && (
        <WorkButton class="button primary" run={() => berth.containers.resume(container)}>
          {words.resume}
        </WorkButton>
      )}
      {of.action === 'reload' && <ReloadButton />}
    </div>
  );
}

export function ReloadButton(): JSX.Element {
  return (
    <button type="button" class="button slim" onClick={() => location.reload()}>
      {commonWords.reload}
    </button>
  );
}

interface TouchKeysProps {
  readonly hasControl: boolean;
  readonly onKey: (key: TouchKey) => void;
}

/** The keys that a keyboard on a screen lacks. A touch leaves the focus, and so the keyboard, in the terminal. */
export function TouchKeys({ hasControl, onKey }: TouchKeysProps): JSX.Element {
  const { keys: words } = terminalWords;
  return (
    <div class="terminal-keys" role="group" aria-label={words.label}>
      {TOUCH_KEYS.map(([shown, key]) => (
        <button
          key={key}
          type="button"
          aria-label={key === 'Control' || key === 'Escape' ? undefined : words.names[key]}
          aria-pressed={key === 'Control' ? hasControl : undefined}
          onPointerDown={keepFocus}
          onMouseDown={keepFocus}
          onClick={() => onKey(key)}
        >
          {shown}
        </button>
      ))}
    </div>
  );
}
