import type { JSX } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import type { Faults } from '../data/faults';
import { newPair, type Pair, type PairRules, readEnvText, withValues } from '../data/pairs';
import { pairWords } from '../words/pair-rows';
import { CrossIcon, PlusIcon } from './icons';
import { say } from './toasts';

interface PairRowsProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly rules: PairRules;
  readonly pairs: readonly Pair[];
  readonly onPairs: (pairs: readonly Pair[]) => void;
  readonly faults: Faults;
  /** Values may have several lines, and `.env` text that is pasted fills several rows. */
  readonly isEnv?: boolean;
  /** A row may say that its variable is removed. */
  readonly hasRemovals?: boolean;
}

/** Rows of names and values, which are added, removed and left by the keyboard too. */
export function PairRows(props: PairRowsProps): JSX.Element {
  const { label, hint, rules, pairs, onPairs, faults, isEnv = false, hasRemovals = false } = props;
  const place = useRef<HTMLFieldSetElement>(null);
  const says = useId();
  /** The control that gets the focus once it is drawn. */
  const next = useRef<string | null>(null);
  // Before the next key, which would go to the control that had the focus.
  useLayoutEffect(() => {
    if (next.current === null) return;
    place.current?.querySelector<HTMLElement>(next.current)?.focus();
    next.current = null;
  }, [pairs]);

  const nameOf = ({ id }: Pair): string => `${rules.field}.${String(id)}`;
  const find = (pair: Pair, part: 'name' | 'value'): string =>
    `[name="${part === 'name' ? nameOf(pair) : `${nameOf(pair)}.value`}"]`;
  const focus = (selector: string): void => place.current?.querySelector<HTMLElement>(selector)?.focus();
  const change = (changed: Pair): void => onPairs(pairs.map((pair) => (pair.id === changed.id ? changed : pair)));
  const add = (): void => {
    const pair = newPair();
    next.current = find(pair, 'name');
    onPairs([...pairs, pair]);
  };
  const remove = (at: number): void => {
    const near = pairs[at + 1] ?? pairs[at - 1];
    next.current = near ? find(near, 'name') : '.add';
    onPairs(pairs.filter((_pair, index) => index !== at));
  };

  const onKey = (
    event: KeyboardEvent,
    { at, part }: { readonly at: number; readonly part: 'name' | 'value' },
  ): void => {
    const pair = pairs[at];
    if (!pair || event.isComposing) return;
    if (event.key === 'Backspace' && part === 'name' && pair.name === '' && pair.value === '') {
      event.preventDefault();
      remove(at);
    }
    // Shift and Enter begins a line in a value; with Control or Meta it is the form's.
    if (event.key !== 'Enter' || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const below = pairs[at + 1];
    if (part === 'name') focus(find(pair, 'value'));
    else if (below) focus(find(below, 'name'));
    else add();
  };

  const onPaste = (
    event: ClipboardEvent,
    { pair, part }: { readonly pair: Pair; readonly part: 'name' | 'value' },
  ): void => {
    if (!isEnv) return;
    const text = event.clipboardData?.getData('text/plain') ?? '';
    const { values, leftOut } = readEnvText(text);
    // A value of several lines, such as a key, is pasted as it is.
    const isText = part === 'name' || (text.trim().includes('\n') && leftOut.length === 0);
    if (values.size === 0 || !isText) return;
    event.preventDefault();
    const filled = withValues(pairs, pair.id, values);
    const last = filled.find(({ name }) => name === [...values.keys()].at(-1));
    if (last) next.current = find(last, 'value');
    onPairs(filled);
    say(pairWords.pasted({ count: values.size, leftOut }));
  };

  return (
    <fieldset class="field pairs" data-field={rules.field} ref={place} aria-describedby={says}>
      <legend class="label">{label}</legend>
      {pairs.map((pair, at) => {
        const name = nameOf(pair);
        const fault = faults[name];
        const valueFault = faults[`${name}.value`];
        const faultId = `${says}-${String(pair.id)}`;
        const of = pairWords.row[rules.field](at + 1);
        const row = pair.name.trim() === '' ? of : pair.name.trim();
        const shared = {
          spellcheck: false,
          autoComplete: 'off',
          'aria-describedby': fault === undefined && valueFault === undefined ? undefined : faultId,
        };
        const value = {
          ...shared,
          name: `${name}.value`,
          'aria-label': pairWords.valueOf(of),
          'aria-invalid': valueFault !== undefined,
          placeholder: pair.isRemoval ? pairWords.removed : pairWords.valuePlaceholder,
          disabled: pair.isRemoval ?? false,
          value: pair.isRemoval ? '' : pair.value,
          onKeyDown: (event: KeyboardEvent) => onKey(event, { at, part: 'value' }),
          onPaste: (event: ClipboardEvent) => onPaste(event, { pair, part: 'value' }),
        };
        return (
          <div key={pair.id} class="pair" role="group" aria-label={row}>
            <input
              {...shared}
              class="input mono"
              name={name}
              aria-label={pairWords.nameOf(of)}
              aria-invalid={fault !== undefined}
              placeholder={pairWords.namePlaceholder[rules.field]}
              autocapitalize="off"
              value={pair.name}
              onInput={(event) => change({ ...pair, name: event.currentTarget.value })}
              onKeyDown={(event) => onKey(event, { at, part: 'name' })}
              onPaste={(event) => onPaste(event, { pair, part: 'name' })}
            />
            {isEnv ? (
              <textarea
                {...value}
                class="input mono"
                rows={Math.min(6, value.value.split('\n').length)}
                onInput={(event) => change({ ...pair, value: event.currentTarget.value, isValueMissing: false })}
              />
            ) : (
              <input
                {...value}
                class="input mono"
                onInput={(event) => change({ ...pair, value: event.currentTarget.value, isValueMissing: false })}
              />
            )}
            {hasRemovals && (
              <label class="check">
                <input
                  type="checkbox"
                  checked={pair.isRemoval ?? false}
                  aria-label={pairWords.unsetOf(row)}
                  onChange={(event) => change({ ...pair, isRemoval: event.currentTarget.checked })}
                />
                {pairWords.unset}
              </label>
            )}
            <button
              type="button"
              class="button quiet icon"
              aria-label={pairWords.remove(row)}
              onClick={() => remove(at)}
            >
              <CrossIcon />
            </button>
            {(fault ?? valueFault) !== undefined && (
              <span id={faultId} class="fault">
                {[fault, valueFault].filter((each) => each !== undefined).join(' ')}
              </span>
            )}
          </div>
        );
      })}
      <button type="button" class="button slim add" onClick={add}>
        <PlusIcon /> {pairWords.add[rules.field]}
      </button>
      <span id={says} class={faults[rules.field] === undefined ? 'hint' : 'fault'}>
        {faults[rules.field] ?? hint}
      </span>
    </fieldset>
  );
}
