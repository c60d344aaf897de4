import type { JSX } from 'preact';
import { commonWords } from '../words/common';
import { partWords } from '../words/parts';
import { say, sayFault } from './toasts';

/** Copies a text, and says so. @param what as in “Id copied.” */
export function copy(text: string, what: string): void {
  navigator.clipboard.writeText(text).then(
    () => say(partWords.copied(what)),
    () => sayFault(new Error(partWords.copyFault)),
  );
}

interface CopyProps {
  readonly text: string;
  readonly what: string;
}

export function CopyButton({ text, what }: CopyProps): JSX.Element {
  return (
    <button
      type="button"
      class="button slim copy"
      aria-label={partWords.copyLabel(what)}
      title={commonWords.copy}
      onClick={() => copy(text, what)}
    >
      {commonWords.copy}
    </button>
  );
}

/** A text for other programs, with a button that copies it. */
export function Copyable({ text, what }: CopyProps): JSX.Element {
  return (
    <span class="copyable">
      <span class="mono">{text}</span>
      <CopyButton text={text} what={what} />
    </span>
  );
}

/** Lines for a shell or a program, with a button that copies them. */
export function Code({ text, what }: CopyProps): JSX.Element {
  return (
    <div class="secret">
      <code>{text}</code>
      <CopyButton text={text} what={what} />
    </div>
  );
}
