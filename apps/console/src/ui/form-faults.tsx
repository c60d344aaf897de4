import type { JSX, RefObject } from 'preact';
import type { Faults } from '../data/faults';
import { fieldInWords } from '../words/errors';

/** Thrown by a form that was not sent: each field says what is wrong with it. */
export class FaultsMarked extends Error {
  constructor(faults: Faults) {
    super(
      Object.entries(faults)
        .map(([field, fault]) => `${fieldInWords(field)}: ${fault}`)
        .join(' '),
    );
  }
}

/** The control of a field; of a group the chosen one, else its first. */
function controlOf(form: HTMLElement, field: string): HTMLElement | null {
  const name = CSS.escape(field);
  return (
    form.querySelector<HTMLElement>(`[name="${name}"]:checked, select[name="${name}"]`) ??
    form.querySelector<HTMLElement>(`[name="${name}"]`) ??
    form.querySelector<HTMLElement>(`[data-field="${name}"] :is(input, select, textarea, button)`)
  );
}

const sectionOf = (control: HTMLElement | null): HTMLElement | null => control?.closest('details') ?? null;

/** Focuses a field, and opens the section that it is in. */
function focusField(form: HTMLElement, field: string): void {
  const control = controlOf(form, field);
  sectionOf(control)?.setAttribute('open', '');
  control?.focus();
}

/** The fields with faults, in the order of the form; those that are not in it last. */
function inOrder(form: HTMLElement, faults: Faults): readonly string[] {
  const places = Object.keys(faults).map((field) => ({ field, control: controlOf(form, field) }));
  places.sort(({ control: one }, { control: other }) => {
    if (!one || !other) return Number(!one) - Number(!other);
    return one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
  });
  return places.map(({ field }) => field);
}

/** Focuses the first field that has a fault, and opens the sections of all that have one. */
export function focusFirstFault(form: HTMLElement | null, faults: Faults): void {
  if (!form) return;
  const fields = inOrder(form, faults);
  for (const field of fields) sectionOf(controlOf(form, field))?.setAttribute('open', '');
  const [first] = fields;
  if (first !== undefined) focusField(form, first);
}

interface FaultSummaryProps {
  readonly form: RefObject<HTMLElement | null>;
  readonly faults: Faults;
  /** What is wrong besides. */
  readonly notes?: readonly string[];
}

/** All that is wrong with a form, with a way to each field. It is read out when it appears. */
export function FaultSummary({ form, faults, notes = [] }: FaultSummaryProps): JSX.Element | null {
  const fields = form.current ? inOrder(form.current, faults) : Object.keys(faults);
  if (fields.length === 0 && notes.length === 0) return null;
  return (
    <div class="notice bad fault-summary" role="alert">
      <ul>
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
        {fields.map((field) => (
          <li key={field}>
            <button type="button" class="linklike" onClick={() => form.current && focusField(form.current, field)}>
              {fieldInWords(field)}
            </button>
            : {faults[field]}
          </li>
        ))}
      </ul>
    </div>
  );
}
