import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { inWords } from '../words/errors';
import { partWords } from '../words/parts';
import { CrossIcon } from './icons';

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly isBad: boolean;
  readonly action?: { readonly name: string; readonly run: () => void } | undefined;
}

const toasts = signal<readonly Toast[]>([]);
/** Long enough to read it and to reach for its button, in milliseconds. */
const SHOWN_MS = 8000;
let lastId = 0;

/** Says something in passing. @param action what can be done about it while it is shown */
export function say(text: string, action?: Toast['action']): void {
  add({ text, isBad: false, action });
}

/** Says in words what went wrong. */
export function sayFault(error: unknown): void {
  add({ text: inWords(error), isBad: true });
}

function add(toast: Omit<Toast, 'id'>): void {
  const id = ++lastId;
  toasts.value = [...toasts.value.slice(-3), { ...toast, id }];
  setTimeout(() => remove(id), SHOWN_MS);
}

function remove(id: number): void {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}

/** Where they are shown, and read out. A popover, so that they are above an open dialog too. */
export function Toasts(): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const isShown = toasts.value.length > 0;
  useEffect(() => {
    const element = place.current;
    if (!element?.showPopover) return;
    if (element.matches(':popover-open')) element.hidePopover();
    if (isShown) element.showPopover();
  }, [toasts.value]);
  return (
    <div class="toasts" role="status" aria-live="polite" popover="manual" ref={place}>
      {toasts.value.map(({ id, text, isBad, action }) => (
        <div key={id} class={`toast ${isBad ? 'bad' : ''}`}>
          <p>{text}</p>
          {action && (
            <button
              type="button"
              class="button slim"
              onClick={() => {
                remove(id);
                action.run();
              }}
            >
              {action.name}
            </button>
          )}
          <button type="button" class="button quiet icon" aria-label={partWords.dismiss} onClick={() => remove(id)}>
            <CrossIcon />
          </button>
        </div>
      ))}
    </div>
  );
}
