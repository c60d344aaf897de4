import type { ComponentChildren, InputHTMLAttributes, JSX, RefObject } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { now } from '../data/live';
import { at, briefly } from '../words/format';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { partWords } from '../words/parts';
import { statusWords } from '../words/statuses';
import { unitWords } from '../words/units';
import { copy } from './copy';
import { sayFault } from './toasts';

/** A page's heading. It gets the focus when the page opens, so that a screen reader begins there. */
export function PageHead({ title, children, aside }: PageHeadProps): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = partWords.documentTitle(title);
  }, [title]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <header class="page-head">
      <div class="grow">
        <h1 tabIndex={-1} ref={heading}>
          {title}
        </h1>
        {aside}
      </div>
      {children}
    </header>
  );
}

interface PageHeadProps {
  readonly title: string;
  readonly aside?: ComponentChildren;
  readonly children?: ComponentChildren;
}

/** Scrolls a row of links so that the current one is seen. @param current changes whenever another link may be current */
export function useCurrentShown(current: string): RefObject<HTMLElement | null> {
  const row = useRef<HTMLElement>(null);
  useEffect(() => {
    // Browsers may scroll by whole pixels alone.
    const show = (): void => {
      const link = row.current?.querySelector('[aria-current]');
      if (!row.current || !link) return;
      const [box, { left, right }] = [row.current.getBoundingClientRect(), link.getBoundingClientRect()];
      if (left < box.left) row.current.scrollLeft -= Math.ceil(box.left - left);
      else if (right > box.right) row.current.scrollLeft += Math.ceil(right - box.right);
    };
    // Called at once too. Numbers and links that come later move the current one.
    const observer = new ResizeObserver(show);
    for (const part of row.current?.children ?? []) observer.observe(part);
    show();
    return () => observer.disconnect();
  }, [current]);
  return row;
}

const STATUS_NAMES: Readonly<Partial<Record<string, string>>> = statusWords.names;

/** A status as a shape, a colour and a word. */
export function Status({ of, word }: { readonly of: string; readonly word?: string }): JSX.Element {
  return <span class={`status ${of}`}>{word ?? STATUS_NAMES[of] ?? of}</span>;
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly fault?: string | undefined;
  /** How a summary of faults finds it. */
  readonly name?: string | undefined;
  /** Gets what ties the input to its label and its words. */
  readonly children: (of: {
    readonly id: string;
    readonly name: string | undefined;
    readonly 'aria-describedby': string;
    readonly 'aria-invalid': boolean;
  }) => ComponentChildren;
}

export function Field({ label, hint, fault, name, children }: FieldProps): JSX.Element {
  const id = useId();
  const says = `${id}-says`;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, name, 'aria-describedby': says, 'aria-invalid': fault !== undefined })}
      <span id={says} class={fault === undefined ? 'hint' : 'fault'}>
        {fault ?? hint}
      </span>
    </div>
  );
}

interface TextFieldProps extends Omit<FieldProps, 'children'> {
  readonly value: string;
  readonly onValue: (value: string) => void;
  /** For programs. */
  readonly isMono?: boolean;
  /** What else the input is told. */
  readonly input?: InputHTMLAttributes;
}

/** A field of one line. */
export function TextField({ value, onValue, isMono = false, input, ...field }: TextFieldProps): JSX.Element {
  return (
    <Field {...field}>
      {(of) => (
        <input
          {...input}
          {...of}
          class={isMono ? 'input mono' : 'input'}
          value={value}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

interface LinesFieldProps extends Omit<FieldProps, 'children'> {
  readonly value: string;
  readonly onValue: (value: string) => void;
  readonly rows: number;
  readonly autoComplete?: 'off';
}

/** A field of several lines, for programs. */
export function LinesField({ label, hint, fault, onValue, ...area }: LinesFieldProps): JSX.Element {
  return (
    <Field label={label} hint={hint} fault={fault}>
      {(of) => (
        <textarea
          {...of}
          {...area}
          class="input mono"
          spellcheck={false}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

interface TableProps {
  /** For screen readers; absent where a heading says it. */
  readonly caption?: string;
  readonly class?: string;
  /** The heads of its columns; of numbers, which stand at the end, as `{ end }`. */
  readonly columns: readonly (string | { readonly end: string })[];
  /** Whether a last column, without a head that is seen, has what can be done with each row. */
  readonly hasActions?: boolean;
  readonly children: ComponentChildren;
}

/** A table of things, which on a narrow screen is a list of cards. */
export function Table({ caption, class: kind, columns, hasActions = false, children }: TableProps): JSX.Element {
  return (
    <table class={kind === undefined ? 'table cards' : `table cards ${kind}`}>
      {caption !== undefined && <caption class="visually-hidden">{caption}</caption>}
      <thead>
        <tr>
          {columns.map((column) =>
            typeof column === 'string' ? (
              <th key={column} scope="col">
                {column}
              </th>
            ) : (
              <th key={column.end} scope="col" class="end">
                {column.end}
              </th>
            ),
          )}
          {hasActions && (
            <th scope="col">
              <span class="visually-hidden">{partWords.actions}</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

interface ListingProps<Item> extends Omit<TableProps, 'children'> {
  readonly items: readonly Item[];
  /** What to say where there are none. */
  readonly empty: ComponentChildren;
  readonly children: (item: Item) => JSX.Element;
}

/** A panel with a row for each thing, or with what to say where there is none. */
export function Listing<Item>({ items, empty, children, ...table }: ListingProps<Item>): JSX.Element {
  return <div class="panel">{items.length === 0 ? empty : <Table {...table}>{items.map(children)}</Table>}</div>;
}

/** How full something is, in words too. */
export function Meter({ value, max, label }: { value: number; max: number; label: string }): JSX.Element {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  return (
    <span
      class={`meter ${share >= 1 ? 'full' : ''}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={max}
      aria-valuenow={Math.min(value, max)}
    >
      <span style={{ width: `${String(share * 100)}%` }} />
    </span>
  );
}

/** A moment as the time since or until it; the moment itself on hover. */
export function Ago({ time }: { readonly time: string }): JSX.Element {
  // Drawn again with each tick; what is newer than the last one is not ahead.
  const present = Math.max(now.value, Date.now());
  const seconds = (present - Date.parse(time)) / 1000;
  const words =
    Math.abs(seconds) < 5
      ? unitWords.justNow
      : seconds > 0
        ? unitWords.ago(briefly(seconds))
        : unitWords.in(briefly(-seconds));
  return (
    <time dateTime={time} title={at(time)}>
      {words}
    </time>
  );
}

/** How long something has lasted; when it began on hover. */
export function Lasting({ since }: { readonly since: string }): JSX.Element {
  const seconds = (Math.max(now.value, Date.now()) - Date.parse(since)) / 1000;
  return (
    <time dateTime={since} title={at(since)}>
      {briefly(seconds)}
    </time>
  );
}

/** What to say where there is nothing. */
export function Empty({ title, children }: { readonly title: string; readonly children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** A secret that is shown once, with a button that copies it. */
export function Secret({ text, label }: { readonly text: string; readonly label: string }): JSX.Element {
  return (
    <div class="secret">
      <code>{text}</code>
      <button type="button" class="button" onClick={() => copy(text, label)}>
        {commonWords.copy}
      </button>
    </div>
  );
}

/** What a page reads once, and again when asked to. */
export function useLoaded<T>(load: () => Promise<T>, of: readonly unknown[] = []): Loaded<T> {
  const [state, setState] = useState<{ value?: T; fault?: unknown }>({});
  const round = useRef(0);
  const reload = async (): Promise<void> => {
    const own = ++round.current;
    try {
      const value = await load();
      if (own === round.current) setState({ value });
    } catch (error) {
      if (own === round.current) setState((before) => ({ ...before, fault: error }));
    }
  };
  useEffect(() => void reload(), of);
  return { value: state.value, fault: state.fault, reload };
}

export interface Loaded<T> {
  readonly value: T | undefined;
  readonly fault: unknown;
  readonly reload: () => Promise<void>;
}

/** What went wrong with a part of a page, and what can be done about it. */
export function Fault({ of, children }: { readonly of: unknown; readonly children?: ComponentChildren }): JSX.Element {
  return (
    <p class="notice bad" role="alert">
      <span class="grow">{inWords(of)}</span>
      {children}
    </p>
  );
}

/** What came of {@link useLoaded}: what it read, or why not. */
export function Shown<T>({ of, children }: { of: Loaded<T>; children: (value: T) => ComponentChildren }) {
  return (
    <>
      {of.fault !== undefined && (
        <Fault of={of.fault}>
          <WorkButton class="button slim" run={of.reload}>
            {partWords.tryAgain}
          </WorkButton>
        </Fault>
      )}
      {of.value !== undefined
        ? children(of.value)
        : of.fault === undefined && (
            <p class="muted" role="status">
              {partWords.loading}
            </p>
          )}
    </>
  );
}

interface RemoveCellProps {
  readonly verb?: string;
  /** What is removed. */
  readonly name: string;
  readonly onClick: () => void;
}

/** The last cell of a row that can only be removed. */
export function RemoveCell({ verb = commonWords.delete, name, onClick }: RemoveCellProps): JSX.Element {
  return (
    <td class="actions-cell">
      <div class="actions">
        <button
          type="button"
          class="button slim danger"
          aria-label={partWords.removeLabel({ verb, name })}
          onClick={onClick}
        >
          {verb}
        </button>
      </div>
    </td>
  );
}

/** A button whose work takes a while: it cannot be pressed twice, and says what went wrong. */
export function WorkButton(props: WorkButtonProps): JSX.Element {
  const { run, children, class: name = 'button', isBlocked = false, ...rest } = props;
  const [isBusy, setBusy] = useState(false);
  const onClick = async (): Promise<void> => {
    if (isBusy || isBlocked) return;
    setBusy(true);
    try {
      await run();
    } catch (error) {
      sayFault(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <button
      {...rest}
      type="button"
      class={`${name} ${isBusy ? 'busy' : ''}`}
      aria-disabled={isBusy || isBlocked}
      onClick={() => void onClick()}
    >
      {children}
    </button>
  );
}

interface WorkButtonProps {
  readonly run: () => Promise<unknown>;
  readonly children: ComponentChildren;
  readonly class?: string;
  readonly 'aria-label'?: string;
  readonly disabled?: boolean;
  /** Whether other work has to end first. */
  readonly isBlocked?: boolean;
}
