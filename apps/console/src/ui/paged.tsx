import type { Pages } from '@berth/client';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { inWords } from '../words/errors';
import { partWords } from '../words/parts';
import { WorkButton } from './parts';

interface PagedProps<Item> {
  readonly list: () => Pages<Item>;
  /** What the list depends on: with another value it is read from its beginning. */
  readonly of: string;
  readonly empty: ComponentChildren;
  readonly children: (items: readonly Item[]) => ComponentChildren;
}

/** A long list, whose next page is read when it is asked for. */
export function Paged<Item>({ list, of, empty, children }: PagedProps<Item>): JSX.Element {
  const [items, setItems] = useState<readonly Item[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [fault, setFault] = useState<unknown>();
  const round = useRef(0);

  const read = async (cursor?: string): Promise<void> => {
    const own = round.current;
    const page = await list().page(cursor);
    if (own !== round.current) return;
    setItems((before) => [...(cursor === undefined ? [] : (before ?? [])), ...page.items]);
    setNext(page.nextCursor);
    setFault(undefined);
  };
  useEffect(() => {
    round.current += 1;
    read().catch(setFault);
  }, [of]);

  return (
    <>
      {fault !== undefined && (
        <p class="notice bad" role="alert">
          {inWords(fault)}
        </p>
      )}
      {items === null ? (
        fault === undefined && (
          <p class="muted" role="status">
            {partWords.loading}
          </p>
        )
      ) : items.length === 0 ? (
        <div class="panel">{empty}</div>
      ) : (
        <div class="panel">
          {children(items)}
          {next !== null && (
            <div class="more-rows">
              <WorkButton run={() => read(next)}>{partWords.showMore}</WorkButton>
            </div>
          )}
        </div>
      )}
    </>
  );
}
