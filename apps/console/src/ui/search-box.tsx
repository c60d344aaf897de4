import type { JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';

/** How long nothing is typed before the search begins, in milliseconds. */
const PAUSE_MS = 250;

interface SearchBoxProps {
  readonly label: string;
  readonly placeholder?: string;
  readonly value: string;
  /** Called with the trimmed text once nothing was typed for a moment. */
  readonly onValue: (value: string) => void;
  /** Texts that the browser offers. */
  readonly suggestions?: readonly string[];
  readonly fault?: string | undefined;
  readonly class?: string;
}

/** A search field for a list that the server filters: it does not ask with every letter. */
export function SearchBox({ label, placeholder, value, onValue, suggestions, fault, ...rest }: SearchBoxProps) {
  const id = useId();
  const [text, setText] = useState(value);
  const told = useRef(value);
  // Changed from outside, as by a link or by "Clear".
  useEffect(() => {
    if (value === told.current) return;
    told.current = value;
    setText(value);
  }, [value]);
  useEffect(() => {
    const next = text.trim();
    if (next === told.current) return undefined;
    const timer = setTimeout(() => {
      told.current = next;
      onValue(next);
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <>
      <input
        class={`input search ${rest.class ?? ''}`}
        type="search"
        aria-label={label}
        placeholder={placeholder ?? label}
        autoComplete="off"
        spellcheck={false}
        list={suggestions === undefined ? undefined : id}
        aria-invalid={fault !== undefined}
        title={fault}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      {suggestions !== undefined && (
        <datalist id={id}>
          {suggestions.map((each): JSX.Element => (
            <option key={each} value={each} />
          ))}
        </datalist>
      )}
    </>
  );
}
