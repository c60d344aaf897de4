import type { JSX } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { DotsIcon } from './icons';

export interface MenuItem {
  readonly name: string;
  readonly run: () => void;
  readonly isDangerous?: boolean;
}

interface MenuProps {
  readonly label: string;
  readonly items: readonly MenuItem[];
  /** Whether what was chosen goes on: until then the menu does not open. */
  readonly isBusy?: boolean;
}

/** A button with a menu: a popover, which closes by Escape and by a click elsewhere; arrow keys go through it. */
export function Menu({ label, items, isBusy = false }: MenuProps): JSX.Element {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  // A list has a menu in every row, and few are opened.
  const [isDrawn, setDrawn] = useState(false);

  const show = (): void => {
    const element = list.current;
    const place = button.current?.getBoundingClientRect();
    if (!element || !place) return;
    element.showPopover();
    const { width, height } = element.getBoundingClientRect();
    const isBelow = place.bottom + height + 8 < innerHeight;
    element.style.left = `${String(Math.max(8, place.right - width))}px`;
    element.style.top = `${String(isBelow ? place.bottom + 4 : Math.max(8, place.top - height - 4))}px`;
    element.style.position = 'fixed';
    element.querySelector('button')?.focus();
  };
  useLayoutEffect(() => {
    if (isDrawn) show();
  }, [isDrawn]);
  const open = (): void => {
    if (isBusy) return;
    if (isDrawn) show();
    else setDrawn(true);
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const steps = { ArrowDown: 1, ArrowUp: -1 } as Record<string, number | undefined>;
    const step = steps[event.key];
    if (event.key === 'Tab') list.current?.hidePopover();
    if (step === undefined) return;
    event.preventDefault();
    const buttons = [...(list.current?.querySelectorAll('button') ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    buttons.at((at + step) % buttons.length)?.focus();
  };

  return (
    <div class="menu">
      <button
        ref={button}
        type="button"
        class={`button quiet icon ${isBusy ? 'busy' : ''}`}
        aria-disabled={isBusy}
        aria-label={label}
        aria-haspopup="menu"
        aria-controls={id}
        onClick={open}
      >
        <DotsIcon />
      </button>
      <div ref={list} id={id} class="menu-list" popover="auto" role="menu" aria-label={label} onKeyDown={onKeyDown}>
        {isDrawn &&
          items.map(({ name, run, isDangerous }) => (
            <button
              key={name}
              type="button"
              role="menuitem"
              class={isDangerous ? 'danger' : ''}
              onClick={() => {
                list.current?.hidePopover();
                button.current?.focus();
                run();
              }}
            >
              {name}
            </button>
          ))}
      </div>
    </div>
  );
}
