import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { berth } from '../data/berth';
import { CrossIcon, Icon } from '../ui/icons';
import { WorkButton } from '../ui/parts';
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
    <div class="terminal-search" role="search" aria-label="Search in the output" onKeyDown={onKeyDown}>
      <input
        ref={field}
        class="input"
        type="text"
        aria-label="Search in the output"
        placeholder="Search in the output"
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
        aria-label="Match case"
        title="Match case"
        aria-pressed={isCaseSensitive}
        onClick={() => onSearch({ term, isCaseSensitive: !isCaseSensitive })}
      >
        Aa
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label="Previous match"
        title="Previous match (Enter)"
        disabled={count === 0}
        onClick={() => onStep(-1)}
      >
        ↑
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label="Next match"
        title="Next match (Shift+Enter)"
        disabled={count === 0}
        onClick={() => onStep(1)}
      >
        ↓
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label="Close the search"
        title="Close (Esc)"
        onClick={onClose}
      >
        <CrossIcon />
      </button>
    </div>
  );
}

function countInWords({ term, count, at }: Search): string {
  if (term === '') return '';
  if (count === 0) return 'No matches';
  return `${at < 0 ? '' : `${String(at + 1)} of `}${String(count)}${count >= MAX_MATCHES ? ' or more' : ''}`;
}

interface ExplanationProps {
  readonly of: Ending;
  readonly container: string;
  readonly onRestart: () => void;
}

/** Says below the last output why the terminal takes no input, and what to do. */
export function Explanation({ of, container, onRestart }: ExplanationProps): JSX.Element {
  return (
    <div class="terminal-ending">
      <div class="grow" role="status">
        <strong>{of.title}</strong>
        {of.text !== null && <p class="muted">{of.text}</p>}
      </div>
      {of.action === 'restart' && (
        <button type="button" class="button primary" onClick={onRestart}>
          Restart shell
        </button>
      )}
      {of.action === 'start' && (
        <WorkButton class="button primary" run={() => berth.containers.start(container)}>
          Start container
        </WorkButton>
      )}
      {of.action === 'resume' && (
        <WorkButton class="button primary" run={() => berth.containers.resume(container)}>
          Resume container
        </WorkButton>
      )}
      {of.action === 'reload' && <ReloadButton />}
    </div>
  );
}

export function ReloadButton(): JSX.Element {
  return (
    <button type="button" class="button slim" onClick={() => location.reload()}>
      Reload
    </button>
  );
}

interface TouchKeysProps {
  readonly hasControl: boolean;
  readonly onKey: (key: TouchKey) => void;
}

/** The keys that a keyboard on a screen lacks. A touch leaves the focus, and so the keyboard, in the terminal. */
export function TouchKeys({ hasControl, onKey }: TouchKeysProps): JSX.Element {
  return (
    <div class="terminal-keys" role="group" aria-label="Keys">
      {TOUCH_KEYS.map(([shown, key]) => (
        <button
          key={key}
          type="button"
          aria-label={key === 'Control' || key === 'Escape' ? undefined : key}
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
