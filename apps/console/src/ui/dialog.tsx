import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { partWords } from '../words/parts';
import { CrossIcon } from './icons';
import { TextField } from './parts';

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  /** Does what the dialog is for, if anything; it closes when that is done, and shows what went wrong if it fails. */
  readonly onSubmit?: () => Promise<void> | void;
  readonly action: string;
  readonly isDangerous?: boolean;
  /** Nothing to cancel: what was to be done is done. */
  readonly isLast?: boolean;
  readonly children: ComponentChildren;
}

/**
 * Remembers the control that opens a dialog. @returns gives it the focus when the dialog is gone, or what took its
 * place among its buttons; otherwise the page's heading
 */
function focusAfterwards(): () => void {
  const opener = document.activeElement;
  const group = opener?.closest('.actions');
  const giveBack = (): void => {
    // Something else may have it already: another dialog, or the page that was opened.
    if (!(opener instanceof HTMLElement) || document.activeElement !== document.body) return;
    const next = opener.isConnected ? opener : group?.isConnected ? group.querySelector('button') : null;
    (next ?? document.querySelector<HTMLElement>('h1'))?.focus({ preventScroll: true });
  };
  // The page takes no focus until the dialog is removed.
  return () => queueMicrotask(giveBack);
}

/** A modal form: the browser's own dialog, which keeps the focus and closes by Escape. */
export function Dialog(props: DialogProps): JSX.Element {
  const { title, onClose, onSubmit, action, isDangerous = false, isLast = false, children } = props;
  const place = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState<unknown>(null);
  useEffect(() => {
    const giveBack = focusAfterwards();
    place.current?.showModal();
    // The first field, and not the button that closes.
    place.current?.querySelector<HTMLElement>('.dialog-body :is(input, select, textarea)')?.focus();
    // Text alone may need to be scrolled by the keyboard.
    const body = place.current?.querySelector<HTMLElement>('.dialog-body');
    if (body && !body.querySelector('input, select, textarea, button, a, summary')) body.tabIndex = 0;
    return giveBack;
  }, []);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    setFault(null);
    try {
      await onSubmit?.();
      onClose();
    } catch (error) {
      setFault(error);
      setBusy(false);
    }
  };

  return (
    <dialog
      ref={place}
      aria-labelledby={titleId}
      onClose={onClose}
      onCancel={(event) => isBusy && event.preventDefault()}
    >
      <form onSubmit={(event) => void submit(event)} noValidate>
        <div class="dialog-head">
          <h2 id={titleId}>{title}</h2>
          <button
            type="button"
            class="button quiet icon"
            aria-label={commonWords.close}
            onClick={onClose}
            disabled={isBusy}
          >
            <CrossIcon />
          </button>
        </div>
        <div class="dialog-body" tabIndex={-1}>
          {children}
          {fault !== null && (
            <p class="notice bad" role="alert">
              {inWords(fault)}
            </p>
          )}
        </div>
        <div class="dialog-foot">
          {!isLast && (
            <button type="button" class="button" onClick={onClose} disabled={isBusy}>
              {commonWords.cancel}
            </button>
          )}
          <button
            type="submit"
            class={`button primary ${isDangerous ? 'danger' : ''} ${isBusy ? 'busy' : ''}`}
            aria-disabled={isBusy}
          >
            {action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

interface Question {
  readonly title: string;
  readonly text: string;
  readonly action: string;
  /** False for what can be taken back. */
  readonly isDangerous?: boolean;
  readonly run: () => Promise<void> | void;
}

const question = signal<Question | null>(null);

/** Asks before something that cannot be undone, or that is easily done by mistake. */
export function ask(next: Question): void {
  question.value = next;
}

/** Where {@link ask} asks. */
export function Questions(): JSX.Element | null {
  const { value } = question;
  if (!value) return null;
  return (
    <Dialog
      title={value.title}
      action={value.action}
      isDangerous={value.isDangerous ?? true}
      onClose={() => (question.value = null)}
      onSubmit={value.run}
    >
      <p>{value.text}</p>
    </Dialog>
  );
}

interface Prompt {
  readonly title: string;
  readonly label: string;
  readonly value?: string;
  readonly action: string;
  readonly run: (text: string) => Promise<void>;
}

const prompt = signal<Prompt | null>(null);

/** Asks for one word. */
export function askFor(next: Prompt): void {
  prompt.value = next;
}

/** Where {@link askFor} asks. */
export function Prompts(): JSX.Element | null {
  const { value } = prompt;
  return value && <PromptDialog key={value.title} of={value} />;
}

function PromptDialog({ of }: { readonly of: Prompt }): JSX.Element {
  const [text, setText] = useState(of.value ?? '');
  const submit = async (): Promise<void> => {
    if (text.trim() === '') throw new Error(partWords.mustNotBeEmpty(of.label));
    await of.run(text.trim());
  };
  return (
    <Dialog title={of.title} action={of.action} onClose={() => (prompt.value = null)} onSubmit={submit}>
      <TextField label={of.label} input={{ autoComplete: 'off', spellcheck: false }} value={text} onValue={setText} />
    </Dialog>
  );
}
