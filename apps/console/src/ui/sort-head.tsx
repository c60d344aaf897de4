import type { JSX } from 'preact';

interface SortHeadProps {
  readonly name: string;
  readonly class?: string;
  /** The direction that the table is sorted in by this column; null if it is sorted by another one. */
  readonly direction: 'ascending' | 'descending' | null;
  readonly onClick: () => void;
}

/** The head of a column that a click sorts the table by. */
export function SortHead({ name, class: kind, direction, onClick }: SortHeadProps): JSX.Element {
  return (
    <th scope="col" class={kind} aria-sort={direction ?? 'none'}>
      <button type="button" class="sort-head" onClick={onClick}>
        {name}
      </button>
    </th>
  );
}
