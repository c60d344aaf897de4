import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { commonWords } from '../words/common';

interface Choice<Name extends string> {
  readonly name: Name;
  readonly label: string;
  readonly isDangerous?: boolean;
  /** The one that Enter takes. */
  readonly isFirst?: boolean;
}

interface Question {
  readonly title: string;
  readonly text: ComponentChildren;
  readonly choices: readonly Choice<string>[];
  readonly answer: (name: string | null) => void;
}

const question = signal<Question | null>(null);

/** Asks a question with several answers. @returns the chosen name; null if the user cancelled */
export function choose<Name extends string>(of: {
  readonly title: string;
  readonly text: ComponentChildren;
  readonly choices: readonly Choice<Name>[];
}): Promise<Name | null> {
  question.value?.answer(null);
  return new Promise((resolve) => {
    question.value = {
      ...of,
      answer: (name) => {
        question.value = null;
        resolve(name as Name | null);
      },
    };
  });
}

/** Where {@link choose} asks. */
export function Choices(): JSX.Element | null {
  const { value } = question;
  useEffect(() => () => question.value?.answer(null), []);
  return value && <ChoiceDialog key={value.title} of={value} />;
}

function ChoiceDialog({ of }: { readonly of: Question }): JSX.Element {
  const place = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    place.current?.showModal();
    place.current?.querySelector<HTMLElement>('.dialog-foot .first')?.focus();
  }, []);
  return (
    <dialog ref={place} aria-labelledby={`${id}-title`} aria-describedby={`${id}-text`} onClose={() => of.answer(null)}>
      <div class="dialog-head">
        <h2 id={`${id}-title`}>{of.title}</h2>
      </div>
      <div class="dialog-body" id={`${id}-text`}>
        {of.text}
      </div>
      <div class="dialog-foot wrap">
        <button type="button" class="button" onClick={() => of.answer(null)}>
          {commonWords.cancel}
        </button>
        {of.choices.map(({ name, label, isDangerous = false, isFirst = false }) => (
          <button
            key={name}
            type="button"
            class={`button ${isFirst ? 'first' : ''} ${isDangerous ? 'danger primary' : isFirst ? 'primary' : ''}`}
            onClick={() => of.answer(name)}
          >
            {label}
          </button>
        ))}
      </div>
    </dialog>
  );
}
